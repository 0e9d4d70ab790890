"""Retrieve an instance by WADO-URI: as DICOM, or rendered (PS3.18 §9.4, §9.5).

The three UIDs of a request are the key its file is stored under, so nothing is
searched for. The representations of an instance are those of its category
(PS3.18 Table 8.7.4-1), and the first that is accepted is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from werkzeug.wrappers import Response

from functions.wado_uri.anonymize import anonymize, anonymized_syntax
from functions.wado_uri.capabilities import DICOM_ALONE
from functions.wado_uri.deidentify import require_anonymous_pixels
from functions.wado_uri.parameters import Asked, parse
from functions.wado_uri.pseudonyms import PseudonymKey
from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import PRIVATE, conditional, tag_of
from pacsless.dicom.explicit_le import is_convertible
from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, lookup, name
from pacsless.errors import BadRequest, NotAcceptable, PacslessError, Unprocessable
from pacsless.extent import accel, extent_response, whole
from pacsless.instances import (
    Stored,
    find_instance,
    open_explicit,
    stored_syntax,
)
from pacsless.negotiation import Representation, choose
from pacsless.rendering.opened import Opened, open_image
from pacsless.rendering.other import open_other, require_utf8
from pacsless.rendering.picture import PICTURES
from pacsless.rendering.render import render
from pacsless.rendering.report import REPORTS
from pacsless.rendering.uncompressed import send_uncompressed
from pacsless.representations import VIDEOS
from pacsless.web import Request

_VERSION: Final = 1
"""To be raised when the same request gives another answer, as it is part of every ETag."""


@dataclass(frozen=True, slots=True)
class _Retrieval:
    """A request, and the instance it is about."""

    request: Request
    asked: Asked
    stored: Stored
    archive: Archive
    cache: Cache
    key: PseudonymKey

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Vary": "Accept", **PRIVATE}
        if self.asked.unsupported:
            told = ", ".join(self.asked.unsupported)
            headers["Warning"] = self.request.warning(f"not all values are supported of: {told}")
        return headers

    @property
    def syntax(self) -> str:
        return stored_syntax(self.archive, self.cache, self.stored)

    def choose(self, offers: Sequence[Representation]) -> Representation:
        """Choose by contentType, else by the Accept header (PS3.18 §8.7.5)."""
        accept = self.request.http.headers.get("Accept")
        return choose(accept, offers, self.asked.content_type)

    def conditional(self, *about: object) -> tuple[dict[str, str], Response | None]:
        """Return the headers of an answer made of the file and of these, and 304 if that is it."""
        tag = tag_of(_VERSION, self.asked, self.stored.version, *about)
        return conditional(self.request, self.headers, tag)


def retrieve_wado_uri(
    request: Request, *, archive: Archive, cache: Cache, key: PseudonymKey
) -> Response:
    """Send one instance, as what the query asks for."""
    asked = parse(dict(request.http.args.lists()))
    stored = find_instance(archive, request.tenant, asked.study, asked.series, asked.instance)
    retrieval = _Retrieval(request, asked, stored, archive, cache, key)
    try:
        return _send_dicom(retrieval) if asked.is_dicom else _send_chosen(retrieval)
    except Unprocessable as error:
        raise NotAcceptable.so(error) from None


def _send_chosen(retrieval: _Retrieval) -> Response:
    """Look at the instance, and send what is accepted of what it can be sent as."""
    with ExitStack() as held:
        try:
            opened = held.enter_context(
                open_image(retrieval.archive, retrieval.cache, retrieval.stored)
            )
        except PacslessError as error:
            if error.status >= 500:
                raise
            refused = error
        else:
            return _send_image(retrieval, opened)
    return _send_other(retrieval, refused)


def _send_image(retrieval: _Retrieval, opened: Opened) -> Response:
    asked, frames = retrieval.asked, opened.table.number_of_frames
    # A frame that is selected is an image of its own (PS3.18 §8.7.2).
    single = frames == 1 or asked.frame is not None
    chosen = retrieval.choose((*PICTURES, DICOM_ALONE) if single else (DICOM_ALONE, *PICTURES))
    if chosen == DICOM_ALONE:
        return _send_dicom(retrieval)
    if asked.frame is not None and asked.frame > frames:
        raise BadRequest(
            "frame-number", f"the parameter frameNumber is more than the {frames} there are"
        )
    if asked.anonymize:
        require_anonymous_pixels(opened.header)
    headers, current = retrieval.conditional(chosen.media_type)
    if current:
        return current
    parameters = asked.rendering(opened.image.rows, opened.image.columns)
    frame = asked.frame or opened.representative
    data = render(opened, frame, parameters, chosen.media_type, thumbnail=False)
    return Response(data, 200, headers, content_type=chosen.media_type)


def _send_other(retrieval: _Retrieval, refused: PacslessError) -> Response:
    """Send what is no image that can be rendered."""
    with ExitStack() as held:
        other = None
        forms: tuple[Representation, ...] = ()
        with suppress(Unprocessable):  # of a file that cannot be read, there are the bytes
            other = open_other(retrieval.archive, retrieval.cache, retrieval.stored)
            held.callback(other.file.close)
            forms = other.forms
        try:
            video = any(one.media_type in VIDEOS for one in forms)
            chosen = retrieval.choose((DICOM_ALONE, *forms) if video else (*forms, DICOM_ALONE))
        except NotAcceptable:
            if forms or refused.status == 404:
                raise
            raise refused from None  # it says why
        if other is None or chosen == DICOM_ALONE:
            return _send_dicom(retrieval)
        asked = retrieval.asked
        if asked.frame is not None:
            raise BadRequest("frame-number", "the instance has no frames to choose from")
        if asked.anonymize:
            raise NotAcceptable("anonymize", "only images are anonymized")
        if chosen in REPORTS:
            accepted = retrieval.request.http.headers.get("Accept-Charset", "")
            require_utf8(asked.charset or accepted)
        headers, current = retrieval.conditional(chosen.media_type)
        if current:
            return current
        response = other.rendered(retrieval.request, chosen, headers, retrieval.cache)
        held.pop_all()  # the response closes it
        return response


def _send_dicom(retrieval: _Retrieval) -> Response:
    """Send the file, as it is stored or in the transfer syntax that is asked for."""
    asked, stored, archive = retrieval.asked, retrieval.stored, retrieval.archive
    if asked.window:
        # PS3.18 §9.5.1.2.6
        raise BadRequest("window", "a window is for pictures: application/dicom has none")
    if asked.anonymize:
        return _send_anonymized(retrieval)
    wanted, syntax = asked.transfer_syntax, retrieval.syntax
    if not wanted or wanted == syntax:
        return _send_file(retrieval, stored.identity.key)
    rendition = stored.identity.rendition_key(wanted)
    if archive.stat(rendition):
        return _send_file(retrieval, rendition)
    compressed = lookup(syntax).is_decodable
    if not compressed and not is_convertible(syntax):
        raise _no_syntax(syntax)
    if wanted != EXPLICIT_VR_LITTLE_ENDIAN:
        raise _no_syntax(syntax, EXPLICIT_VR_LITTLE_ENDIAN)
    media_type = DICOM_ALONE.media_type
    headers, current = retrieval.conditional(media_type)
    if current:
        return current
    if compressed:
        return send_uncompressed(archive, retrieval.cache, stored, media_type, headers)
    extent = whole(open_explicit(archive, stored))
    return extent_response(retrieval.request, extent, media_type, headers)


def _send_file(retrieval: _Retrieval, key: str) -> Response:
    media_type = DICOM_ALONE.media_type
    return accel(retrieval.request, retrieval.archive, key, media_type, retrieval.headers)


def _send_anonymized(retrieval: _Retrieval) -> Response:
    """Send a file that is made while it is sent, always whole (RFC 9110 §14.2)."""
    pseudonyms = retrieval.key.of(retrieval.request.tenant)
    syntax = anonymized_syntax(retrieval.syntax)
    if retrieval.asked.transfer_syntax not in ("", syntax):
        raise _no_syntax(syntax)
    headers, current = retrieval.conditional(pseudonyms.version)
    if current:
        return current
    made = anonymize(retrieval.archive, retrieval.stored, retrieval.syntax, pseudonyms)
    response = Response(made.read(), 200, headers, content_type=DICOM_ALONE.media_type)
    response.content_length = made.length
    response.call_on_close(made.pixels.file.close)
    return response


def _no_syntax(*known: str) -> NotAcceptable:
    told: Iterable[str] = (f"{name(one)} ({one})" for one in dict.fromkeys(known) if one)
    return NotAcceptable("transfer-syntax", f"the instance can be sent in {' or '.join(told)}")
