"""What STOW-RS refuses, and what a hostile client costs."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from pacsless.storage import Status
from tests.eventually import eventually
from tests.instances import encode, make_dataset
from tests.services import require
from tests.stow import BOUNDARY, Stow, multipart, related, serve, told

DICOM = "application/dicom"
HEAD = f"--{BOUNDARY}\r\nContent-Type: {DICOM}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stow]:
    """One that takes little."""
    require("nginx")
    with serve(
        tmp_path_factory.mktemp("tight"), STOW_MAX_OBJECT_MB="1", STOW_MAX_PARTS="50"
    ) as one:
        yield one


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json", 415),
        ('multipart/related; type="text/html"; boundary=x', 415),
        (f'multipart/related; type="{DICOM}"', 400),
        (f'multipart/related; type="{DICOM}"; boundary={"x" * 71}', 400),
        (f'multipart/related; type="{DICOM}"; boundary=other', 400),
        (f'multipart/related; type="{DICOM}"; boundary="ü"', 400),
    ],
)
def test_content_types(stow: Stow, content_type: str, status: int) -> None:
    answer = stow.post(multipart(({"Content-Type": DICOM}, b"x" * 200_000)), content_type)
    assert answer.status == status, answer.data
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_unquoted_parameters_and_a_part_without_type(stow: Stow) -> None:
    body = multipart(({}, encode(make_dataset())))
    kind = f"Multipart/Related; Boundary={BOUNDARY}; Type=application/DICOM"
    assert stow.post(body, kind).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing of the kind",
        f"--{BOUNDARY}".encode(),
        f"--{BOUNDARY}--".encode(),
        f"--{BOUNDARY}\r\n".encode(),
        HEAD + b"cut off",
        f"--{BOUNDARY}\r\nno colon\r\n\r\nx\r\n--{BOUNDARY}--".encode(),
        f"--{BOUNDARY}\r\n".encode() + b"A: b\r\n" * 1000 + f"\r\n\r\n--{BOUNDARY}--".encode(),
        f"--{BOUNDARY}\r\nA: ".encode() + b"b" * 100_000 + f"\r\n\r\n--{BOUNDARY}--".encode(),
        b"x" * 300_000,
    ],
)
def test_malformed_bodies(stow: Stow, body: bytes) -> None:
    before = stow.stored()
    answer = stow.post(body, related(DICOM))
    assert answer.status == 400, answer.data
    assert stow.stored() == before


def test_an_answer_nobody_can_make(stow: Stow) -> None:
    before = stow.stored()
    assert stow.store(encode(make_dataset()), Accept="text/html").status == 406
    assert stow.stored() == before, "refused before anything is stored"


@pytest.mark.parametrize("path", ["/studies/1.2.x", "/studies/..%2f1", "/studies/" + "1" * 65])
def test_addresses(stow: Stow, path: str) -> None:
    assert stow.store(encode(make_dataset()), path=f"/dicom-web{path}").status in (400, 404)


def test_other_methods_are_told_which_there_are(stow: Stow) -> None:
    answer = urllib3.request("PUT", f"{stow.front.url}/dicom-web/studies", body=b"x")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, POST"


def test_hostile_identifiers(stow: Stow) -> None:
    before = set(stow.stored())
    for uid in ("../../etc", "/1.2", "1.2/../3", "1..2", "1" * 65, "Canary^Patient", "1.2\0.3"):
        model = make_dataset().to_json_dict()
        model["0020000D"]["Value"] = [uid]
        body = multipart(({"Content-Type": "application/dicom+json"}, json.dumps(model).encode()))
        answer = stow.post(body, related("application/dicom+json"))
        assert answer.status == 409, uid
        (failed,) = told(answer).FailedSOPSequence
        assert failed.FailureReason == Status.CANNOT_UNDERSTAND
    assert set(stow.stored()) == before
    assert "Canary" not in stow.function.log.read_text()


def test_a_hundred_thousand_parts(tight: Stow) -> None:
    part = f"\r\n--{BOUNDARY}\r\nContent-Type: {DICOM}\r\n\r\nx".encode()
    body = part * 100_000 + f"\r\n--{BOUNDARY}--".encode()
    answer = tight.post(body, related(DICOM))
    assert answer.status == 413, answer.data
    assert b"50 parts" in answer.data


def test_more_parts_than_are_taken(tight: Stow) -> None:
    files = [encode(make_dataset()) for _ in range(60)]
    assert tight.store(*files).status == 413
    stored = tight.stored()
    assert len(stored) == 50, "those before are stored, and announced"
    assert len(tight.events()) == 50


@pytest.mark.parametrize("kind", [DICOM, "application/dicom+json"])
def test_a_part_without_end(tight: Stow, kind: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
        for _ in range(400):
            sent += 1
            yield bytes(65536)

    before = tight.stored()
    try:
        answer = tight.post(endless(), related(kind))
    except (OSError, urllib3.exceptions.HTTPError):
        assert sent > 16, "nginx hung up while we went on sending"
    else:
        assert answer.status == 413
    assert tight.stored() == before
    assert tight.store(encode(make_dataset())).status == 200


def test_a_bomb(stow: Stow) -> None:
    packed = zlib.compressobj(9, wbits=31)
    head = packed.compress(HEAD)
    chunk = bytes(1 << 20)

    def bomb() -> Iterator[bytes]:
        yield head
        for _ in range(512):
            yield packed.compress(chunk)

    try:
        answer = stow.post(bomb(), related(DICOM), Content_Encoding="gzip")
        assert answer.status == 413
        assert b"Content-Encoding" in answer.data
    except (OSError, urllib3.exceptions.HTTPError):
        pass  # nginx hung up while we went on sending: what matters is below
    assert stow.store(encode(make_dataset())).status == 200
    assert memory(stow) < 256 << 20


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(HEAD + b"x" * 1000, mtime=0)[:-12], 400),
        ("deflate", zlib.compress(HEAD)[:10], 400),
    ],
)
def test_encodings(stow: Stow, encoding: str, body: bytes, status: int) -> None:
    assert stow.post(body, related(DICOM), Content_Encoding=encoding).status == status


def test_a_connection_that_is_cut_stores_what_was_whole(stow: Stow) -> None:
    whole, cut = make_dataset(), make_dataset(bytes(300_000))
    body = multipart(
        ({"Content-Type": DICOM}, encode(whole)), ({"Content-Type": DICOM}, encode(cut))
    )
    with socket.create_connection(("127.0.0.1", stow.front.port), timeout=60) as connection:
        connection.sendall(
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {related(DICOM)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:-50_000]
        )
        eventually(lambda: any(str(whole.SOPInstanceUID) in key for key in stow.stored()))
    eventually(lambda: stow.attempts()[-1].sop_instance_uid == whole.SOPInstanceUID)
    assert not any(str(cut.SOPInstanceUID) in key for key in stow.stored())


@pytest.mark.parametrize("past_nginx", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_that_is_cut_off_is_not_stored(stow: Stow, chunked: bool, past_nginx: bool) -> None:
    """What is left of it would be a data set, cut off in its pixels."""
    ds = make_dataset(bytes(300_000))
    content = encode(ds)
    port = stow.function.port if past_nginx else stow.front.port
    path = "/studies" if past_nginx else "/dicom-web/studies"
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
    sent = content[:-100_000]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {DICOM}\r\n{length}\r\n\r\n".encode()
            + (f"{len(sent):x}\r\n".encode() + sent + b"\r\n" if chunked else sent)
        )
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(60)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert not answer or answer.startswith(b"HTTP/1.1 4"), answer
    assert stow.store(encode(make_dataset())).status == 200, "by then it has been dealt with"
    assert not any(str(ds.SOPInstanceUID) in key for key in stow.stored())
    assert stow.post(content, DICOM).status == 200
    assert content in stow.stored().values()


def test_attributes_of_more_instances_than_are_taken(tight: Stow) -> None:
    before = len(tight.attempts())
    body = multipart(({"Content-Type": "application/dicom+json"}, b"[" + b"{}," * 5000 + b"{}]"))
    answer = tight.post(body, related("application/dicom+json"))
    assert answer.status == 413
    assert len(tight.attempts()) - before <= 50


def test_bulk_data_that_many_attributes_name(stow: Stow) -> None:
    uri = {"vr": "UL", "BulkDataURI": "much"}
    model = make_dataset().to_json_dict() | {f"0009{tag:04X}": uri for tag in range(0x1001, 0x1101)}
    much = {"Content-Type": "application/octet-stream", "Content-Location": "much"}
    body = multipart(
        ({"Content-Type": "application/dicom+json"}, json.dumps(model).encode()),
        (much, bytes(4 << 20)),
    )
    answer = stow.post(body, related("application/dicom+json"))
    assert answer.status == 409
    assert told(answer).FailedSOPSequence[0].FailureReason == Status.CANNOT_UNDERSTAND


def test_slow_clients_keep_nobody_else_waiting(stow: Stow) -> None:
    connections = []
    stopping = threading.Event()
    for _ in range(40):
        connection = socket.create_connection(("127.0.0.1", stow.front.port), timeout=60)
        connection.sendall(
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {related(DICOM)}\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
        )
        connections.append(connection)

    def drip() -> None:
        while not stopping.wait(1):
            for one in connections:
                one.send(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        for _ in range(20):
            began = time.monotonic()
            assert stow.store(encode(make_dataset())).status == 200
            assert time.monotonic() - began < 30
    finally:
        stopping.set()
        dripping.join(60)
        for one in connections:
            one.close()


def test_a_large_instance_takes_little_memory(stow: Stow) -> None:
    size = 600 << 20
    ds = make_dataset()
    content = encode(ds)
    element = b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little")
    chunk = bytes(range(256)) * 4096

    def pieces() -> Iterator[bytes]:
        yield HEAD + content + element
        for _ in range(size // len(chunk)):
            yield chunk
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    answer = stow.post(pieces(), related(DICOM))
    assert answer.status == 200, answer.data
    key = f"main/{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
    path = stow.function.archive / key
    assert path.stat().st_size == len(content) + len(element) + size
    path.unlink()
    assert memory(stow) < 256 << 20


def memory(stow: Stow) -> int:
    """Bytes of the largest resident set of a process of the function."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "stat").read_text().rpartition(")")[2].split()[2] == str(
                stow.function.pid
            ):
                status = (process / "status").read_text()
                found += [int(one.split()[1]) for one in status.splitlines() if "VmHWM" in one]
        except FileNotFoundError:
            continue
    assert found
    return max(found) << 10
