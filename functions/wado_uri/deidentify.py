"""A data set without who the patient is: PS3.15 Annex E, Basic Profile.

What the profile's table names is done as it says; of what it does not name,
all that is private, free text, a name, a date or of no known kind is removed,
too, as the profile's notes advise. Values that are kept are copied byte for
byte. docs/wado-uri.md tells what that leaves.
"""

from __future__ import annotations

from enum import Enum, auto
from struct import pack
from typing import Final, Protocol

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom.dataelem import RawDataElement
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    ParametricMapStorage,
    PositronEmissionTomographyImageStorage,
    RTDoseStorage,
    SegmentationStorage,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from pacsless.dicom import values
from pacsless.dicom.dataset import Header
from pacsless.dicom.header import PIXEL_DATA
from pacsless.errors import NotAcceptable


class _Action(Enum):
    KEEP = auto()
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    UID = auto()
    ITEMS = auto()


# Where the action depends on what the IOD requires, the one that always conforms.
_NAMED: Final = {
    tag[0] << 16 | tag[1]: action
    for tags, action in (
        (profile.X_TAGS, _Action.REMOVE),
        (profile.Z_TAGS + profile.X_Z_TAGS, _Action.EMPTY),
        (
            profile.D_TAGS + profile.Z_D_TAGS + profile.X_D_TAGS + profile.X_Z_D_TAGS,
            _Action.DUMMY,
        ),
        (profile.U_TAGS, _Action.UID),
        (profile.X_Z_U_STAR_TAGS, _Action.ITEMS),
    )
    for tag in tags
}
_OF_VR: Final = {
    **dict.fromkeys(("PN", "DA", "TM", "DT", "AS", "LT", "ST", "UT", "UR", "UN"), _Action.REMOVE),
    "UI": _Action.UID,
    "SQ": _Action.ITEMS,
}
_DUMMIES: Final = {
    "AE": b"ANONYMIZED",
    "AS": b"000Y",
    "CS": b"ANONYMIZED",
    "DA": b"19000101",
    "DS": b"0 ",
    "DT": b"19000101000000",
    "IS": b"0 ",
    "TM": b"000000",
    **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), b"Anonymized"),
}
_REMOVED_GROUPS: Final = (0x5000, 0x6000)
"""Curves and overlays: pictures, and text about them."""
_CONTROL: Final = frozenset({0x0000, 0x0002, 0xFFFA, 0xFFFC})
"""Commands, File Meta Information, signatures and padding."""
_PATIENT_ID: Final = 0x00100020
_PREDEFINED: Final = b"1.2.840.10008."
"""Of UIDs the standard defines (PS3.6): classes, transfer syntaxes, coding schemes."""
_MAX_SHORT: Final = 0xFFFF

_RECONSTRUCTED: Final = frozenset(
    {
        CTImageStorage,
        EnhancedCTImageStorage,
        EnhancedMRImageStorage,
        EnhancedPETImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
        MRImageStorage,
        NuclearMedicineImageStorage,
        ParametricMapStorage,
        PositronEmissionTomographyImageStorage,
        RTDoseStorage,
        SegmentationStorage,
    }
)
"""SOP classes whose pixels are measured, and seldom a picture of a screen."""


class Names(Protocol):
    """New names for old ones, the same each time."""

    def uid(self, uid: bytes) -> str:
        """Return the UID that stands for another."""
        ...

    def identifier(self, value: bytes) -> str:
        """Return the identifier that stands for a patient's."""
        ...


def require_anonymous_pixels(header: Header) -> None:
    """See that pixels may be shown without who the patient is: none are altered here.

    Raises
    ------
    NotAcceptable
        If they may say it, or nothing says that they do not, or there are none.
    """
    if not PIXEL_DATA & header.bulk.keys():
        raise NotAcceptable("anonymize", "only images are anonymized")
    for keyword, what in (
        ("BurnedInAnnotation", "has text burned in"),
        ("RecognizableVisualFeatures", "shows recognizable features"),
    ):
        if "YES" in header.codes(keyword):
            raise NotAcceptable("anonymize", f"the image {what}: it cannot be anonymized")
    if "NO" in header.codes("BurnedInAnnotation"):
        return
    kind = header.codes("ImageType")
    # Pages of protocols and doses come as images, too, and they are never primary.
    if str(header.get("SOPClassUID") or "") not in _RECONSTRUCTED or "SECONDARY" in kind:
        raise NotAcceptable(
            "anonymize",
            "the image does not say that it has no text burned in, Burned In Annotation"
            " (0028,0301): it cannot be anonymized",
        )


