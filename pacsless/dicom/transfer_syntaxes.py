"""Transfer syntaxes: what each means for the bytes, and those pydicom lacks.

pydicom 3.0.2 knows neither Deflated Image Frame Compression nor JPEG XL:
`UID.is_encapsulated` raises for them. They are added to its dictionary when
this module is imported (its ``register_transfer_syntax`` is for private UIDs
only, and is used for the one private syntax found in practice).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, register_transfer_syntax

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
PAPYRUS_3: Final = "1.2.840.10008.1.20"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
DEFLATED_IMAGE_FRAME: Final = "1.2.840.10008.1.2.8.1"
PRIVATE_HTJ2K: Final = "3.2.840.10008.1.2.4.96"
JPEG: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 57, 70))
JPEG_LS: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (80, 81))
JPEG_2000: Final = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (90, 91))
HTJ2K: Final = frozenset({*(f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)), PRIVATE_HTJ2K})
CODESTREAMS: Final = JPEG | JPEG_LS | JPEG_2000 | HTJ2K
"""Whose frames a library decodes; there are more whose frames none does."""

_NEWER: Final = {
    "1.2.840.10008.1.2.4.110": ("JPEG XL Lossless", "JPEGXLLossless"),
    "1.2.840.10008.1.2.4.111": (
        "JPEG XL JPEG Recompression",
        "JPEGXLJPEGRecompression",
    ),
    "1.2.840.10008.1.2.4.112": ("JPEG XL", "JPEGXL"),
    "1.2.840.10008.1.2.8.1": (
        "Deflated Image Frame Compression",
        "DeflatedImageFrameCompression",
    ),
}

for _uid, (_name, _keyword) in _NEWER.items():
    UID_dictionary.setdefault(_uid, (_name, "Transfer Syntax", "", "", _keyword))
register_transfer_syntax(PRIVATE_HTJ2K, implicit_vr=False, little_endian=True)

# Registered as transfer syntaxes, but not of a data set in a PS3.10 file:
# MIME and XML encodings (PS3.10 annexes, retired) and real-time video streams
# (PS3.22).
_NOT_FILES: Final = frozenset(
    {
        "1.2.840.10008.1.2.6.1",
        "1.2.840.10008.1.2.6.2",
        "1.2.840.10008.1.2.7.1",
        "1.2.840.10008.1.2.7.2",
        "1.2.840.10008.1.2.7.3",
    }
)

STORABLE: Final[tuple[str, ...]] = (
    *(
        uid
        for uid, entry in UID_dictionary.items()
        if entry[1] == "Transfer Syntax" and uid not in _NOT_FILES
    ),
    PRIVATE_HTJ2K,
)
"""Every transfer syntax an instance may be stored in; the gateway offers them all."""

# PS3.5 §A.5, §A.7, §A.10: the whole data set is a raw deflate stream.
_DEFLATED: Final = frozenset(
    {
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.205",
    }
)
# JPIP: Pixel Data is a URL elsewhere (PS3.5 §A.6); the data set is a plain one.
_REFERENCED: Final = frozenset(
    {
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.204",
        "1.2.840.10008.1.2.4.205",
    }
)
_NATIVE: Final = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        PAPYRUS_3,
    }
)

OCTET_STREAM: Final = "application/octet-stream"

# PS3.18 Table 8.7.3-5. The retired JPEG processes are not in the table, which
# lets a server support more; their codestreams are JPEG. Encapsulated
# Uncompressed and Deflated Image Frame have no image media type.
_MEDIA_TYPES: Final[dict[str, str]] = {
    **{f"1.2.840.10008.1.2.4.{n}": "image/jpeg" for n in (*range(50, 67), 70)},
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    **{f"1.2.840.10008.1.2.4.{n}": "image/jxl" for n in (110, 111, 112)},
    **{f"1.2.840.10008.1.2.4.{n}": "image/jphc" for n in (201, 202, 203)},
    PRIVATE_HTJ2K: "image/jphc",
    **{
        f"1.2.840.10008.1.2.4.{n}{fragmentable}": "video/mpeg"
        for n in (100, 101)
        for fragmentable in ("", ".1")
    },
    **{
        f"1.2.840.10008.1.2.4.{n}{fragmentable}": "video/mp4"
        for n in (102, 103, 104, 105, 106)
        for fragmentable in ("", ".1")
    },
    "1.2.840.10008.1.2.4.107": "video/H265",
    "1.2.840.10008.1.2.4.108": "video/H265",
}


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """What a transfer syntax UID says of the bytes of a data set.

    Attributes
    ----------
    uid
        The UID itself.
    implicit_vr, little_endian, deflated
        Encoding of the data set. Every syntax but two is explicit VR little
        endian, and an unknown one is taken for that (PS3.5 §10, §A.4).
    encapsulated
        Pixel Data is a sequence of fragments.
    referenced
        There is no Pixel Data, only a provider's URL (JPIP).
    media_type
        Media type of one frame's bytes (PS3.18 Table 8.7.3-5).
    """

    uid: str
    implicit_vr: bool
    little_endian: bool
    deflated: bool
    encapsulated: bool
    referenced: bool
    media_type: str

    @property
    def is_video(self) -> bool:
        """Whether all frames are one video stream."""
        return self.media_type.startswith("video/")

    @property
    def is_decodable(self) -> bool:
        """Whether frames are encapsulated, and can be decoded here."""
        return self.uid in CODESTREAMS or self.uid in (
            RLE_LOSSLESS,
            DEFLATED_IMAGE_FRAME,
            ENCAPSULATED_UNCOMPRESSED,
        )

    @property
    def web_uid(self) -> str:
        """UID to declare for frames on the web.

        PS3.18 §8.7.3 bans Implicit VR and Big Endian there. Native frames are
        Explicit VR Little Endian: those of the former as they are, those of
        the latter once swapped.
        """
        return EXPLICIT_VR_LITTLE_ENDIAN if self.uid in _NATIVE else self.uid


@cache
def _known(uid: str) -> TransferSyntax:
    return TransferSyntax(
        uid=uid,
        implicit_vr=uid in (IMPLICIT_VR_LITTLE_ENDIAN, PAPYRUS_3),
        little_endian=uid != EXPLICIT_VR_BIG_ENDIAN,
        deflated=uid in _DEFLATED,
        encapsulated=uid not in _NATIVE and uid not in _REFERENCED,
        referenced=uid in _REFERENCED,
        media_type=_MEDIA_TYPES.get(uid, OCTET_STREAM),
    )


_STORABLE: Final = frozenset(STORABLE)


def lookup(uid: str) -> TransferSyntax:
    """Return what `uid` means; an unknown one is taken for a compressed syntax."""
    # Only registered UIDs are cached: others come from files, without end.
    return _known(uid) if uid in _STORABLE else _known.__wrapped__(uid)


def is_storable(uid: str) -> bool:
    """Whether instances in the transfer syntax `uid` are accepted."""
    return uid in _STORABLE


def name(uid: str) -> str:
    """Return the registered name of a transfer syntax, or the UID itself."""
    return str(UID(uid).name) if uid in _STORABLE else uid
