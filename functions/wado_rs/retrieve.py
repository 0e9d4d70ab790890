"""Retrieve instances: a study, a series or one, as PS3.10 files (PS3.18 §10.4.1.1).

The files are sent as they were received. PS3.18 §8.7.3.1 makes Explicit VR
Little Endian the default of application/dicom; here it is the stored transfer
syntax, so that what a client gets is what a modality sent, byte for byte. A
client that asks for Explicit VR Little Endian by name gets it: what is compressed
is decoded while it is sent, if there is a decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from werkzeug.wrappers import Response

from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import conditional, tag_of
from pacsless.dicom.explicit_le import is_convertible
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup
from pacsless.dicomweb import instance_url
from pacsless.extent import VARY, Extent, accel, extent_response, whole
from pacsless.instances import (
    Stored,
    find_instance,
    find_instances,
    open_explicit,
    stored_syntax,
)
from pacsless.multipart import Multipart, Part
from pacsless.negotiation import ANY, DICOM, Representation
from pacsless.web import Request, multipart_response


def retrieve_study(request: Request, study: str, *, archive: Archive, cache: Cache) -> Response:
    """Send every instance of a study."""
    found = find_instances(archive, request.tenant, study)
    return _send(request, found, archive, cache)


def retrieve_series(
    request: Request, study: str, series: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send every instance of a series."""
    found = find_instances(archive, request.tenant, study, series)
    return _send(request, found, archive, cache)


def retrieve_instance(
    request: Request, study: str, series: str, sop: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send one instance, as a part or by itself."""
    found = find_instance(archive, request.tenant, study, series, sop)
    return _send(request, [found], archive, cache, single=True)


def _send(
    request: Request,
    found: Sequence[Stored],
    archive: Archive,
    cache: Cache,
    *,
    single: bool = False,
) -> Response:
    syntaxes = [stored_syntax(archive, cache, one) for one in found]
    offers = _offers(syntaxes, single=single)
    chosen = request.accepted(offers)
    # The stored form is offered first, so any other choice is the converted one.
    convert = chosen.transfer_syntax != offers[0].transfer_syntax
    if single and convert and lookup(syntaxes[0]).encapsulated:
        return _send_uncompressed(request, found[0], archive, cache, chosen)
    if not chosen.multipart:
        return _send_single(request, found[0], archive, chosen, convert=convert)
    parts = [
        _converted_part(request, archive, cache, one)
        if convert and syntax != EXPLICIT_VR_LITTLE_ENDIAN
        else _stored_part(request, archive, one, syntax)
        for one, syntax in zip(found, syntaxes, strict=True)
    ]
    return multipart_response(Multipart(parts, DICOM), VARY)


def _offers(syntaxes: Sequence[str], *, single: bool) -> list[Representation]:
    """What instances in these transfer syntaxes can be sent as, best first."""
    common = syntaxes[0] if len(set(syntaxes)) == 1 and syntaxes[0] else ANY
    offers = [Representation(DICOM, common, multipart=True)]
    convertible = all(
        syntax and (is_convertible(syntax) or lookup(syntax).is_decodable) for syntax in syntaxes
    )
    if convertible and common != EXPLICIT_VR_LITTLE_ENDIAN:
        offers.append(Representation(DICOM, EXPLICIT_VR_LITTLE_ENDIAN, multipart=True))
    if single:
        offers += [Representation(DICOM, one.transfer_syntax) for one in tuple(offers)]
    return offers


def _stored_part(request: Request, archive: Archive, one: Stored, syntax: str) -> Part:
    def body() -> Iterator[bytes]:
        with archive.open(one.identity.key) as file:
            yield from Extent(file, [(0, one.size)]).read()

    content_type = Representation(DICOM, syntax).content_type
    return Part(content_type, one.size, body, instance_url(request.root, one.identity))


def _converted_part(request: Request, archive: Archive, cache: Cache, one: Stored) -> Part:
    def body() -> Iterator[bytes]:
        if lookup(stored_syntax(archive, cache, one)).encapsulated:
            from pacsless.rendering.uncompressed import open_uncompressed

            with closing(open_uncompressed(archive, cache, one)) as made:
                yield from made.read()
        else:
            with open_explicit(archive, one) as file:
                yield from whole(file).read()

    content_type = Representation(DICOM, EXPLICIT_VR_LITTLE_ENDIAN).content_type
    return Part(content_type, None, body, instance_url(request.root, one.identity))


def _send_single(
    request: Request, one: Stored, archive: Archive, chosen: Representation, *, convert: bool
) -> Response:
    if not convert:
        syntax = "" if chosen.transfer_syntax == ANY else chosen.transfer_syntax
        content_type = Representation(DICOM, syntax).content_type
        return accel(request, archive, one.identity.key, content_type, VARY, size=one.size)
    headers, current = conditional(request, VARY, tag_of(one.version, chosen.content_type))
    if current:
        return current
    extent = whole(open_explicit(archive, one))
    return extent_response(request, extent, chosen.content_type, headers)


def _send_uncompressed(
    request: Request, one: Stored, archive: Archive, cache: Cache, chosen: Representation
) -> Response:
    # The decoders are for few requests, and too large for every cold start.
    from pacsless.rendering.uncompressed import open_uncompressed, send_uncompressed

    if not chosen.multipart:
        headers, current = conditional(request, VARY, tag_of(one.version, chosen.content_type))
        if current:
            return current
        return send_uncompressed(archive, cache, one, chosen.content_type, headers)
    made = open_uncompressed(archive, cache, one)
    url = instance_url(request.root, one.identity)
    part = Part(chosen.content_type, made.length, made.read, url)
    response = multipart_response(Multipart([part], DICOM), VARY)
    response.call_on_close(made.close)
    return response
