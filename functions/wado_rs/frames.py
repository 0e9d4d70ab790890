"""Retrieve frames: pixels of an instance, one frame a part (PS3.18 §10.4.1.1.6).

A frame is a range of its file, wherever it is: only that range is read. What
is compressed is sent as it is stored, and decoded only for who accepts nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from werkzeug.wrappers import Response

from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import conditional, tag_of
from pacsless.dicom.frames import FrameTable
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup
from pacsless.dicomweb import instance_url
from pacsless.extent import VARY, Extent, extent_response
from pacsless.instances import (
    Stored,
    find_instance,
    frame_table,
    open_servable,
    parse_frame_list,
    refuse_video,
    stored_syntax,
)
from pacsless.multipart import Multipart, Part
from pacsless.negotiation import OCTET_STREAM, Representation
from pacsless.web import Request, multipart_response

if TYPE_CHECKING:
    from collections.abc import Sequence


def retrieve_frames(
    request: Request,
    study: str,
    series: str,
    sop: str,
    frames: str,
    *,
    archive: Archive,
    cache: Cache,
) -> Response:
    """Send frames by number, ``1`` or ``1,5,3``, in that order."""
    wanted = parse_frame_list(frames)
    stored = find_instance(archive, request.tenant, study, series, sop)
    syntax = stored_syntax(archive, cache, stored)
    refuse_video(syntax)
    file = open_servable(archive, stored, syntax)
    try:
        table = frame_table(archive, file, stored, syntax, cache)
        for number in wanted:
            table.require(number)  # a frame that is missing is refused before the first byte
        chosen = request.accepted(frame_offers(table, single=len(wanted) == 1, decoded=True))
        if table.is_encapsulated and chosen.transfer_syntax == EXPLICIT_VR_LITTLE_ENDIAN:
            file.close()
            return _send_decoded(
                request, archive, cache, stored=stored, wanted=wanted, chosen=chosen
            )
        if not chosen.multipart:
            return _send_single(
                request, file, table=table, stored=stored, number=wanted[0], chosen=chosen
            )
        parts = frame_parts(
            file, table, wanted, chosen, instance_url(request.root, stored.identity)
        )
        response = multipart_response(Multipart(parts, chosen.media_type), VARY)
    except BaseException:
        file.close()
        raise
    response.call_on_close(file.close)
    return response


def frame_offers(table: FrameTable, *, single: bool, decoded: bool = False) -> list[Representation]:
    """What frames can be sent as, best first.

    Octet stream goes before the image media types: every viewer asks for it,
    and it too names the transfer syntax.

    Parameters
    ----------
    table
        Where they are.
    single
        Whether it is one, which need not be a part.
    decoded
        Whether compressed ones may be sent as native pixels, too.
    """
    syntax = table.web_transfer_syntax
    forms = [(one, syntax) for one in dict.fromkeys((OCTET_STREAM, table.media_type))]
    if decoded and lookup(table.transfer_syntax).is_decodable:
        forms.append((OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN))
    return [
        Representation(media_type, syntax, multipart=multipart)
        for multipart in ((True, False) if single else (True,))
        for media_type, syntax in forms
    ]


def frame_parts(
    file: BinaryIO, table: FrameTable, wanted: Sequence[int], chosen: Representation, url: str
) -> list[Part]:
    """Make the parts of a multipart body, one a frame."""
    return [_part(file, table, number, chosen, f"{url}/frames/{number}") for number in wanted]


def _part(file: BinaryIO, table: FrameTable, number: int, chosen: Representation, url: str) -> Part:
    extent = Extent(file, table.ranges(number))
    if table.byte_aligned:
        return Part(chosen.content_type, extent.length, extent.read, url)

    def body() -> Iterator[bytes]:
        yield _single_bits(extent, table, number)

    return Part(chosen.content_type, (_bits(table) + 7) // 8, body, url)


def _bits(table: FrameTable) -> int:
    return table.rows * table.columns * table.samples_per_pixel * table.bits_allocated


def _single_bits(extent: Extent, table: FrameTable, number: int) -> bytes:
    return realigned(b"".join(extent.read()), table.bit_offset(number), _bits(table))


def _conditional(
    request: Request, stored: Stored, number: int, chosen: Representation
) -> tuple[dict[str, str], Response | None]:
    return conditional(request, VARY, tag_of(stored.version, number, chosen.content_type))


def _send_single(
    request: Request,
    file: BinaryIO,
    *,
    table: FrameTable,
    stored: Stored,
    number: int,
    chosen: Representation,
) -> Response:
    headers, current = _conditional(request, stored, number, chosen)
    if current:
        file.close()
        return current
    extent = Extent(file, table.ranges(number))
    if table.byte_aligned:
        return extent_response(request, extent, chosen.content_type, headers)
    data = _single_bits(extent, table, number)
    file.close()
    return Response(data, 200, headers, content_type=chosen.content_type)


def _send_decoded(
    request: Request,
    archive: Archive,
    cache: Cache,
    *,
    stored: Stored,
    wanted: Sequence[int],
    chosen: Representation,
) -> Response:
    # The decoders are for few requests, and too large for every cold start.
    from pacsless.rendering.uncompressed import first_frame, native_frame, open_decodable, sent

    opened = open_decodable(archive, cache, stored)
    try:
        first = [first_frame(opened, wanted[0])[0]]  # what cannot be decoded is refused at once
        length = len(first[0])

        def body(number: int) -> Iterator[bytes]:
            known = first and number == wanted[0]
            yield from sent(first.pop() if known else native_frame(opened, number)[0])

        if not chosen.multipart:
            headers, current = _conditional(request, stored, wanted[0], chosen)
            if current:
                opened.file.close()
                return current
            response = Response(body(wanted[0]), 200, headers, content_type=chosen.content_type)
            response.content_length = length
        else:
            url = f"{instance_url(request.root, stored.identity)}/frames"
            parts = [
                Part(chosen.content_type, length, partial(body, number), f"{url}/{number}")
                for number in wanted
            ]
            response = multipart_response(Multipart(parts, chosen.media_type), VARY)
    except BaseException:
        opened.file.close()
        raise
    response.call_on_close(opened.file.close)
    return response


def realigned(data: bytes, bit_offset: int, bits: int) -> bytes:
    """Move a frame of single bits to the beginning of a byte.

    Pixel Data packs pixels without gaps between frames (PS3.5 §8.1.1), the
    first pixel in the least significant bit (PS3.5 §D.2); a frame by itself
    begins with a byte and fills its last one with zeros.
    """
    shifted = int.from_bytes(data, "little") >> bit_offset & ((1 << bits) - 1)
    return shifted.to_bytes((bits + 7) // 8, "little")
