"""transcode on a real archive: renditions that say the same, once, or an honest failure."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from functions.transcode.main import transcode
from functions.transcode.verification import Mismatch, verify
from pacsless.archive.files import INCOMING, FileArchive
from pacsless.codec import Delivered
from pacsless.dicom.explicit_le import is_convertible
from pacsless.dicom.part10 import split_part10
from pacsless.errors import Unprocessable
from pacsless.events import (
    Event,
    InstanceConversionFailed,
    InstanceConversionRequested,
    InstanceConverted,
)
from pacsless.identity import InstanceIdentity
from tests.dicom_files import BUNDLED, SAMPLES, bundled
from tests.instances import encode, make_dataset, store_bytes

EXPLICIT = "1.2.840.10008.1.2.1"
IDENTITY = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")


def syntax_of(path: Path) -> str:
    with path.open("rb") as file:
        return split_part10(file).transfer_syntax


def request(content: bytes, archive: FileArchive, target: str = EXPLICIT) -> Event:
    """Store an original and carry out one request for it."""
    stored = store_bytes(archive, IDENTITY, content, "")
    return repeat(stored.sha256, archive, target)


def repeat(sha256: str, archive: FileArchive, target: str = EXPLICIT) -> Event:
    requested = InstanceConversionRequested(
        tenant_id="default",
        study_instance_uid=IDENTITY.study_instance_uid,
        series_instance_uid=IDENTITY.series_instance_uid,
        sop_instance_uid=IDENTITY.sop_instance_uid,
        sha256=sha256,
        transfer_syntax="1.2.840.10008.1.2.2",
        target_transfer_syntax=target,
        reason="test",
    )
    batch = [Delivered(requested, requested.id, "")]
    [event] = transcode.__wrapped__(batch, archive)  # type: ignore[attr-defined]
    assert isinstance(event, Event)
    return event


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    return FileArchive(tmp_path / "archive")


def uncompressed() -> list[Path]:
    folders = ("transfer-syntaxes", "seg-pm-sr", "documents", "multiframe/enhanced-mr")
    files = bundled() + [
        path
        for folder in folders
        for path in sorted((SAMPLES / folder).rglob("*.dcm"))
        if path.stat().st_size < 4 << 20
    ]
    return [path for path in files if is_convertible(syntax_of(path))]


@pytest.mark.parametrize("path", uncompressed(), ids=lambda path: path.name)
def test_uncompressed_files_get_a_rendition_that_says_the_same(
    archive: FileArchive, path: Path
) -> None:
    event = request(path.read_bytes(), archive)
    if "truncated" in path.name and syntax_of(path) != EXPLICIT:
        assert isinstance(event, InstanceConversionFailed)
        assert (event.stage, event.error_code) == ("convert", "truncated")
        return
    assert isinstance(event, InstanceConverted), event
    assert event.rendition_path == IDENTITY.rendition_key(EXPLICIT)
    stat = archive.stat(event.rendition_path)
    assert stat is not None
    assert stat.size == event.rendition_size
    with archive.open(event.rendition_path) as file:
        ds = pydicom.dcmread(file)
    assert ds.file_meta.TransferSyntaxUID == EXPLICIT
    assert archive.open(IDENTITY.key).read() == path.read_bytes()


def test_repeating_a_request_changes_nothing(archive: FileArchive) -> None:
    first = request(BUNDLED["MR_small_bigendian.dcm"].read_bytes(), archive)
    assert isinstance(first, InstanceConverted)
    before = archive.stat(first.rendition_path)
    again = repeat(first.sha256, archive)
    assert isinstance(again, InstanceConverted)
    assert (again.id, again.rendition_sha256, again.rendition_size) == (
        first.id,
        first.rendition_sha256,
        first.rendition_size,
    )
    assert again.converted_at < first.converted_at, "the warehouse keeps the first one's row"
    assert archive.stat(first.rendition_path) == before
    assert not list((archive.root / INCOMING).iterdir())


@pytest.mark.parametrize(
    ("content", "target", "stage", "code"),
    [
        (BUNDLED["JPEG2000.dcm"].read_bytes(), EXPLICIT, "decode", "compressed"),
        (
            BUNDLED["CT_small.dcm"].read_bytes(),
            "1.2.840.10008.1.2.4.202",
            "encode",
            "unknown-target",
        ),
        (BUNDLED["MR_small_bigendian.dcm"].read_bytes()[:-50], EXPLICIT, "convert", "truncated"),
        (b"not DICOM at all", EXPLICIT, "parse", "not-dicom"),
    ],
    ids=["compressed", "target", "truncated", "rubbish"],
)
def test_what_cannot_be_converted_is_told_and_leaves_nothing(
    archive: FileArchive, content: bytes, target: str, stage: str, code: str
) -> None:
    event = request(content, archive, target)
    assert isinstance(event, InstanceConversionFailed)
    assert (event.stage, event.error_code) == (stage, code)
    assert list(archive.list("renditions/")) == []
    assert not list((archive.root / INCOMING).iterdir())


def test_an_original_that_is_gone_is_a_failure_and_not_a_retry(archive: FileArchive) -> None:
    event = repeat("0" * 64, archive)
    assert isinstance(event, InstanceConversionFailed)
    assert event.stage == "parse"


def test_what_inflates_to_much_is_compared_without_being_held(archive: FileArchive) -> None:
    pixels = 96 << 20
    original = encode(
        make_dataset(bytes(pixels), Rows=4096, Columns=12288), DeflatedExplicitVRLittleEndian
    )
    event = request(original, archive)
    assert isinstance(event, InstanceConverted)
    tracemalloc.start()
    try:
        with archive.open(event.rendition_path) as good:
            verify(io.BytesIO(original), good)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_wrong_rendition_does_not_pass(archive: FileArchive) -> None:
    original = BUNDLED["MR_small_bigendian.dcm"].read_bytes()
    event = request(original, archive)
    assert isinstance(event, InstanceConverted)
    good = archive.open(event.rendition_path).read()
    verify(io.BytesIO(original), io.BytesIO(good))
    pixel, text = bytearray(good), bytearray(good)
    pixel[-1] ^= 1
    place = good.index(b"MAGNETOM") if b"MAGNETOM" in good else good.index(b"CompressedSamples")
    text[place] ^= 1
    with pytest.raises(Mismatch, match="value-differs"):
        verify(io.BytesIO(original), io.BytesIO(bytes(pixel)))
    with pytest.raises(Mismatch, match="attributes-differ"):
        verify(io.BytesIO(original), io.BytesIO(bytes(text)))
    with pytest.raises(Unprocessable):
        verify(io.BytesIO(original), io.BytesIO(good[:300]))
