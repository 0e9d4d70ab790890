"""multipart/related bodies (RFC 2387, PS3.18 §8.6.1.2), part by part.

Nothing here holds more of a body than its caller's chunks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_CRLF: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class Part:
    """One part: what it is, how long, and how to read it when its turn comes."""

    content_type: str
    length: int | None
    """None if only reading it tells."""
    body: Callable[[], Iterable[bytes]]
    location: str = ""
    """Content-Location: the address of the part by itself."""


@dataclass(frozen=True, slots=True)
class Multipart:
    """A body of parts.

    Parameters
    ----------
    parts
        In the order they are sent; an iterator is taken from as they are.
    part_type
        Media type of the parts, without parameters.
    boundary
        A new one by default: 128 random bits, because clients search for it
        in binary data.
    """

    parts: Iterable[Part]
    part_type: str
    boundary: str = ""

    def __post_init__(self) -> None:
        if not self.boundary:
            object.__setattr__(self, "boundary", secrets.token_hex(16))

    @property
    def content_type(self) -> str:
        """Content-Type of the body."""
        return f'multipart/related; type="{self.part_type}"; boundary={self.boundary}'

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, if they are known; stating them shows a client where it is cut off."""
        if not isinstance(self.parts, Sequence):
            return None
        total = len(self._tail) - len(_CRLF)
        for part in self.parts:
            if part.length is None:
                return None
            total += len(self._head(part)) + part.length
        return total

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body."""
        # What is before the first boundary is a preamble (RFC 2046 §5.1.1), even if it is an
        # empty line, and dicomtrolley takes none.
        chunks = self._chunks()
        yield next(chunks).removeprefix(_CRLF)
        yield from chunks

    def _chunks(self) -> Iterator[bytes]:
        for part in self.parts:
            yield self._head(part)
            yield from part.body()
        yield self._tail

    def _head(self, part: Part) -> bytes:
        # Spelt as it is on purpose: Cornerstone finds Content-Type by its exact case.
        head = f"\r\n--{self.boundary}\r\nContent-Type: {part.content_type}\r\n"
        if part.length is not None:
            head += f"Content-Length: {part.length}\r\n"
        if part.location:
            head += f"Content-Location: {part.location}\r\n"
        return f"{head}\r\n".encode("latin-1")

    @property
    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()
