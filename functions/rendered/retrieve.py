"""Retrieve rendered resources and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4).

An instance by itself is one picture, of its representative frame, or with
multipart/related one of each frame. A study or series is multipart only, a
picture of each image; what is no image, or cannot be rendered, is left out. A
thumbnail is always one picture.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from werkzeug.wrappers import Response

from functions.rendered.capabilities import PARTS
from functions.rendered.other import send_other
from pacsless.archive import Archive
from pacsless.cache import Cache
from pacsless.conditional import PRIVATE, conditional, tag_of
from pacsless.dicomweb import instance_url
from pacsless.errors import BadRequest, NotAcceptable, NotFound, PacslessError
from pacsless.instances import Stored, find_instance, find_instances, parse_frame_list
from pacsless.multipart import Multipart, Part
from pacsless.negotiation import Representation
from pacsless.rendering.opened import open_image
from pacsless.rendering.parameters import Parameters, parse_parameters
from pacsless.rendering.picture import PICTURES
from pacsless.rendering.render import render
from pacsless.web import Request, multipart_response

MAX_PARTS: Final = 1000
"""Pictures in one answer: a client that wants more asks by series, or by frames."""

_VERSION: Final = 1
"""To be raised when the same request gives another picture, as it is part of every ETag."""
_REVALIDATED: Final = {"X-Accel-Expires": "@1"}
"""By which nginx keeps a picture, and asks before each use whether its ETag still holds."""
_TRIED: Final = 16
"""Instances looked at for one that has a thumbnail."""


_Target = tuple[Stored, Sequence[int]]
"""An instance, and which of its frames; none means the representative one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted, as what, and where it comes from."""

    request: Request
    archive: Archive
    cache: Cache
    parameters: Parameters
    chosen: Representation

    @classmethod
    def of(
        cls, request: Request, archive: Archive, cache: Cache, offers: Sequence[Representation]
    ) -> Asked:
        """Read a request.

        Raises
        ------
        BadRequest, NotAcceptable
            If a parameter is malformed, or nothing offered is accepted.
        """
        parameters = parse_parameters(dict(request.http.args.lists()))
        return cls(request, archive, cache, parameters, request.accepted(offers))

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every answer."""
        headers = {"Vary": "Accept", **PRIVATE}
        if self.parameters.unsupported:
            # What is not burned in, or not done, is said (PS3.18 §8.3.5.1).
            told = ", ".join(self.parameters.unsupported)
            headers["Warning"] = self.request.warning(f"these parameters are not supported: {told}")
        return headers


