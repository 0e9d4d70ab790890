"""Packages of Debian 12, as APT of this machine gets and checks them, in a tree."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.layout import CACHE, PACKAGES, ImageError
from images.tree import Tree, matches

_STATE: Final = CACHE / "apt"
_CURRENT: Final = 24 * 3600
"""Seconds for which it is believed which versions there are."""

# Nobody reads them in a container. Copyright files stay: licences ask for them.
_UNREAD: Final = (
    "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/gcc",
    "usr/share/bash-completion", "usr/share/bug", "usr/share/doc-base", "usr/share/gdb",
    "usr/share/apport", "usr/share/binfmts", "usr/share/pixmaps", "usr/share/applications",
    "usr/lib/systemd", "usr/lib/tmpfiles.d", "usr/lib/sysusers.d", "etc/init.d", "etc/cron.d",
    "etc/logrotate.d", "etc/default", "etc/ufw", "etc/apparmor.d", "etc/update-motd.d",
    "usr/lib/*/gconv", "usr/lib/*/perl5", "usr/share/perl5", "usr/share/debianutils",
)  # fmt: skip
_DOCUMENTATION: Final = re.compile(r"usr/share/doc/.*(?<!/copyright)")


@dataclass(frozen=True, slots=True)
class Package:
    """A version of a Debian package, and its file."""

    name: str
    version: str
    architecture: str
    source: str
    sha256: str

    @property
    def file(self) -> Path:
        """Where it is after `fetch`."""
        version = self.version.replace(":", "%3a")
        return PACKAGES / f"{self.name}_{version}_{self.architecture}.deb"


def resolve(names: Sequence[str], *, fresh: bool = False) -> list[Package]:
    """Tell which versions of packages this machine's sources have now.

    Parameters
    ----------
    names
        The packages; what they depend on is not added.
    fresh
        Whether to ask the sources even if they were asked today.

    Raises
    ------
    ImageError
        If this is not Debian 12, or its sources cannot be reached or do not have them.
    """
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    if "VERSION_CODENAME=bookworm" not in release:
        raise ImageError(
            "debian", "images are made of Debian 12's packages, on Debian 12; elsewhere build "
            "the Dockerfiles (docs/images.md)"
        )  # fmt: skip
    _update(fresh)
    shown = _apt("apt-cache", "show", "--no-all-versions", *names)
    found = {}
    for stanza in shown.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if fields:
            found[fields["Package"]] = Package(
                fields["Package"],
                fields["Version"],
                fields["Architecture"],
                fields.get("Source", fields["Package"]).split(" ")[0],
                fields["SHA256"],
            )
    if missing := sorted(set(names) - set(found)):
        raise ImageError("debian", f"this machine's APT sources do not have {', '.join(missing)}")
    return [found[name] for name in sorted(set(names))]


def fetch(packages: Sequence[Package]) -> None:
    """Download the files that are not there yet.

    Raises
    ------
    ImageError
        If one cannot be downloaded, or is another than the sources said.
    """
    PACKAGES.mkdir(parents=True, exist_ok=True)
    missing = [one for one in packages if not one.file.exists()]
    if missing:
        folder = PACKAGES.absolute()
        _apt("apt-get", "download", *(f"{one.name}={one.version}" for one in missing), at=folder)
    for one in packages:
        if hashlib.sha256(one.file.read_bytes()).hexdigest() != one.sha256:
            one.file.unlink()
            raise ImageError("debian", f"{one.file.name} is damaged; it is removed: try again")


def unpack(package: Package, tree: Tree, without: Sequence[str] = ()) -> None:
    """Put what is in a package into a tree, and its entry where scanners look for one."""
    content = _output("dpkg-deb", "--fsys-tarfile", str(package.file))
    unread = (*_UNREAD, *without)
    fresh = Tree()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            fresh.archive(member, file.read() if file else b"")
    for path, entry in fresh.entries.items():
        dropped = _DOCUMENTATION.fullmatch(path) and entry.target == ""
        if not dropped and not any(matches(path, one) for one in unread):
            tree.entries[path] = entry
    control = _output("dpkg-deb", "--field", str(package.file)).decode()
    status = control.replace("\n", "\nStatus: install ok installed\n", 1)
    tree.file(f"var/lib/dpkg/status.d/{package.name}", status.encode())


def trust(tree: Tree) -> None:
    """Join the certificates of ca-certificates as its installation would, for OpenSSL."""
    all_of_them = b"".join(
        content for _, content in tree.files("usr/share/ca-certificates/mozilla/*.crt")
    )
    if not all_of_them:
        return
    tree.remove("usr/share/ca-certificates")
    tree.file("etc/ssl/certs/ca-certificates.crt", all_of_them)
    tree.link("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt")


def _update(fresh: bool) -> None:
    # Lists of our own: the machine's may be old, and only root may renew them.
    stamp = _STATE / "updated"
    if not fresh and stamp.exists() and time.time() - stamp.stat().st_mtime < _CURRENT:
        return
    for folder in ("lists/partial", "cache/archives/partial"):
        (_STATE / folder).mkdir(parents=True, exist_ok=True)
    (_STATE / "status").touch()
    _apt("apt-get", "update", "--error-on=any")
    stamp.touch()


def _apt(command: str, *arguments: str, at: Path | None = None) -> str:
    state = _STATE.absolute()
    return _output(
        command, "-q",
        "-o", f"Dir::State={state}",
        "-o", f"Dir::State::status={state / 'status'}",
        "-o", f"Dir::Cache={state / 'cache'}",
        "-o", "APT::Sandbox::User=root",
        *arguments,
        at=at,
    ).decode()  # fmt: skip


def _output(*command: str, at: Path | None = None) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, cwd=at).stdout
    except FileNotFoundError:
        raise ImageError("debian", f"there is no {command[0]} here: Debian 12 has it") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-1000:]
        raise ImageError("debian", f"{command[0]} failed: {said}") from None
