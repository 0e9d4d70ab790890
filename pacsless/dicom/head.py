"""The first bytes of a data set, in memory, where ordinary elements are passed over in runs."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

from pacsless.dicom.elements import LONG_VRS, SHORT_VRS, Encoding
from pacsless.dicom.source import Source

__all__ = ["BeyondHead", "Head"]

CHARACTER_SET: Final = 0x00080005
SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
PATIENT_ID: Final = 0x00100020
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
IDENTIFIERS: Final = (CHARACTER_SET, SOP_CLASS, SOP_INSTANCE, PATIENT_ID, STUDY, SERIES)

# Elements passed over are not counted: not even a head of the shortest ones,
# 8 bytes each, may have as many as any limit allows.
_MAX_HEAD: Final = 256 * 1024


class BeyondHead(Exception):
    """What is asked depends on bytes after the head; it is not an error in them."""


class Head(Source):
    """A window that does not slide: what is not in it is not known.

    In particular it never says that the data set ends, so whatever comes of it
    holds for every data set that begins like this.
    """

    __slots__ = ()

    def __init__(self, head: bytes, origin: int = 0) -> None:
        self.ahead = 0
        self.origin = self.start = origin
        self.size = None
        self.window = head[:_MAX_HEAD]

    def fill(self, position: int, count: int) -> bool:
        """Return True, as the window has ``count`` bytes at ``position``.

        Raises
        ------
        BeyondHead
            If it has not.
        """
        if position - self.start + count > len(self.window):
            raise BeyondHead
        return True

    def pass_over(
        self, position: int, encoding: Encoding, found: dict[int, bytes] | None = None
    ) -> int:
        """Return where the first element from ``position`` on is that needs a look.

        Those passed over are what `next_element` would take them for, with
        their values in the head. The first value of each identifier among them
        is put into ``found``, unless there is one.
        """
        run = _RUNS.get(encoding)
        if run is None:
            return position
        begin = position - self.start
        # From past the end it matches nothing, and `fill` will tell.
        while match := run.match(self.window, begin):
            begin = match.end()
            tag, value = match.groups()
            if tag is None:
                break
            if found is not None:
                found.setdefault(_WRITTEN[tag], value[4 if encoding.implicit_vr else 2 :])
        return self.start + begin


def _value(width: int) -> bytes:
    """Write a pattern for a length of ``width`` bytes and a value as long as it says."""
    # No more lengths than most values have: each is a branch, tried in turn.
    return b"|".join(
        re.escape(length.to_bytes(width, "little")) + b".{%d}" % length
        for length in range(0, 66, 2)
    )


def _one_of(vrs: bytes) -> bytes:
    """Write a pattern for VRs; with a branch per first letter it is faster than with one each."""
    return b"|".join(
        b"%c[%b]" % (first, bytes(vr[1] for vr in same))
        for first, same in groupby(sorted(vrs.split()), key=lambda vr: vr[0])
    )


_WRITTEN: Final = {
    (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little"): tag
    for tag in IDENTIFIERS
}


def _run(element: bytes, identifier: bytes) -> re.Pattern[bytes]:
    """Compile a pattern for elements before (0020,0000), then perhaps an identifier."""
    tags = b"|".join(re.escape(tag) for tag in _WRITTEN)
    # Each repetition costs the matcher memory until it ends, hence the bound.
    return re.compile(
        rb"(?:(?!%b)[\x00-\x1f]\x00..(?:%b)){0,255}(?:(%b)%b)?" % (tags, element, tags, identifier),
        re.DOTALL,
    )


# An interpreter's step for each element would take more time than all else of a
# scan. A regular expression cannot read a length, but try all short ones.
_RUNS: Final = {
    Encoding(implicit_vr=True, little_endian=True): _run(_value(4), b"(%b)" % _value(4)),
    Encoding(implicit_vr=False, little_endian=True): _run(
        b"(?:%b)(?:%b)|(?:%b)..(?:%b)"
        % (_one_of(SHORT_VRS), _value(2), _one_of(LONG_VRS), _value(4)),
        b"(?:%b)(%b)" % (_one_of(SHORT_VRS), _value(2)),
    ),
}
