"""Lookup tables and windows of an instance, for one of its frames (PS3.3 §C.11, §C.7.6.3.1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pacsless.dicom.dataset import Header
from pacsless.errors import Unprocessable
from pacsless.rendering.image import items, numbers
from pacsless.rendering.parameters import Window

Values = NDArray[np.float64]

_MAX_ENTRIES: Final = 1 << 16
_MAX_SEGMENTS: Final = 1 << 12
_FUNCTIONS: Final = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}


@dataclass(frozen=True, slots=True)
class Lut:
    """A table, the value its first entry is for, and how many bits its entries have."""

    first: int
    bits: int
    entries: NDArray[np.uint16]

    def __call__(self, values: Values) -> Values:
        """Look values up; those outside get the first or the last entry (PS3.3 §C.11.1.1.1)."""
        at = np.clip(np.nan_to_num(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        found: Values = self.entries[at].astype(np.float64)
        return found


def lut(item: Header, descriptor: str, data: str) -> Lut | None:
    """Read a table; None if there is none, or none that makes sense."""
    described = numbers(item, descriptor)
    raw: Any = item.get(data)
    if len(described) != 3 or raw is None:
        return None
    # Either may have been written as a signed number.
    count = int(described[0]) & 0xFFFF or _MAX_ENTRIES
    bits = int(described[2])
    if isinstance(raw, bytes):
        packed = len(raw) in (count, count + 1)
        entries = np.frombuffer(raw, "<u1" if packed else "<u2", len(raw) // (1 if packed else 2))
    else:
        entries = np.array(numbers(item, data), np.int64)
    entries = entries[:count].astype(np.uint16)
    if not 1 <= bits <= 16 or not len(entries):
        return None
    return Lut(int(described[1]), bits, entries)


def frame_item(header: Header, frame: int, functional_group: str) -> Header:
    """Return what holds a frame's attributes: its functional group, or the data set itself."""
    frames = items(header, "PerFrameFunctionalGroupsSequence")
    shared = items(header, "SharedFunctionalGroupsSequence")
    for groups in (*frames[frame - 1 : frame], *shared[:1]):
        found = items(groups, functional_group)
        if found:
            return found[0]
    return header


@dataclass(frozen=True, slots=True)
class Rescale:
    """The linear Modality LUT (PS3.3 §C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, values: Values) -> Values:
        """Return the values in the modality's unit."""
        return values * self.slope + self.intercept


def modality_lut(header: Header, frame: int) -> Lut | Rescale:
    """Return a frame's Modality LUT; the identity if it has none."""
    for item in items(header, "ModalityLUTSequence"):
        found = lut(item, "LUTDescriptor", "LUTData")
        if found:
            return found
    item = frame_item(header, frame, "PixelValueTransformationSequence")
    slope, intercept = numbers(item, "RescaleSlope"), numbers(item, "RescaleIntercept")
    return Rescale(slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)


def voi_lut(header: Header, frame: int) -> Lut | Window | None:
    """Return the first VOI LUT, or the first window, of a frame (PS3.3 §C.11.2)."""
    for item in items(header, "VOILUTSequence")[:1]:
        found = lut(item, "LUTDescriptor", "LUTData")
        if found:
            return found
    item = frame_item(header, frame, "FrameVOILUTSequence")
    centers, widths = numbers(item, "WindowCenter"), numbers(item, "WindowWidth")
    if not centers or not widths:
        return None
    function = _FUNCTIONS.get(str(item.get("VOILUTFunction") or "LINEAR"), "linear")
    window = Window(centers[0], widths[0], function)
    return window if window.is_valid else None


def palette(header: Header) -> tuple[int, NDArray[np.uint8]]:
    """Return the value of the first colour, and the colours, n × 3.

    Raises
    ------
    Unprocessable
        If the image has no palette, or a damaged one.
    """
    columns, first = [], 0
    for colour in ("Red", "Green", "Blue"):
        descriptor = f"{colour}PaletteColorLookupTableDescriptor"
        plain = lut(header, descriptor, f"{colour}PaletteColorLookupTableData")
        if plain is None:
            plain = _segmented(header, descriptor, f"Segmented{colour}PaletteColorLookupTableData")
        entries: NDArray[Any] = plain.entries
        first = plain.first
        # Some writers say 16 bits and mean 8.
        if plain.bits > 8 and entries.max() > 0xFF:
            entries = entries >> (plain.bits - 8)
        columns.append(entries.astype(np.uint8))
    shortest = min(len(one) for one in columns)
    return first, np.stack([one[:shortest] for one in columns], axis=1)


def _segmented(header: Header, descriptor: str, data: str) -> Lut:
    """Expand a table of segments (PS3.3 §C.7.9.2)."""
    described, raw = numbers(header, descriptor), header.get(data)
    if len(described) != 3 or not isinstance(raw, bytes):
        raise Unprocessable("palette", "the image has no whole palette")
    bits, first = int(described[2]), int(described[1])
    words = np.frombuffer(raw, "<u1" if bits == 8 else "<u2", len(raw) // (1 if bits == 8 else 2))
    count = int(described[0]) & 0xFFFF or _MAX_ENTRIES
    entries = _expand(words.astype(np.int64).tolist(), 8 if bits == 8 else 16, count)
    if not entries:
        raise Unprocessable("palette", "the image has no whole palette")
    return Lut(first, bits, np.array(entries[:count], np.uint16))


def _expand(words: list[int], bits: int, count: int) -> list[int]:
    """Expand segments until there are `count` entries: hostile ones repeat each other."""
    made: list[int] = []
    pending = [(0, len(words), -1)]  # position, end, how many segments are left; -1 if any
    steps = 0
    while pending and len(made) < count and steps < _MAX_SEGMENTS:
        steps += 1
        at, end, left = pending.pop()
        if at + 2 > end or left == 0:
            continue
        kind, length = words[at : at + 2]
        following = at + {0: 2 + length, 1: 3}.get(kind, 2 + (4 if bits == 8 else 2))
        if kind > 2 or following > end:
            break
        pending.append((following, end, left - 1))
        if kind == 0:
            made += words[at + 2 : following]
        elif kind == 1 and made:
            made += (
                np.linspace(made[-1], words[at + 2], length + 1)[1:].round().astype(int).tolist()
            )
        elif kind == 2:
            offset = sum(word << bits * i for i, word in enumerate(words[at + 2 : following]))
            pending.append((offset // (bits // 8), len(words), length))
    return made
