"""The set-up that every make target begins with, interrupted and twice at a time.

Its steps are the real ones; what is made to last is npm, which takes longest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.eventually import eventually

SCRIPT = Path(__file__).parents[2] / "pacsless" / "stack" / "setup.sh"

NPM = """#!/bin/sh
echo $$ >>"$PLACE/npm.log"
while [ ! -e "$PLACE/go" ]; do sleep 0.05; done
mkdir -p node_modules
"""


@dataclass
class Clone:
    """A clone with nothing to do but the viewer's packages."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        lock = "click==8\n"
        files = {
            "requirements/dev.txt": lock,
            "viewer/package-lock.json": "{}\n",
            ".venv/.place": str(self.folder),
            ".venv/.requirements": f"{hashlib.sha256(lock.encode()).hexdigest()}  -\n",
            ".venv/bin/python": "#!/bin/sh\n",
            "bin/node": "#!/bin/sh\n",
            "bin/npm": NPM,
        }
        for name, content in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(0o755)
        copy = self.folder / "pacsless" / "stack" / SCRIPT.name
        copy.parent.mkdir(parents=True)
        shutil.copy(SCRIPT, copy)

    def set_up(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            # Who runs in the background would pass on that it ignores Ctrl-C.
            ["env", "--default-signal=INT", "pacsless/stack/setup.sh"],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
                "PLACE": str(self.folder),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def npm(self) -> list[int]:
        """Processes of npm that were started."""
        log = self.folder / "npm.log"
        return [int(one) for one in log.read_text().split()] if log.exists() else []

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    one = Clone(tmp_path)
    yield one
    one.go()
    for process in one.processes:
        process.communicate(timeout=60)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing_at_work(clone: Clone, number: signal.Signals) -> None:
    process = clone.set_up()
    (npm,) = eventually(clone.npm)
    os.killpg(process.pid, number)
    assert process.wait(60) != 0
    eventually(lambda: not runs(npm))


def test_two_at_a_time_do_the_work_once(clone: Clone) -> None:
    first = clone.set_up()
    eventually(clone.npm)
    second = clone.set_up()
    assert second.stdout
    assert "waiting" in second.stdout.readline()
    clone.go()
    assert [one.wait(60) for one in (first, second)] == [0, 0]
    assert len(clone.npm()) == 1


def test_what_fails_says_why(clone: Clone) -> None:
    (clone.folder / "bin" / "npm").write_text("#!/bin/sh\necho it is broken >&2\nexit 1\n")
    process = clone.set_up()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "it is broken" in said
    assert "make setup again" in said
