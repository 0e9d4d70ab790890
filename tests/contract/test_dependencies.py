"""What a function's image installs is all that importing the function takes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LATER = {
    "event": "", "timer": "", "http": "pacsless.oauth2.tokens",
    "authorization": "pacsless.oauth2.tokens",
}  # fmt: skip
"""What functions of a kind import when they need it."""
ON_DEMAND = {"wado_rs": "pacsless.rendering.uncompressed"}
"""What one function does."""


def kind_of(path: Path) -> str:
    kind = tomllib.loads(path.read_text())["tool"]["pacsless"]["kind"]
    assert isinstance(kind, str)
    return kind


PROJECTS = {
    **{
        path.parent.name: (
            path,
            " ".join(
                (
                    f"functions.{path.parent.name}.main",
                    LATER[kind_of(path)],
                    ON_DEMAND.get(path.parent.name, ""),
                )
            ),
        )
        for path in sorted(ROOT.glob("functions/*/pyproject.toml"))
    },
    "scp-gateway": (ROOT / "scp-gateway" / "pyproject.toml", "scp_gateway.gateway"),
}

IMPORT_WITHOUT = """
import importlib, sys
modules, *missing = sys.argv[1:]
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Missing())
for module in modules.split():
    importlib.import_module(module)
"""


def installed(requirements: list[str]) -> set[str]:
    """Distributions that requirements install, with what those require."""
    found: set[str] = set()
    pending = list(requirements)
    while pending:
        name = normalized(pending.pop())
        if name in found:
            continue
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or an extra nobody asked for
        found.add(name)
        pending += [one for one in required if "extra ==" not in one]
    return found


def normalized(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


@pytest.mark.parametrize("project", PROJECTS)
def test_what_is_imported_is_required(project: str) -> None:
    path, module = PROJECTS[project]
    required = installed(tomllib.loads(path.read_text())["project"]["dependencies"])
    missing = [
        top
        for top, distributions in metadata.packages_distributions().items()
        if required.isdisjoint(map(normalized, distributions))
    ]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT, module, *missing],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'scp-gateway'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-600:]
