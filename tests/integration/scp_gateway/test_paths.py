"""UIDs that would be paths, links that lead out of the archive, and preambles that are programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from pacsless.events import InstanceReceived
from pacsless.identity import valid_uid
from tests.dimse import CT, Instance, Peer, command, data, store_request
from tests.gateway import GatewayProcess, data_set, sha256

Start = Callable[..., GatewayProcess]
_LINKED: Final = (
    "tenant", "study", "series", "dangling", "instance", "quarantine", "quarantine-tenant",
)  # fmt: skip

EVIL: Final = {
    "parents": b"../../../../../../tmp/pwned",
    "parent": b"..",
    "this": b".",
    "inside": b"1.2/../../pwned",
    "absolute": b"/tmp/pwned",
    "home": b"~/pwned",
    "slash": b"1.2/3",
    "nul": b"1.2\x003/../pwned",
    "nul-first": b"\x001.2",
    "several": b"1.2\\1.3",
    "windows": b"..\\..\\pwned",
    "drive": b"C:pwned",
    "65": b"1" * 65,
    "66": b"1." * 33,
    "4096": b"1" * 4096,
    "utf-8": "１.２.３".encode(),
    "arabic": "١.٢".encode(),
    "latin": b"1.2.\xe9",
    "surrogate": b"1.2.\xed\xa0\x80",
    "newline": b"1.2.3\n",
    "carriage": b"1.2\r\n.3",
    "escape": b"1.2\x1b[2J",
    "space": b"1 .2",
    "minus": b"-1.2",
    "plus": b"+1",
    "letters": b"1.2.x",
    "empty-component": b"1..2",
    "first-dot": b".1.2",
    "last-dot": b"1.2.",
    "format": b"{0}%s$HOME",
    "incoming": b".incoming",
    "name": b"CANARY^NAME",
}


@pytest.fixture(scope="module")
def gateway(start: Start) -> GatewayProcess:
    titles = ",".join(["PACSLESS=default", *(f"L{n}=l{n}" for n in range(len(_LINKED)))])
    return start(GATEWAY_AE_TITLES=titles)


def everything(gateway: GatewayProcess) -> set[Path]:
    """What lies around the archive, and where attackers aim."""
    around = gateway.archive.parent
    found = {path for path in around.rglob("*") if gateway.spool not in path.parents}
    return found | set(Path("/").glob("pwned*")) | set(Path("/tmp").glob("pwned*"))


@pytest.mark.parametrize("place", ["study", "series", "sop", "command", "both", "class"])
def test_what_is_no_uid_is_written_nowhere(gateway: GatewayProcess, place: str) -> None:
    before = everything(gateway)
    answered = len(gateway.promised(InstanceReceived))
    with Peer(gateway.port) as peer:
        peer.associate()
        for name, evil in EVIL.items():
            instance = Instance(
                evil if place in {"sop", "both"} else "1.2.3.4.5",
                study=evil if place == "study" else "1.2.3",
                series=evil if place == "series" else "1.2.3.4",
                sop_class=evil if place == "class" else CT,
            )
            sop = evil if place in {"command", "both"} else "1.2.3.4.5"
            sop_class = evil if place == "class" else CT
            peer.send(command(store_request(sop, sop_class)) + data(instance.encoded))
            expected = {0xA900, 0xC000} if place in {"sop", "class"} else {0xC000}
            assert peer.status() in expected, name
        assert peer.echo() == 0
    assert everything(gateway) == before
    events = gateway.promised(InstanceReceived)[answered:]
    assert len(events) == len(EVIL)
    for event in events:
        assert isinstance(event, InstanceReceived)
        assert event.outcome == "refused"
        for uid in (event.study_instance_uid, event.series_instance_uid, event.sop_instance_uid):
            assert not uid or valid_uid(uid)
    log = gateway.log.read_text()
    assert "pwned" not in log and "CANARY" not in log


def test_padded_uids_are_those_without_padding(gateway: GatewayProcess) -> None:
    """NUL is the padding (PS3.5 §9.1), and some senders take a space."""
    with Peer(gateway.port) as peer:
        peer.associate()
        for padding in (b"\0", b"\0\0\0", b" "):
            instance = Instance(b"1.2.9" + padding, study=b"1.2.7" + padding)
            assert peer.store(instance) in {0, 0x0111}
    assert [key for key in gateway.stored() if key.startswith("default/1.2.7")] == [
        "default/1.2.7/1.2.3.4/1.2.9.dcm"
    ]


@pytest.mark.parametrize("linked", _LINKED)
def test_a_link_in_the_archive_leads_nowhere(
    gateway: GatewayProcess, tmp_path: Path, linked: str
) -> None:
    """Of whoever can put one there, and not through the gateway."""
    number = _LINKED.index(linked)
    tenant = gateway.archive / f"l{number}"
    quarantine = gateway.archive / "quarantine"
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_bytes(b"as it was")
    instance = Instance("1.2.3.4.5")
    series = tenant / "1.2.3" / "1.2.3.4"
    with Peer(gateway.port) as peer:
        peer.associate(called=f"L{number}")
        if linked.startswith("quarantine"):
            assert peer.store(instance) == 0
            instance = Instance("1.2.3.4.5", pixels=b"other")
            place = quarantine if linked == "quarantine" else quarantine / f"l{number}"
            to = outside
        else:
            place, to = {
                "tenant": (tenant, outside),
                "study": (tenant / "1.2.3", outside),
                "series": (series, outside),
                "dangling": (series / "1.2.3.4.5.dcm", outside / "new"),
                "instance": (series / "1.2.3.4.5.dcm", victim),
            }[linked]
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = tmp_path / "aside"
        if place.exists():
            place.rename(aside)
        place.symlink_to(to)
        try:
            status = peer.store(instance)
        finally:
            place.unlink()
            if aside.exists():
                aside.rename(place)
        # What a link pretends to be stored is other content, or cannot be looked at.
        assert status in ({0xA700, 0x0111} if linked == "instance" else {0xA700})
        assert [path.name for path in outside.rglob("*")] == ["victim"]
        assert victim.read_bytes() == b"as it was"
        assert peer.store(instance) == (0x0111 if linked.startswith("quarantine") else 0)
    assert not gateway.lines("instance refused") or all(
        line["status"] != "0110" for line in gateway.lines("instance refused")
    )


@pytest.mark.parametrize("size", [4, 100_000, 700_000])
def test_the_preamble_is_zeros(gateway: GatewayProcess, size: int) -> None:
    """No other file format's magic number stands before DICM (CVE-2019-11687)."""
    sop = f"1.4.{size}"
    with Peer(gateway.port) as peer:
        peer.associate()
        assert peer.store(Instance(sop, pixels=b"MZ" * (size // 2))) == 0
        assert peer.store(Instance(sop, pixels=b"\x7fELF" * (size // 4))) == 0x0111
    kept = {key: value for key, value in gateway.stored().items() if sop in key}
    assert len(kept) == 2
    for key, content in kept.items():
        assert content.startswith(bytes(128) + b"DICM"), key
    first = kept[f"default/1.2.3/1.2.3.4/{sop}.dcm"]
    assert sha256(data_set(first)) == sha256(Instance(sop, pixels=b"MZ" * (size // 2)).encoded)


@pytest.mark.parametrize("magic", [b"MZ", b"\x7fELF", b"#!/bin/sh\n", b"%PDF-1.7"])
def test_a_file_in_place_of_a_data_set(gateway: GatewayProcess, magic: bytes) -> None:
    """A Part 10 file with a program in its preamble is no data set."""
    before = set(gateway.stored())
    instance = Instance("1.2.3.4.6")
    with Peer(gateway.port) as peer:
        peer.associate()
        file = magic.ljust(128, b"\0") + b"DICM" + instance.encoded
        peer.send(command(store_request(instance.sop)) + data(file))
        assert peer.status() == 0xC000
    assert set(gateway.stored()) == before


def test_files_are_not_executable(gateway: GatewayProcess) -> None:
    assert gateway.stored()
    for key in gateway.stored():
        assert not os.stat(gateway.archive / key).st_mode & 0o111, key
