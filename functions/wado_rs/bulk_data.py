"""Retrieve bulk data: the value behind a BulkDataURI (PS3.18 §10.4.1.1.5).

Any binary attribute has one, at any depth of sequences. Documents and videos
also come under their own media type, as browsers want them.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from werkzeug.wrappers import Response

from functions.wado_rs.frames import frame_offers, frame_parts
from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import conditional, tag_of
from pacsless.dicom.dicom_json import find_bulk_data
from pacsless.dicom.frames import FrameTable
from pacsless.dicom.header import BulkValue, Header, read_header
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup
from pacsless.dicomweb import bulk_data_uri, instance_url
from pacsless.errors import BadRequest
from pacsless.extent import VARY, Extent, extent_response, value_extent
from pacsless.instances import Stored, find_instance, frame_table, open_servable, stored_syntax
from pacsless.multipart import Multipart, Part
from pacsless.negotiation import OCTET_STREAM, Representation
from pacsless.representations import document_type
from pacsless.web import Request, multipart_response

_PATH: Final = re.compile(r"[0-9A-Fa-f]{8}(?:/[0-9]{1,9}/[0-9A-Fa-f]{8}){0,64}", re.ASCII)
_PIXEL_DATA: Final = "7FE00010"
_ENCAPSULATED_DOCUMENT: Final = "00420011"


def retrieve_bulk_data(
    request: Request,
    study: str,
    series: str,
    sop: str,
    path: str,
    *,
    archive: Archive,
    cache: Cache,
) -> Response:
    """Send the value of an attribute: ``7FE00010``, ``54000100/0/54001010``."""
    if not _PATH.fullmatch(path):
        raise BadRequest(
            "bulk-data-path", "bulk data is addressed by tag, or tag/item/tag: 54000100/0/54001010"
        )
    stored = find_instance(archive, request.tenant, study, series, sop)
    syntax = stored_syntax(archive, cache, stored)
    file = open_servable(archive, stored, syntax)
    try:
        header = read_header(file)
        extent = _extent(file, header, path.upper())
        if extent is not None:
            return _send_value(request, extent, header, stored, path.upper())
        table = frame_table(archive, file, stored, syntax, cache)
        send = _send_video if lookup(syntax).is_video else _send_frames
        return send(request, file, table, stored)
    except BaseException:
        file.close()
        raise


def _extent(file: BinaryIO, header: Header, path: str) -> Extent | None:
    """Where a value is, or None for the fragments of compressed Pixel Data.

    Raises
    ------
    NotFound
        If there is no such value.
    BadRequest
        If it is a sequence of fragments other than Pixel Data.
    Unprocessable
        If the file is shorter than it says.
    """
    value = find_bulk_data(header, path)
    if isinstance(value, BulkValue) and value.length is None:
        if path != _PIXEL_DATA:
            raise BadRequest("fragments", "the value is a sequence of fragments and has no bytes")
        return None
    return value_extent(file, value)


def _send_value(
    request: Request, extent: Extent, header: Header, stored: Stored, path: str
) -> Response:
    chosen = request.accepted(_value_offers(header, path))
    return _send_extent(request, extent, chosen, stored, path)


def _value_offers(header: Header, path: str) -> list[Representation]:
    media_types = [OCTET_STREAM]
    if path == _ENCAPSULATED_DOCUMENT:
        said = document_type(header)
        media_types += [said] if said else []
    return [
        Representation(
            media_type,
            EXPLICIT_VR_LITTLE_ENDIAN if media_type == OCTET_STREAM else "",
            multipart=multipart,
        )
        for multipart in (True, False)
        for media_type in media_types
    ]


def _send_extent(
    request: Request, extent: Extent, chosen: Representation, stored: Stored, path: str
) -> Response:
    if not chosen.multipart:
        tag = tag_of(stored.version, path, chosen.content_type)
        headers, current = conditional(request, VARY, tag)
        if current:
            extent.file.close()
            return current
        return extent_response(request, extent, chosen.content_type, headers)
    url = bulk_data_uri(request.root, stored.identity, path)
    part = Part(chosen.content_type, extent.length, extent.read, url)
    response = multipart_response(Multipart([part], chosen.media_type), VARY)
    response.call_on_close(extent.file.close)
    return response


def _send_video(request: Request, file: BinaryIO, table: FrameTable, stored: Stored) -> Response:
    """Send the stream of a video, joined: what a browser's player reads by ranges."""
    chosen = request.accepted(frame_offers(table, single=True))
    return _send_extent(request, Extent(file, table.ranges(1)), chosen, stored, _PIXEL_DATA)


def _send_frames(request: Request, file: BinaryIO, table: FrameTable, stored: Stored) -> Response:
    """Send compressed Pixel Data: one part a frame (PS3.18 §8.7.3.3.2)."""
    numbers = range(1, table.number_of_frames + 1)
    chosen = request.accepted(frame_offers(table, single=len(numbers) == 1))
    if not chosen.multipart:
        return _send_extent(request, Extent(file, table.ranges(1)), chosen, stored, _PIXEL_DATA)
    parts = frame_parts(file, table, numbers, chosen, instance_url(request.root, stored.identity))
    response = multipart_response(Multipart(parts, chosen.media_type), VARY)
    response.call_on_close(file.close)
    return response
