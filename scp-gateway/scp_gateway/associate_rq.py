"""A-ASSOCIATE-RQ PDUs of strangers: looked through before anything is made of them.

pynetdicom makes objects of every item and fails at those it does not know.
Here items are counted, unknown ones skipped, as PS3.8 §9.3.1 has it, and only
what is left is handed to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack, unpack_from
from typing import Final

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE

from scp_gateway.pdu import AbortReason, BrokenProtocol, PduType

_FIXED_BYTES: Final = 74
"""Of the PDU, before its items (PS3.8 Table 9-11)."""
_TITLES: Final = slice(10, 42)
"""Called and calling AE title, 16 bytes each."""
_ITEM_HEADER: Final = 4
_CONTEXT_HEADER: Final = 4
# PS3.8 Tables 9-12 to 9-18, PS3.7 §D.3.3.
_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _USER_INFORMATION = 0x10, 0x20, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_USER_ITEMS: Final = range(0x51, 0x59)
_VERSION_NAME, _COMMON_EXTENDED = 0x55, 0x57
# PS3.8 §9.3.2.2: identifiers are odd, so there are 128 of them.
_MAX_CONTEXTS: Final = 128
# Nobody proposes all the transfer syntaxes there are in each of 128 contexts.
_MAX_SUB_ITEMS: Final = 8192
_MAX_UNKNOWN: Final = 1024
_MAX_RELATED: Final = 1024


def decode(pdu: bytes) -> tuple[int, A_ASSOCIATE]:
    """Decode an A-ASSOCIATE-RQ PDU.

    Returns
    -------
    tuple
        Protocol versions, one bit each, and the request.

    Raises
    ------
    BrokenProtocol
        If it is none, or nobody could mean it.
    """
    if len(pdu) < _FIXED_BYTES:
        raise _broken()
    # Some pad titles with NUL. Other control characters pynetdicom would strip
    # as if they were spaces.
    pdu = pdu[: _TITLES.start] + pdu[_TITLES].replace(b"\0", b" ") + pdu[_TITLES.stop :]
    if min(pdu[_TITLES]) < 0x20:
        raise _broken()
    decoded = A_ASSOCIATE_RQ()
    try:
        decoded.decode(_Sieve().known(pdu))
        request = decoded.to_primitive()
    except BrokenProtocol:
        raise
    except Exception:  # noqa: BLE001  # whatever hostile bytes make the library raise
        raise _broken() from None
    contexts = request.presentation_context_definition_list
    if len({one.context_id for one in contexts}) != len(contexts):
        raise _broken()
    return int(decoded.protocol_version), request


class _Sieve:
    """Counts the items of one PDU, and leaves out what is not known."""

    def __init__(self) -> None:
        self._contexts = self._sub_items = self._unknown = self._related = 0

    def known(self, pdu: bytes) -> bytes:
        """Return the PDU with the items that are known."""
        kept = [pdu[6:_FIXED_BYTES]]
        singles: set[int] = set()
        for kind, value in _items(pdu, _FIXED_BYTES, len(pdu)):
            if kind == _PRESENTATION_CONTEXT:
                kept.append(_item(kind, self._context(value)))
                continue
            if kind in singles:
                raise _broken()
            if kind == _USER_INFORMATION:
                kept.append(_item(kind, self._user_information(value)))
            elif kind == _APPLICATION_CONTEXT:
                kept.append(_item(kind, value))
            else:
                self._skip()
                continue
            singles.add(kind)
        if len(singles) != 2:
            raise _broken()
        body = b"".join(kept)
        return pack(">BxL", PduType.ASSOCIATE_RQ, len(body)) + body

    def _context(self, value: bytes) -> bytes:
        self._contexts += 1
        _bound(self._contexts, _MAX_CONTEXTS)
        kept = [value[:_CONTEXT_HEADER]]
        kinds: list[int] = []
        for kind, name in _items(value, _CONTEXT_HEADER, len(value)):
            if kind not in (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX):
                self._skip()
                continue
            self._sub_items += 1
            _bound(self._sub_items, _MAX_SUB_ITEMS)
            kinds.append(kind)
            kept.append(_item(kind, name))
        if kinds.count(_ABSTRACT_SYNTAX) != 1 or _TRANSFER_SYNTAX not in kinds:
            raise _broken()
        return b"".join(kept)

    def _user_information(self, value: bytes) -> bytes:
        kept = []
        for kind, data in _items(value, 0, len(value)):
            if kind not in _USER_ITEMS:
                self._skip()
                continue
            self._sub_items += 1
            _bound(self._sub_items, _MAX_SUB_ITEMS)
            if kind == _COMMON_EXTENDED:
                self._related += _related_classes(data)
                _bound(self._related, _MAX_RELATED)
            # PS3.7 §D.3.3.2.4: 16 characters; a longer name is no reason to refuse a sender.
            kept.append(_item(kind, data[:16] if kind == _VERSION_NAME else data))
        return b"".join(kept)

    def _skip(self) -> None:
        self._unknown += 1
        _bound(self._unknown, _MAX_UNKNOWN)


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while start < end:
        if end - start < _ITEM_HEADER:
            raise _broken()
        kind, length = unpack_from(">BxH", data, start)
        start += _ITEM_HEADER
        if length > end - start:
            raise _broken()
        yield kind, data[start : start + length]
        start += length


def _item(kind: int, value: bytes) -> bytes:
    return pack(">BxH", kind, len(value)) + value


def _related_classes(data: bytes) -> int:
    """Count the related general SOP classes of an item (PS3.7 Table D.3-12)."""
    position, count = 0, 0
    for _ in range(2):  # SOP class and service class
        position += 2 + _length(data, position)
    position += 2
    while position < len(data):
        position += 2 + _length(data, position)
        count += 1
    return count


def _length(data: bytes, position: int) -> int:
    if position + 2 > len(data):
        raise _broken()
    return int(unpack_from(">H", data, position)[0])


def _bound(count: int, most: int) -> None:
    if count > most:
        raise BrokenProtocol(AbortReason.INVALID_PARAMETER, "an A-ASSOCIATE-RQ out of bounds")


def _broken() -> BrokenProtocol:
    return BrokenProtocol(AbortReason.INVALID_PARAMETER, "an A-ASSOCIATE-RQ that is none")
