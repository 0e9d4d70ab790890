"""What pydicom reads of a file, to hold ours against: DICOM JSON and frames.

Where the two differ and ours is right is in `EXPLAINED`, with the reason.
"""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian

from pacsless.dicom.transfer_syntaxes import lookup

_GROUP_1: Final = "it has group 0001 in its data set, which is no data set's (PS3.5 §7.1)"
_GROUP_4: Final = "it is a directory; group 0004 is of no instance's metadata"
_ENDS: Final = "its data ends inside an element, which pydicom gives as far as it goes"
_ESCAPES: Final = "pydicom leaves the escape sequences of GB 2312 in"
_RAISES: Final = "pydicom raises"

EXPLAINED: Final = {
    "chrGB2312.dcm": _ESCAPES,
    "iso2022_58_zh.dcm": _ESCAPES,
    "undeclared_utf8.dcm": "pydicom takes UTF-8 that is not declared for Latin-1",
    "badVR.dcm": _RAISES,
    "instance_number_text.dcm": _RAISES,
    "GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm": _RAISES,
    "rtplan_truncated.dcm": _ENDS,
    "GH179A.dcm": _ENDS,
    "GH179B.dcm": _ENDS,
    "nested_priv_SQ.dcm": _GROUP_1,
    "meta_missing_tsyntax.dcm": _GROUP_1,
    "DICOMDIR.dcm": _GROUP_4,
    "DICOMDIR-empty.dcm": _GROUP_4,
    "no_preamble_dicm_in_data.dcm": "pydicom takes four letters of the data set for the prefix",
    "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm": (
        "its private elements are UN and big endian; pydicom takes UN for little endian"
    ),
}
"""File → why our DICOM JSON of it is not pydicom's."""

PIXELS: Final = ("7FE00008", "7FE00009", "7FE00010")


def comparable(attribute: dict[str, Any]) -> Any:
    """Return an attribute with what pydicom does otherwise, and may, evened out."""
    if attribute["vr"] == "SQ":
        # Group lengths are retired, and of no use to who reads JSON.
        return [
            {tag: comparable(inner) for tag, inner in item.items() if tag[4:] != "0000"}
            for item in attribute.get("Value", [])
        ]
    found: list[Any] = []
    for value in attribute.get("Value", []):
        if isinstance(value, dict):
            found.append({kind: name.strip() for kind, name in value.items() if name.strip()})
        elif attribute["vr"] in ("SV", "UV"):
            found.append(int(value))  # beyond 2^53, ours are strings (DECISIONS.md 24)
        elif isinstance(value, str):
            found.append(value.strip())
        else:
            number = None if value is None else float(value)
            found.append("NaN" if number is not None and isnan(number) else number)
    # Padding is not significant, an empty value is null, an empty one alone nothing.
    values = [value or None if value != 0 else value for value in found]
    return attribute["vr"], [] if values == [None] else values, attribute.get("InlineBinary")


def dicom_json(path: Path) -> dict[str, Any]:
    """DICOM JSON of a file but its pixels."""
    found = pydicom.dcmread(path, force=True, stop_before_pixels=True).to_json_dict()
    return {tag: one for tag, one in found.items() if tag[4:] != "0000" and tag not in PIXELS}


def frames(path: Path) -> list[bytes] | None:
    """Frames of a file, or None if it has none we could compare."""
    ds = pydicom.dcmread(path, force=True)
    if not ds.get("PixelData") or "TransferSyntaxUID" not in ds.get("file_meta", {}):
        return None
    number = str(ds.get("NumberOfFrames") or 1)
    if not number.isdecimal():
        return None
    count = int(number)
    syntax = ds.file_meta.TransferSyntaxUID
    if lookup(syntax).is_video:
        return None  # no frame of it has bytes of its own
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
