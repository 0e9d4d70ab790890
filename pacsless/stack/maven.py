"""Files from Maven Central: those a pom.xml names, checked by their digests."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from pacsless.stack.errors import StackError


def fetched(home: Path, pom: Path, digests: Path) -> Path:
    """Return the folder of what a pom.xml depends on, downloading it if it is not there.

    Parameters
    ----------
    home
        Folder for these files, shared by all stacks of this clone. Two processes
        may ask at once; one downloads, the other waits.
    pom
        Names them; its runtime scope.
    digests
        Their digests, as sha256sum writes them.

    Raises
    ------
    StackError
        If Maven is missing or fails, or a file is not the one we know.
    """
    home = home.absolute()
    lib = home / "lib"
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = lib / ".pom"
        wanted = pom.read_text()
        if stamp.is_file() and stamp.read_text() == wanted:
            return lib
        fresh = home / "lib.new"
        for folder in (fresh, lib):
            shutil.rmtree(folder, ignore_errors=True)
        _download(fresh, pom)
        _verify(fresh, digests)
        (fresh / ".pom").write_text(wanted)
        fresh.rename(lib)
    return lib


def _download(folder: Path, pom: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise StackError("maven", "mvn is not installed: apt-get install maven")
    done = subprocess.run(
        [maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies",
         "-DincludeScope=runtime", f"-DoutputDirectory={folder}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise StackError("maven", f"Maven cannot download what {pom} names:\n{done.stdout[-2000:]}")


def _verify(folder: Path, digests: Path) -> None:
    lines = digests.read_text().splitlines()
    known = {name: digest for digest, name in (line.split() for line in lines)}
    found = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.iterdir()}
    wrong = sorted({name for name, _ in known.items() ^ found.items()})
    if wrong:
        raise StackError(
            "maven",
            f"these files are not the ones in {digests.name}: {', '.join(wrong)}; "
            "after a change of pom.xml, renew that file",
        )
