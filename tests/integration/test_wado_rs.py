"""wado_rs as it is deployed: through functions-framework, on a real archive of files."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from functions_framework import create_app
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from functions.build_metadata.build import store as store_document
from pacsless import resources
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import scan
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_series
from pacsless.settings import Settings
from tests.dicom_files import SAMPLES, bundled, part10
from tests.instances import encode, make_dataset, store_bytes
from tests.services import REPOSITORY

FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
FILES = {path.name: path for path in bundled()}
# Redis is not there, and PostgreSQL is not asked: reading must not need them.
SETTINGS = Settings(redis="")


class Pacs:
    """The function, its archive, and a client of each."""

    def __init__(self, archive: FileArchive, client: Client) -> None:
        self.archive, self.client = archive, client

    def store(self, content: bytes, tenant: str = "default") -> InstanceIdentity:
        """Put a file in, addressed by what its data set says."""
        file = io.BytesIO(content)
        syntax = split_part10(file).transfer_syntax
        found = scan(file, syntax)
        identity = InstanceIdentity(
            tenant, found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid
        )
        store_bytes(self.archive, identity, content, syntax)
        return identity

    def put(self, name: str, tenant: str = "default") -> tuple[InstanceIdentity, bytes]:
        """Put one of pydicom's files in."""
        content = FILES[name].read_bytes()
        return self.store(content, tenant), content

    def get(self, path: str, accept: str | None = None, **headers: str) -> TestResponse:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        if accept is not None:
            given["Accept"] = accept
        return self.client.get(f"/{path}", headers=given)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    archive = FileArchive(tmp_path / "archive")
    with resources.override({Archive: archive, Settings: SETTINGS, Cache: Cache()}):
        app = create_app(  # type: ignore[no-untyped-call]
            "wado_rs", str(REPOSITORY / "functions" / "wado_rs" / "main.py")
        )
        yield Pacs(archive, app.test_client())


def parts(response: TestResponse) -> list[tuple[dict[str, str], bytes]]:
    """Take a multipart body apart by its lengths, header case kept."""
    assert response.status_code == 200, response.text
    boundary = re.fullmatch(
        r'multipart/related; type="[a-z/+-]+"; boundary=([0-9a-f]{32})',
        response.headers["Content-Type"],
    )
    assert boundary
    body, found = response.data, []
    if "Content-Length" in response.headers:
        assert int(response.headers["Content-Length"]) == len(body)
    mark = b"\r\n--" + boundary[1].encode()
    while not body.startswith(mark + b"--\r\n"):
        assert body.startswith(mark + b"\r\n")
        head, _, body = body[len(mark) + 2 :].partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        length = int(headers["Content-Length"]) if "Content-Length" in headers else body.find(mark)
        found.append((headers, body[:length]))
        body = body[length:]
    assert body == mark + b"--\r\n"
    return found


def document(response: TestResponse) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    found = json.loads(response.data)
    assert isinstance(found, list)
    return found


# ------------------------------------------------------------------ instances


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_every_file_comes_back_as_it_was(pacs: Pacs, path: Path) -> None:
    content = path.read_bytes()
    file = io.BytesIO(content)
    syntax = split_part10(file).transfer_syntax
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, content, syntax)
    [(headers, body)] = parts(
        pacs.get(identity.subject, 'multipart/related; type="application/dicom"')
    )
    assert body == content
    assert headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    assert headers["Content-Location"] == f"/dicom-web/{identity.subject}"
    single = pacs.get(identity.subject, "application/dicom")
    assert single.data == content
    assert single.headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"


def test_studies_and_series_are_multipart(pacs: Pacs) -> None:
    study = generate_uid()
    stored = {}
    for series in (generate_uid(), generate_uid()):
        for _ in range(3):
            data = encode(make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series))
            stored[pacs.store(data)] = data
    pacs.put("CT_small.dcm")
    for accept in (None, "*/*", 'multipart/related; type="application/dicom"; transfer-syntax=*'):
        found = parts(pacs.get(f"studies/{study}", accept))
        assert {headers["Content-Location"]: body for headers, body in found} == {
            f"/dicom-web/{identity.subject}": data for identity, data in stored.items()
        }
    one = min(stored)
    found = parts(pacs.get(f"studies/{study}/series/{one.series_instance_uid}"))
    assert [body for _, body in found] == [
        data for identity, data in sorted(stored.items()) if identity.series == one.series
    ]