def deidentify(header: Header, names: Names) -> bytes:
    """Return a data set up to its Pixel Data, in Explicit VR Little Endian.

    Parameters
    ----------
    header
        Read from little endian; of values left in the file, none is written.
    names
        What stands for UIDs and the patient's identifier.
    """
    code = (
        (0x00080100, "SH", b"113100"),
        (0x00080102, "SH", b"DCM "),
        (0x00080104, "LO", b"Basic Application Confidentiality Profile "),
    )
    told = {
        0x00120062: _element(0x00120062, "CS", b"YES "),
        0x00120063: _element(0x00120063, "LO", b"PS3.15 Basic Profile; pixels as they were "),
        0x00120064: _sequence(0x00120064, [b"".join(_element(*one) for one in code)]),
        0x00280303: _element(0x00280303, "CS", b"REMOVED "),
    }
    made = _protected(header, names) | told
    return b"".join(made[tag] for tag in sorted(made))


def _protected(header: Header, names: Names) -> dict[int, bytes]:
    made = {}
    for element in header.raw_elements():
        tag = int(element.tag)
        vr = values.definite_vr(element.VR or "UN", header.pixel_representation)
        action = _action(tag, vr if vr in STANDARD_VR else "UN")
        if action is _Action.REMOVE:
            continue
        if not isinstance(element, RawDataElement):
            of_items = element.value if action is _Action.ITEMS else ()
            made[tag] = _sequence(tag, [_item(one, names) for one in of_items])
            continue
        value = element.value or b""
        if action is _Action.EMPTY:
            value = b""
        elif action is _Action.DUMMY:
            value = _dummy(tag, vr, value, names)
        elif action is _Action.UID:
            value = _uids(value, names)
        if vr in EXPLICIT_VR_LENGTH_32 or len(value) <= _MAX_SHORT:
            made[tag] = _element(tag, vr, value)
    return made


def _action(tag: int, vr: str) -> _Action:
    group = tag >> 16
    if tag & 0xFFFF == 0:
        return _Action.REMOVE  # a group's length, which is another now
    if group % 2 or group & 0xFF00 in _REMOVED_GROUPS or group in _CONTROL:
        return _Action.REMOVE
    named = _NAMED.get(tag)
    if vr == "SQ":
        # A sequence that the table would have replaced goes without its items.
        return named or _Action.ITEMS
    if named is _Action.ITEMS or vr == "UN":
        return _Action.REMOVE
    return named or _OF_VR.get(vr, _Action.KEEP)


def _item(header: Header, names: Names) -> bytes:
    made = _protected(header, names)
    return b"".join(made[tag] for tag in sorted(made))


def _dummy(tag: int, vr: str, value: bytes, names: Names) -> bytes:
    if tag == _PATIENT_ID:
        return _even(names.identifier(value.strip(b" \0")).encode("ascii"), b" ")
    if vr == "UI":
        return _uids(value, names)
    return _DUMMIES.get(vr, b"")


def _uids(value: bytes, names: Names) -> bytes:
    replaced = (
        one if one.startswith(_PREDEFINED) or not one else names.uid(one).encode("ascii")
        for one in (part.strip(b" \0") for part in value.split(b"\\"))
    )
    return _even(b"\\".join(replaced), b"\0")


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding * (len(value) % 2)


def _sequence(tag: int, contents: list[bytes]) -> bytes:
    items = (pack("<HHL", 0xFFFE, 0xE000, len(content)) + content for content in contents)
    return _element(tag, "SQ", b"".join(items))


def _element(tag: int, vr: str, value: bytes) -> bytes:
    head = pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    size = len(value)
    return head + (pack("<xxL", size) if vr in EXPLICIT_VR_LENGTH_32 else pack("<H", size)) + value
