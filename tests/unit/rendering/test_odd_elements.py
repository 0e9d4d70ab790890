"""Headers as they may not be: a clear refusal, and nobody else is harmed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.dicom.header import read_header
from pacsless.errors import BadRequest, NotAcceptable, NotFound, PacslessError, Unprocessable
from pacsless.identity import InstanceIdentity
from pacsless.instances import find_instance
from pacsless.rendering.image import image_pixel
from pacsless.rendering.opened import open_image
from pacsless.rendering.parameters import Parameters
from pacsless.rendering.render import render
from tests.dicom_files import element, identifiers, item, part10, sequence
from tests.instances import encode as encode_dataset
from tests.instances import make_dataset, store_bytes
from tests.rendering import shown


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"Rows": 0}, NotFound),
        ({"Rows": 9000, "Columns": 9000}, BadRequest),
        ({"PhotometricInterpretation": "CMYK", "SamplesPerPixel": 4}, NotAcceptable),
        ({"BitsAllocated": 12}, NotAcceptable),
        ({"BitsStored": 0}, NotAcceptable),
    ],
)
def test_what_is_not_rendered(values: dict[str, Any], error: type[Exception]) -> None:
    content = encode_dataset(make_dataset(b"\0" * 8, **values))
    with pytest.raises(error):
        image_pixel(read_header(content))


@pytest.mark.parametrize(
    "values",
    [
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422", "BitsAllocated": 8,
         "PlanarConfiguration": 1},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 1},
        {"PhotometricInterpretation": "PALETTE COLOR", "BitsAllocated": 1},
    ],
)  # fmt: skip
def test_odd_kinds_of_pixels_are_refused(values: dict[str, Any]) -> None:
    content = encode_dataset(make_dataset(bytes(8), **values))
    with pytest.raises((NotAcceptable, Unprocessable)):
        shown(content)


def odd_elements(tag: int) -> Iterator[bytes]:
    """An element as it may not be: numbers that are none, things that are no numbers."""
    for value in (float("nan"), float("inf"), -1e300):
        yield element(tag, "FD", struct.pack("<3d", value, value, value))
    yield element(tag, "LO", b"text")
    yield element(tag, "UN", b"\1\2\3\4")
    yield element(tag, "US", b"")
    yield sequence(tag, item(element(0x00080100, "SH", b"x ")))


@pytest.mark.parametrize(
    "tag",
    [0x00280002, 0x00280010, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120,
     0x00281050, 0x00281053, 0x00281101, 0x00281201, 0x00283000, 0x00283010, 0x52009229,
     0x52009230],
)  # fmt: skip
@pytest.mark.parametrize("photometric", [b"MONOCHROME2 ", b"PALETTE COLOR "])
def test_odd_elements_cost_their_instance_alone(
    tmp_path: Path, tag: int, photometric: bytes
) -> None:
    plain = {
        0x00280002: element(0x00280002, "US", b"\1\0"),
        0x00280004: element(0x00280004, "CS", photometric),
        0x00280010: element(0x00280010, "US", b"\2\0"),
        0x00280011: element(0x00280011, "US", b"\2\0"),
        0x00280100: element(0x00280100, "US", b"\x10\0"),
        0x00280101: element(0x00280101, "US", b"\x10\0"),
        0x7FE00010: element(0x7FE00010, "OW", bytes(range(8))),
    }
    archive = FileArchive(tmp_path)
    for number, odd in enumerate(odd_elements(tag)):
        elements = plain | {tag: odd}
        content = part10(identifiers() + b"".join(elements[one] for one in sorted(elements)))
        identity = InstanceIdentity("default", "1.2", "1.3", f"1.4.{number}")
        store_bytes(archive, identity, content, "1.2.840.10008.1.2.1")
        stored = find_instance(archive, "default", "1.2", "1.3", identity.sop_instance_uid)
        try:
            with open_image(archive, Cache(), stored) as opened:
                made = render(opened, 1, Parameters(), "image/png", thumbnail=False)
        except PacslessError:
            continue
        assert made.startswith(b"\x89PNG")
