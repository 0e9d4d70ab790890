"""``pacsless send`` against our gateway and DCMTK's storescp."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scp_gateway.presentation import STORAGE

from pacsless.send import send_paths
from pacsless.send.command import send
from tests.dicom_files import bundled
from tests.eventually import eventually
from tests.gateway import GatewayProcess, data_set, sha256
from tests.instances import encode, make_dataset
from tests.ports import free_ports
from tests.services import require


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    one = GatewayProcess(tmp_path)
    one.start()
    yield one
    one.close()


def a_folder(tmp_path: Path, count: int = 3) -> Path:
    folder = tmp_path / "study" / "series"
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number}.dcm").write_bytes(encode(make_dataset(bytes(64))))
    return folder.parent


def invoke(gateway: GatewayProcess, *arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(send, ["--port", str(gateway.port), *map(str, arguments)])
    return result.exit_code, result.output


def test_a_folder_with_other_things_in_it(gateway: GatewayProcess, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    (folder / "readme.txt").write_text("not DICOM")
    (folder / "empty.dcm").touch()
    code, output = invoke(gateway, folder)
    assert code == 0
    assert "0000           3  stored" in output
    assert "skipped        2  not DICOM" in output
    assert "readme.txt: the file has no DICM prefix" in output


def test_json(gateway: GatewayProcess, tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    bad = folder / "bad.dcm"
    bad.write_bytes(encode(make_dataset(StudyInstanceUID=None)))
    code, output = invoke(gateway, "--json", folder)
    summary = json.loads(output)
    assert code == 1
    assert (summary["stored"], summary["failed"]) == (3, 1)
    assert summary["statuses"]["C000"] == {"count": 1, "meaning": "cannot be understood"}
    (failed,) = [one for one in summary["files"] if one["status"]]
    assert (failed["path"], failed["status"]) == (str(bad), 0xC000)
    assert failed["detail"].startswith("missing-uid")
    stored = [one for one in summary["files"] if one["status"] == 0]
    assert (
        max(one["acknowledged_at"] for one in summary["files"]) == (summary["last_acknowledged_at"])
    )
    assert {
        f"default/{one['study_instance_uid']}/{one['series_instance_uid']}/"
        f"{one['sop_instance_uid']}.dcm"
        for one in stored
    } == set(gateway.stored())


def test_nothing_to_send_is_no_success(gateway: GatewayProcess, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("x")
    assert invoke(gateway, tmp_path / "note.txt")[0] == 1


def test_files_without_preamble_or_meta_go_too(gateway: GatewayProcess, tmp_path: Path) -> None:
    whole = encode(make_dataset(bytes(64)))
    bare = tmp_path / "bare"
    bare.write_bytes(data_set(whole))
    no_preamble = tmp_path / "no_preamble"
    no_preamble.write_bytes(encode(make_dataset(bytes(64)))[128:])
    implicit = tmp_path / "implicit"
    implicit.write_bytes(data_set(encode(make_dataset(bytes(64)), ImplicitVRLittleEndian)))
    summary = send_paths([bare, no_preamble, implicit], gateway.options())
    assert summary.statuses == {0: 3}
    kept = {sha256(data_set(content)) for content in gateway.stored().values()}
    assert kept == {sha256(data_set(path.read_bytes())) for path in (bare, no_preamble, implicit)}


def test_more_contexts_than_an_association_has(gateway: GatewayProcess, tmp_path: Path) -> None:
    pairs = [
        (sop_class, syntax)
        for sop_class in sorted(STORAGE)[:70]
        for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
    ]
    for number, (sop_class, syntax) in enumerate(pairs):
        content = encode(make_dataset(SOPClassUID=sop_class), syntax)
        (tmp_path / f"{number}.dcm").write_bytes(content)
    summary = send_paths(sorted(tmp_path.glob("*.dcm")), gateway.options(jobs=2))
    assert summary.statuses == {0: 140}


def test_a_wrong_title_is_said_once_and_not_tried_again(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    summary = send_paths([a_folder(tmp_path, 20)], gateway.options(called_ae_title="NOPE"))
    assert {one.detail for one in summary.files} == {
        "association rejected: called AE title not recognised"
    }
    assert summary.exit_code == 1
    assert len(eventually(lambda: gateway.lines("association ended"))) == 1


def test_nobody_there(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    result = CliRunner().invoke(
        send, ["--port", str(port), "--retries", "1", str(a_folder(tmp_path, 20))]
    )
    assert result.exit_code == 1
    assert "none          20  not acknowledged" in result.output
    assert "Connection refused: nothing listens there" in result.output


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(send, [str(tmp_path)])
    assert result.exit_code == 1
    assert "Nothing was sent: there is no DICOM file" in result.output


def test_a_receiver_that_comes_back_gets_everything(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    folder = a_folder(tmp_path, 200)
    half = threading.Event()

    def progress(done: int, total: int) -> None:
        if done * 4 > total:
            half.set()

    found: list[Any] = []
    options = gateway.options(retries=8, jobs=2)
    sender = threading.Thread(target=lambda: found.append(send_paths([folder], options, progress)))
    sender.start()
    assert half.wait(60)
    gateway.kill()
    gateway.start()
    sender.join(120)
    assert found[0].statuses == {0: 200}
    assert len(gateway.stored()) == 200


def test_storescp_gets_the_same_bytes(tmp_path: Path) -> None:
    require("storescp")
    (port,) = free_ports(1)
    out = tmp_path / "out"
    out.mkdir()
    # One for each SOP instance: storescp overwrites, and it parses what it gets.
    scp = subprocess.Popen(
        ["/usr/bin/storescp", "--bit-preserving", "--accept-all", "-od", out, "-uf", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        some = [path for path in bundled() if path.name in ("CT_small.dcm", "MR_small.dcm",
                "JPEG2000.dcm", "rtplan.dcm", "color3d_jpeg_baseline.dcm")]  # fmt: skip
        options = GatewayProcess(tmp_path).options(port=port, retries=6, called_ae_title="ANY")
        summary = send_paths(some, options)
        assert summary.statuses == {0: len(some)}
        kept = {sha256(data_set(path.read_bytes())) for path in out.iterdir()}
        assert kept == {sha256(data_set(path.read_bytes())) for path in some}
    finally:
        scp.kill()
        scp.wait()