def test_mixed_transfer_syntaxes_are_each_named(pacs: Pacs) -> None:
    study = generate_uid()
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian):
        pixels = b"\2\1" if syntax == ExplicitVRBigEndian else b"\1\2"
        pacs.store(encode(make_dataset(pixels * 4, StudyInstanceUID=study), syntax))
    found = {headers["Content-Type"] for headers, _ in parts(pacs.get(f"studies/{study}"))}
    assert len(found) == 3
    accept = (
        f'multipart/related; type="application/dicom"; transfer-syntax={ExplicitVRLittleEndian}'
    )
    for headers, body in parts(pacs.get(f"studies/{study}", accept)):
        assert headers["Content-Type"].endswith(f"={ExplicitVRLittleEndian}")
        ds = pydicom.dcmread(io.BytesIO(body))
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert ds.PixelData == b"\1\2" * 4
    compressed, _ = pacs.put("JPEG2000.dcm")
    refused = pacs.get(
        compressed.subject, f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    )
    assert refused.status_code == 406
    assert "1.2.840.10008.1.2.4.91" in refused.text


def test_a_single_part_honours_range(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    response = pacs.get(identity.subject, "application/dicom", Range="bytes=100-299")
    assert response.status_code == 206
    assert response.data == content[100:300]


def test_behind_nginx_files_are_named_and_not_read(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    response = pacs.get(identity.subject, "application/dicom", X_Pacsless_Accel="1")
    assert response.headers["X-Accel-Redirect"] == f"/internal/archive/{identity.key}"
    assert response.data == b""


def test_a_study_is_streamed(pacs: Pacs) -> None:
    study = generate_uid()
    for _ in range(4):
        pacs.store(encode(make_dataset(bytes(3 << 20), StudyInstanceUID=study)))
    response = pacs.client.get(f"/studies/{study}", buffered=False)
    sizes = [len(chunk) for chunk in response.iter_encoded()]
    response.close()
    assert sum(sizes) > 12 << 20
    assert max(sizes) <= 1 << 20


# --------------------------------------------------------------------- frames


def frame_bytes(path: Path) -> list[bytes] | None:
    """Frames as another reader finds them, or None if the file has none we could compare."""
    ds = pydicom.dcmread(path, force=True)
    if "PixelData" not in ds or "TransferSyntaxUID" not in ds.get("file_meta", {}):
        return None
    frames = str(ds.get("NumberOfFrames") or 1)
    if not frames.isdecimal():
        return None
    count = int(frames)
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return list(generate_frames(ds.PixelData, number_of_frames=count))
    if syntax == ExplicitVRBigEndian or "BitsAllocated" not in ds:
        return None
    # PS3.3 §C.7.6.3.1.2: in YBR_FULL_422 two pixels share their chrominance.
    samples = 2 if ds.PhotometricInterpretation == "YBR_FULL_422" else ds.SamplesPerPixel
    size = ds.Rows * ds.Columns * samples * ds.BitsAllocated
    if size % 8 or len(ds.PixelData) < size // 8 * count:
        return None
    return [ds.PixelData[n * size // 8 : (n + 1) * size // 8] for n in range(count)]


@pytest.mark.parametrize(
    "path", [path for path in bundled() if frame_bytes(path)], ids=lambda path: path.name
)
def test_frames_are_the_bytes_another_reader_finds(pacs: Pacs, path: Path) -> None:
    expected = frame_bytes(path)
    assert expected
    content = path.read_bytes()
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    stored = store_bytes(pacs.archive, identity, content, "")
    assert stored
    syntax = pydicom.dcmread(path, force=True).file_meta.TransferSyntaxUID
    web = syntax if syntax.is_encapsulated else ExplicitVRLittleEndian
    numbers = ",".join(str(n + 1) for n in range(len(expected)))
    for _ in range(2):  # the second time from the cache
        found = parts(pacs.get(f"{identity.subject}/frames/{numbers}", FRAMES))
        assert [body for _, body in found] == expected
        for number, (headers, _) in enumerate(found, 1):
            # Cornerstone decodes by this header, compared case by case.
            assert headers["Content-Type"] == f"application/octet-stream; transfer-syntax={web}"
            assert headers["Content-Location"].endswith(f"/frames/{number}")
    single = pacs.get(f"{identity.subject}/frames/1", "application/octet-stream; transfer-syntax=*")
    assert single.data == expected[0]


@pytest.mark.parametrize("converted", [False, True], ids=["on the fly", "rendition"])
@pytest.mark.parametrize(
    "name",
    [
        "MR_small_bigendian.dcm",
        "ExplVR_BigEnd.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "rtdose_expb.dcm",
        "liver_expb_1frame.dcm",
        "image_dfl.dcm",
    ],
)
def test_what_the_web_bans_is_served_as_explicit_little_endian(
    pacs: Pacs, name: str, converted: bool
) -> None:
    identity, content = pacs.put(name)
    explicit = pacs.get(
        identity.subject, f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    )
    if converted:
        # Other pixels than the original's: proof that the rendition is what is read.
        data = bytearray(explicit.data)
        data[-1] ^= 0xFF
        with pacs.archive.incoming() as incoming:
            incoming.write(data)
            sealed = incoming.seal()
        pacs.archive.keep(sealed, identity.rendition_key(ExplicitVRLittleEndian))
    else:
        data = bytearray(explicit.data)
    ds = pydicom.dcmread(io.BytesIO(data))
    count = int(ds.get("NumberOfFrames") or 1)
    found = parts(
        pacs.get(f"{identity.subject}/frames/{','.join(str(n + 1) for n in range(count))}", FRAMES)
    )
    assert {headers["Content-Type"] for headers, _ in found} == {
        f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
    }
    pixels = b"".join(body for _, body in found)
    assert pixels == ds.PixelData[: len(pixels)]
    assert len(ds.PixelData) - len(pixels) <= 1
    if not converted and ds.BitsAllocated > 1:
        assert np.array_equal(ds.pixel_array, pydicom.dcmread(io.BytesIO(content)).pixel_array)


def test_one_bit_frames_begin_with_a_byte(pacs: Pacs) -> None:
    frames = [[1, 0, 1, 1, 0, 0, 1, 0, 1], [0, 1, 1, 0, 1, 1, 0, 1, 0], [1] * 9]
    bits = [bit for frame in frames for bit in frame]
    packed = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    ds = make_dataset(
        packed, Rows=3, Columns=3, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=3
    )
    identity = pacs.store(encode(ds))
    expected = [np.packbits(np.array(one, np.uint8), bitorder="little").tobytes() for one in frames]
    found = parts(pacs.get(f"{identity.subject}/frames/1,2,3", FRAMES))
    assert [body for _, body in found] == expected
    for number in (1, 2, 3):
        single = pacs.get(f"{identity.subject}/frames/{number}", "application/octet-stream")
        assert single.data == expected[number - 1]


def test_fragments_of_a_frame_are_joined(pacs: Pacs) -> None:
    ds = make_dataset(NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = encapsulate([b"\xff\xd8" + b"a" * 99, b"\xff\xd8" + b"b" * 98], 3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, "1.2.840.10008.1.2.4.50"))
    found = parts(pacs.get(f"{identity.subject}/frames/2,1", FRAMES))
    assert [body.rstrip(b"\0") for _, body in found] == [
        b"\xff\xd8" + b"b" * 98,
        b"\xff\xd8" + b"a" * 99,
    ]
    jpeg = pacs.get(f"{identity.subject}/frames/1", "image/jpeg")
    assert jpeg.headers["Content-Type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    ("frames", "status"),
    [("2", 404), ("1,2", 404), ("0", 400), ("1,", 400), ("a", 400), ("-1", 400), ("1;2", 400),
     ("9999999999", 400), ("٣", 400), ("1%2C1", 200), ("1", 200)],
)  # fmt: skip
def test_frame_numbers(pacs: Pacs, frames: str, status: int) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    response = pacs.get(f"{identity.subject}/frames/{frames}", FRAMES)
    assert response.status_code == status, response.text


def test_a_compressed_frame_is_not_passed_off_as_raw(pacs: Pacs) -> None:
    identity, _ = pacs.put("JPEG2000.dcm")
    for accept in (
        "application/octet-stream",
        'multipart/related; type="application/octet-stream"',
    ):
        refused = pacs.get(f"{identity.subject}/frames/1", accept)
        assert refused.status_code == 406
        assert "1.2.840.10008.1.2.4.91" in refused.text


def test_what_has_no_pixels_has_no_frames(pacs: Pacs) -> None:
    identity, _ = pacs.put("rtplan.dcm")
    assert pacs.get(f"{identity.subject}/frames/1", FRAMES).status_code == 404


# ------------------------------------------------------------------- metadata


def build(pacs: Pacs, identity: InstanceIdentity) -> None:
    """Store a series' document as build_metadata does."""
    made = describe_series(pacs.archive, identity.series, SETTINGS)
    store_document(pacs.archive, identity.series.metadata_key, made.content)


def test_metadata_at_three_levels(pacs: Pacs) -> None:
    study, series = generate_uid(), generate_uid()
    identities = [
        pacs.store(
            encode(make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=n))
        )
        for n in (3, 1, 2)
    ]
    pacs.store(encode(make_dataset(StudyInstanceUID=study)))
    assert len(document(pacs.get(f"studies/{study}/metadata"))) == 4
    found = document(
        pacs.get(f"studies/{study}/series/{series}/metadata", "application/dicom+json")
    )
    assert [one["00200013"]["Value"] for one in found] == [[1], [2], [3]]
    [one] = document(pacs.get(f"{identities[0].subject}/metadata", "application/json"))
    assert one == found[2]


def test_a_stored_document_is_sent_while_it_is_current_and_never_after(pacs: Pacs) -> None:
    study, series = generate_uid(), generate_uid()

    def add(number: int) -> InstanceIdentity:
        ds = make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        return pacs.store(encode(ds))

    path = f"studies/{study}/series/{series}/metadata"
    first = add(1)
    build(pacs, first)
    behind = pacs.get(path, X_Pacsless_Accel="1")
    assert behind.headers["X-Accel-Redirect"] == f"/internal/archive/{first.series.metadata_key}"
    assert behind.headers["Content-Type"] == "application/dicom+json"
    add(2)
    fallen_back = pacs.get(path, X_Pacsless_Accel="1")
    assert "X-Accel-Redirect" not in fallen_back.headers
    assert len(document(fallen_back)) == 2
    assert len(document(pacs.get(f"studies/{study}/metadata"))) == 2
    build(pacs, first)
    assert "X-Accel-Redirect" in pacs.get(path, X_Pacsless_Accel="1").headers


def test_metadata_is_compressed_and_revalidated(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    path = f"{identity.series.subject}/metadata"
    made_now = pacs.get(path)
    assert pacs.get(path, If_None_Match=made_now.headers["ETag"]).status_code == 304
    build(pacs, identity)
    plain = pacs.get(path)
    packed = pacs.get(path, Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data == made_now.data
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in packed.headers["Vary"]
    for response in (plain, packed):
        again = pacs.get(
            path,
            If_None_Match=response.headers["ETag"],
            Accept_Encoding=response.headers.get("Content-Encoding", "identity"),
        )
        assert again.status_code == 304
        assert again.data == b""
    assert "Content-Encoding" not in pacs.get(path, Accept_Encoding="gzip;q=0").headers


def test_a_file_that_cannot_be_read_does_not_hide_its_series(pacs: Pacs) -> None:
    good, _ = pacs.put("CT_small.dcm")
    bad = InstanceIdentity("default", good.study_instance_uid, good.series_instance_uid, "1.9.9")
    store_bytes(pacs.archive, bad, b"\0" * 128 + b"DICM" + b"\xff" * 500, "")
    path = f"{good.series.subject}/metadata"
    assert len(document(pacs.get(path))) == 1
    build(pacs, good)
    # The document accounts for both files, so it is current.
    assert "X-Accel-Redirect" in pacs.get(path, X_Pacsless_Accel="1").headers
    broken = pacs.get(f"{bad.subject}/metadata")
    assert broken.status_code == 500
    assert pacs.get(bad.subject, "application/dicom").status_code == 200
    assert len(parts(pacs.get(good.series.subject))) == 2


def test_a_damaged_document_is_not_believed(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    pacs.archive.replace(identity.series.metadata_key, b'[{"00080018": torn')
    assert len(document(pacs.get(f"{identity.series.subject}/metadata"))) == 1
    assert len(document(pacs.get(f"{identity.subject}/metadata"))) == 1


# ------------------------------------------------------------------ bulk data


def uris(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        if isinstance(uri := found.get("BulkDataURI"), str):
            yield uri
        for value in found.values():
            yield from uris(value)
    elif isinstance(found, list):
        for value in found:
            yield from uris(value)


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_every_bulk_data_uri_is_answered(pacs: Pacs, path: Path) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, path.read_bytes(), "")
    response = pacs.get(f"{identity.subject}/metadata")
    if response.status_code == 500:
        pytest.skip("cannot be read as DICOM")
    for uri in uris(document(response)):
        assert uri.startswith(f"/dicom-web/{identity.subject}/bulkdata/")
        found = pacs.get(uri.removeprefix("/dicom-web/"), "*/*")
        if "truncated" in path.name:
            assert found.status_code == 500
            assert found.text == "The stored file ends inside the value.\n"
            continue
        assert found.status_code == 200, (uri, found.text)
        assert parts(found)


def test_nested_words_of_a_big_endian_file_come_little_endian(pacs: Pacs) -> None:
    ds = make_dataset()
    item = pydicom.Dataset()
    item.add_new(0x54001010, "OW", struct.pack(">1000H", *range(1000)))
    ds.WaveformSequence = [item]
    identity = pacs.store(encode(ds, ExplicitVRBigEndian))
    path = f"{identity.subject}/bulkdata/54000100/0/54001010"
    response = pacs.get(path, "application/octet-stream")
    assert response.data == struct.pack("<1000H", *range(1000))
    part = pacs.get(path, "application/octet-stream", Range="bytes=2-5")
    assert part.status_code == 206
    assert part.headers["Content-Range"] == "bytes 2-5/2000"
    assert part.data == struct.pack("<2H", 1, 2)
    assert pacs.get(path, "application/octet-stream", Range="bytes=9000-").status_code == 416


def test_documents_come_under_their_own_type_if_it_is_harmless(pacs: Pacs) -> None:
    pdf = b"%PDF-1.7" + b"x" * 3000
    stored = {}
    for media_type in ("application/pdf", "text/html"):
        ds = make_dataset(MIMETypeOfEncapsulatedDocument=media_type, EncapsulatedDocument=pdf)
        stored[media_type] = f"{pacs.store(encode(ds)).subject}/bulkdata/00420011"
    response = pacs.get(f"{stored['application/pdf']}?accept=application/pdf", "text/html")
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.data == pdf
    assert pacs.get(stored["text/html"], "text/html").status_code == 406
    assert pacs.get(stored["text/html"], "application/octet-stream").data == pdf


def test_a_video_is_read_by_ranges(pacs: Pacs) -> None:
    stream = bytes(range(256)) * 40
    ds = make_dataset(NumberOfFrames=25, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = encapsulate([stream], 3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, "1.2.840.10008.1.2.4.102"))
    [uri] = uris(document(pacs.get(f"{identity.subject}/metadata")))
    path = f"{uri.removeprefix('/dicom-web/')}?accept=video/mp4"
    whole = pacs.get(path, "text/html")
    assert whole.headers["Content-Type"] == "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102"
    assert whole.data.rstrip(b"\0") == stream.rstrip(b"\0")
    part = pacs.get(path, Range="bytes=3400-6900")  # across the seams of fragments
    assert part.status_code == 206
    assert part.data == stream[3400:6901]
    refused = pacs.get(f"{identity.subject}/frames/1", FRAMES)
    assert refused.status_code == 406
    assert "video" in refused.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("7FE00010", 200), ("7fe00010", 200), ("00100010/0/00100010", 404), ("00090001", 404),
     ("x", 400), ("7FE00010/0", 400), ("7FE00010/0/", 400), ("../7FE00010", 400)],
)  # fmt: skip
def test_bulk_data_addresses(pacs: Pacs, path: str, status: int) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    assert pacs.get(f"{identity.subject}/bulkdata/{path}").status_code == status


# -------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("studies/1.2.3", None, 404),
        ("studies/1.2.3/metadata", None, 404),
        ("studies/{study}/series/1.2.3", None, 404),
        ("studies/{study}/series/1.2.3/metadata", None, 404),
        ("studies/{study}/series/{series}/instances/1.2.3", None, 404),
        ("studies/{study}/series/{series}/instances/1.2.3/frames/1", FRAMES, 404),
        ("studies/{study}/series/{series}/instances/1.2.3/bulkdata/7FE00010", None, 404),
        ("studies/abc", None, 400),
        ("studies/..%2f..%2fetc/metadata", None, 404),
        ("studies/%2e%2e/metadata", None, 400),
        ("studies/1..2", None, 400),
        ("studies/" + "1" * 65, None, 400),
        ("studies/{study}", "image/png", 406),
        ("studies/{study}/metadata", 'multipart/related; type="application/dicom+xml"', 406),
        ("studies/{study}/series/{series}/instances/{sop}", "text/html", 406),
        ("studies/{study}/series/{series}/instances/{sop}/rendered", None, 404),
        ("studies/{study}/thumbnail", None, 404),
        ("studies/{study}/series/{series}/instances/{sop}/frames/1/rendered", None, 404),
        ("nothing", None, 404),
    ],
)
def test_refusals_are_short_and_plain(
    pacs: Pacs, path: str, accept: str | None, status: int
) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    path = path.format(
        study=identity.study_instance_uid,
        series=identity.series_instance_uid,
        sop=identity.sop_instance_uid,
    )
    response = pacs.get(path, accept)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 5 < len(response.text) < 400
    assert "CompressedSamples" not in response.text  # the patient's name


def test_only_reading(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    assert pacs.client.delete(f"/{identity.subject}").status_code == 405


def test_head_says_what_get_would(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for path, accept in (
        (identity.subject, "application/dicom"),
        (identity.subject, None),
        (f"{identity.subject}/frames/1", FRAMES),
        (f"{identity.subject}/bulkdata/7FE00010", "application/octet-stream"),
        (f"{identity.series.subject}/metadata", None),
    ):
        headers = {"Accept": accept} if accept else {}
        got = pacs.client.get(f"/{path}", headers=headers)
        head = pacs.client.head(f"/{path}", headers=headers)
        assert head.status_code == 200
        assert head.data == b""
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_another_tenants_objects_do_not_exist(pacs: Pacs) -> None:
    north, _ = pacs.put("CT_small.dcm", "north")
    build(pacs, north)
    unknown = north.subject.replace(north.study_instance_uid, "1.2.3.4.5")
    for suffix in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010"):
        theirs = pacs.get(north.subject + suffix, "*/*", X_Pacsless_Tenant="south")
        nobodys = pacs.get(unknown + suffix, "*/*", X_Pacsless_Tenant="south")
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.data == nobodys.data
        own = pacs.get(north.subject + suffix, "*/*", X_Pacsless_Tenant="north")
        assert own.status_code == 200
    for resource in (north.series.subject, f"studies/{north.study_instance_uid}"):
        for suffix in ("", "/metadata"):
            assert pacs.get(resource + suffix, X_Pacsless_Tenant="south").status_code == 404
    [entry] = document(pacs.get(f"{north.subject}/metadata", X_Pacsless_Tenant="north"))
    assert all(uri.startswith("/tenants/north/dicom-web/") for uri in uris(entry))


def test_a_transfer_syntax_cannot_forge_headers(pacs: Pacs) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    forged = part10(b"\x08\0\x18\0UI\x06\x001.2.3\0", "1.2\r\nX-Forged: 1")
    store_bytes(pacs.archive, identity, forged, "")
    response = pacs.get(identity.subject, "application/dicom")
    assert response.data == forged
    assert response.headers["Content-Type"] == "application/dicom"
    [(headers, body)] = parts(pacs.get(identity.subject))
    assert body == forged
    assert headers["Content-Type"] == "application/dicom"


# ------------------------------------------------------------- second opinions


@pytest.fixture
def served(pacs: Pacs) -> Iterator[tuple[Pacs, DICOMwebClient]]:
    """The function behind a real socket, and a client by other people."""
    server = make_server("127.0.0.1", 0, pacs.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pacs, DICOMwebClient(f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join(30)


def test_dicomweb_client_reads_us(served: tuple[Pacs, DICOMwebClient]) -> None:
    pacs, client = served
    identity, content = pacs.put("CT_small.dcm")
    j2k, _ = pacs.put("JPEG2000.dcm")
    study, series, sop = (
        identity.study_instance_uid,
        identity.series_instance_uid,
        identity.sop_instance_uid,
    )
    original = pydicom.dcmread(io.BytesIO(content))
    assert client.retrieve_instance(study, series, sop) == original
    assert client.retrieve_study(study) == [original]
    assert client.retrieve_series(study, series) == [original]
    [entry] = client.retrieve_series_metadata(study, series)
    assert pydicom.Dataset.from_json(entry).PatientName == original.PatientName
    assert client.retrieve_instance_metadata(study, series, sop) == entry
    assert client.retrieve_instance_frames(
        study, series, sop, [1], media_types=("application/octet-stream",)
    ) == [original.PixelData]
    [codestream] = client.retrieve_instance_frames(
        j2k.study_instance_uid,
        j2k.series_instance_uid,
        j2k.sop_instance_uid,
        [1],
        media_types=(("image/jp2", "1.2.840.10008.1.2.4.91"),),
    )
    assert codestream.startswith(b"\xff\x4f\xff\x51")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample files beside the repository")
@pytest.mark.parametrize(
    "folder", ["transfer-syntaxes", "multiframe", "wsi", "seg-pm-sr", "documents", "video", "odd"]
)
def test_every_sample_is_served(pacs: Pacs, folder: str) -> None:
    """No request for any part of any sample ends in a fault of ours."""
    for path in sorted((SAMPLES / folder).rglob("*.dcm")):
        # no_meta.dcm begins with a stray byte: it is not DICOM.
        if path.stat().st_size > 4 << 20 or path.name == "no_meta.dcm":
            continue
        identity = InstanceIdentity("default", "1.2", "1.2.3", generate_uid())
        content = path.read_bytes()
        store_bytes(pacs.archive, identity, content, "")
        assert pacs.get(identity.subject, "application/dicom").data == content
        metadata = pacs.get(f"{identity.subject}/metadata")
        assert metadata.status_code == 200, (path, metadata.text)
        for uri in uris(document(metadata)):
            bulk = pacs.get(uri.removeprefix("/dicom-web/"), "*/*")
            cut_off = bulk.status_code == 500 and "ends inside" in bulk.text
            assert bulk.status_code == 200 or cut_off, (path, uri, bulk.text)
        frame = pacs.get(f"{identity.subject}/frames/1", FRAMES)
        assert frame.status_code in (200, 404, 406), (path, frame.text)


def test_a_cache_filled_by_another_version_is_not_believed(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    stat = pacs.archive.stat(identity.key)
    assert stat is not None
    cache = resources.get(Cache)
    cache.put("default", "frames", f"{identity.key}:{stat.size}:{stat.modified}", {"rows": 1})
    [(_, body)] = parts(pacs.get(f"{identity.subject}/frames/1", FRAMES))
    assert body == pydicom.dcmread(io.BytesIO(content)).PixelData


HOSTILE = sorted((SAMPLES / "hostile").glob("*.dcm")) if SAMPLES.is_dir() else []


@pytest.mark.skipif(not HOSTILE, reason="no sample files beside the repository")
@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_hostile_files_are_answered_for(pacs: Pacs, path: Path) -> None:
    """Stored is stored: the file comes back, and everything else gets a short answer."""
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, path.read_bytes(), "")
    neighbour = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.5")
    store_bytes(pacs.archive, neighbour, FILES["CT_small.dcm"].read_bytes(), "")
    assert pacs.get(identity.subject, "application/dicom").data == path.read_bytes()
    assert len(parts(pacs.get("studies/1.2"))) == 2
    series = document(pacs.get("studies/1.2/series/1.2.3/metadata"))
    assert "1.2.3.5" in [one["00080018"]["Value"][0] for one in series]
    explicit = f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    for suffix, accept in (
        ("/metadata", None),
        ("/frames/1", FRAMES),
        ("/frames/999999999", FRAMES),
        ("/bulkdata/7FE00010", None),
        ("", explicit),
    ):
        response = pacs.get(identity.subject + suffix, accept)
        assert response.status_code in (200, 404, 406, 500)
        if response.status_code != 200:
            assert len(response.text) < 500
            assert "log says what" not in response.text, (suffix, "an error nobody thought of")