def retrieve_rendered_study(
    request: Request, study: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a picture of each image of a study."""
    asked = Asked.of(request, archive, cache, PARTS)
    return _send_all(asked, find_instances(archive, request.tenant, study))


def retrieve_rendered_series(
    request: Request, study: str, series: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a picture of each image of a series."""
    asked = Asked.of(request, archive, cache, PARTS)
    return _send_all(asked, find_instances(archive, request.tenant, study, series))


def retrieve_rendered_instance(
    request: Request, study: str, series: str, sop: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a picture of an instance, or as parts one of each of its frames.

    What is no picture is sent as text, or as the stream it holds.
    """
    stored = find_instance(archive, request.tenant, study, series, sop)
    try:
        asked = Asked.of(request, archive, cache, PICTURES + PARTS)
        if not asked.chosen.multipart:
            return _send_one(asked, [stored])
        with open_image(archive, cache, stored) as opened:
            count = opened.table.number_of_frames
        return _send_frames(asked, stored, range(1, count + 1))
    except (NotFound, NotAcceptable) as refused:
        return send_other(request, archive, cache, stored, refused)


def retrieve_rendered_frames(
    request: Request,
    study: str,
    series: str,
    sop: str,
    frames: str,
    *,
    archive: Archive,
    cache: Cache,
) -> Response:
    """Send a picture of each frame asked for."""
    numbers = parse_frame_list(frames)
    offers = PICTURES + PARTS if len(numbers) == 1 else PARTS
    asked = Asked.of(request, archive, cache, offers)
    stored = find_instance(archive, request.tenant, study, series, sop)
    if not asked.chosen.multipart:
        return _send_one(asked, [stored], numbers[0])
    with open_image(archive, cache, stored) as opened:
        for number in numbers:
            opened.table.require(number)  # a missing frame is refused before the first byte
    return _send_frames(asked, stored, numbers)


def retrieve_thumbnail_study(
    request: Request, study: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a small picture that stands for a study."""
    asked = Asked.of(request, archive, cache, PICTURES)
    return _send_one(asked, find_instances(archive, request.tenant, study), thumbnail=True)


def retrieve_thumbnail_series(
    request: Request, study: str, series: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a small picture that stands for a series."""
    asked = Asked.of(request, archive, cache, PICTURES)
    return _send_one(asked, find_instances(archive, request.tenant, study, series), thumbnail=True)


def retrieve_thumbnail_instance(
    request: Request, study: str, series: str, sop: str, *, archive: Archive, cache: Cache
) -> Response:
    """Send a small picture of an instance."""
    asked = Asked.of(request, archive, cache, PICTURES)
    stored = find_instance(archive, request.tenant, study, series, sop)
    return _send_one(asked, [stored], thumbnail=True)


def retrieve_thumbnail_frames(
    request: Request,
    study: str,
    series: str,
    sop: str,
    frames: str,
    *,
    archive: Archive,
    cache: Cache,
) -> Response:
    """Send a small picture of a frame, of several the first (PS3.18 §10.4.3.3.4: one only)."""
    number = parse_frame_list(frames)[0]
    asked = Asked.of(request, archive, cache, PICTURES)
    stored = find_instance(archive, request.tenant, study, series, sop)
    return _send_one(asked, [stored], number, thumbnail=True)


def _send_one(
    asked: Asked, found: Sequence[Stored], frame: int | None = None, *, thumbnail: bool = False
) -> Response:
    """Send one picture; of several instances, of the first that has one."""
    media_type = asked.chosen.media_type
    # Of what is asked and of the versions of files: known before anything is decoded.
    versions = [one.version for one in found]
    tag = tag_of(_VERSION, thumbnail, frame, asked.parameters, media_type, versions)
    headers, current = conditional(asked.request, asked.headers | _REVALIDATED, tag)
    if current:
        return current
    targets = [(one, () if frame is None else (frame,)) for one in candidates(found)]
    _, _, data = next(_pictures(asked, targets, lenient=True, thumbnail=thumbnail))
    return Response(data, 200, headers, content_type=media_type)


def candidates(found: Sequence[Stored]) -> list[Stored]:
    """Return some instances to stand for all: of the largest series first, its middle first.

    Neither needs a file to be read, and the same instances give the same answer.
    """
    series: dict[str, list[Stored]] = {}
    for one in found:
        series.setdefault(one.identity.series_instance_uid, []).append(one)
    chosen: dict[Stored, None] = {}
    largest = sorted(series.values(), key=len, reverse=True)
    for share in (1 / 2, 1 / 4, 3 / 4, 0):
        chosen |= dict.fromkeys(one[int(len(one) * share)] for one in largest)
    return list(chosen)[:_TRIED]


def _send_all(asked: Asked, found: Sequence[Stored]) -> Response:
    return _send_parts(asked, [(one, ()) for one in found], lenient=True)


def _send_frames(asked: Asked, stored: Stored, frames: Sequence[int]) -> Response:
    return _send_parts(asked, [(stored, frames)], lenient=False)


def _send_parts(asked: Asked, targets: Sequence[_Target], *, lenient: bool) -> Response:
    if sum(len(frames) or 1 for _, frames in targets) > MAX_PARTS:
        raise BadRequest(
            "too-many", f"no more than {MAX_PARTS} pictures are sent at once: ask for fewer"
        )
    pictures = _pictures(asked, targets, lenient=lenient)
    parts = (_part(asked, *one) for one in pictures)
    first = next(parts)  # what is refused altogether is so before the first byte
    body = Multipart(chain([first], parts), asked.chosen.media_type)
    response = multipart_response(body, asked.headers)
    response.call_on_close(pictures.close)
    return response


def _part(asked: Asked, stored: Stored, frame: int, data: bytes) -> Part:
    url = f"{instance_url(asked.request.root, stored.identity)}/frames/{frame}/rendered"
    return Part(asked.chosen.content_type, len(data), [data].__iter__, url)


def _pictures(
    asked: Asked, targets: Iterable[_Target], *, lenient: bool, thumbnail: bool = False
) -> Generator[tuple[Stored, int, bytes], None, None]:
    """Render one picture after the other, of an instance that is opened once each frame.

    Parameters
    ----------
    asked
        How.
    targets
        Of what.
    lenient
        Whether to leave out what cannot be rendered, unless nothing can.
    thumbnail
        Whether they are to be small, and name nobody.

    Yields
    ------
    tuple
        The instance, the number of the frame, and the picture.
    """
    refused: PacslessError | None = None
    made = False
    for stored, frames in targets:
        try:
            with open_image(asked.archive, asked.cache, stored) as opened:
                for number in frames or (opened.representative,):
                    media_type = asked.chosen.media_type
                    data = render(opened, number, asked.parameters, media_type, thumbnail=thumbnail)
                    made = True
                    yield stored, number, data
        except PacslessError as error:
            if not lenient or error.status >= 500:
                raise
            refused = refused or error
    if refused and not made:
        raise refused
