"""One instance: its file, its attributes, its frames and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from werkzeug.wrappers import Response

from functions.orthanc.tags import children, path_of
from pacsless.conditional import PRIVATE
from pacsless.dicom.dicom_json import find_bulk_data
from pacsless.dicom.header import Header, read_header
from pacsless.errors import BadRequest, NotAcceptable, NotFound, Unprocessable
from pacsless.extent import Extent, accel, extent_response, value_extent
from pacsless.instances import (
    Stored,
    find_instance,
    frame_table,
    open_servable,
    stored_syntax,
)
from pacsless.negotiation import DICOM, Representation
from pacsless.rendering.opened import open_image
from pacsless.rendering.parameters import (
    MAX_SIDE,
    QUALITY,
    Parameters,
    Viewport,
    Window,
    is_decimal,
    parse_quality,
)
from pacsless.rendering.picture import JPEG, PNG
from pacsless.rendering.render import render
from pacsless.web import Request

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.identity import InstanceIdentity

PICTURES: Final = (Representation(PNG), Representation(JPEG))
_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance and where it is."""

    request: Request
    identity: InstanceIdentity
    archive: Archive
    cache: Cache

    def send_file(self, name: str) -> Response:
        """Send the file as it was received."""
        headers = {**PRIVATE, "Content-Disposition": f'filename="{name}.dcm"'}
        return accel(self.request, self.archive, self.identity.key, DICOM, headers)

    def header(self) -> Header:
        """Read what is not pixels.

        Raises
        ------
        NotFound
            If the file is gone.
        Unprocessable
            If it is no DICOM.
        """
        with self.archive.open(self.identity.key) as file:
            return read_header(file)

    def content(self, path: str) -> list[str] | Response:
        """List what is in a data set or a sequence, or send a value.

        Raises
        ------
        NotFound
            If there is nothing at the path.
        NotAcceptable
            If the value cannot be sent: it is a sequence of fragments, or cut short.
        """
        steps, _ = path_of(path)
        _, _, file = self._open()
        try:
            header = read_header(file)
            listed = children(header, steps)
            if listed is None:
                extent = value_extent(file, find_bulk_data(header, "/".join(steps)))
                return extent_response(self.request, extent, _OCTETS)
        except Unprocessable as error:
            file.close()
            raise NotAcceptable.so(error) from None
        except BaseException:
            file.close()
            raise
        file.close()
        return listed

    def _stored(self) -> Stored:
        return find_instance(self.archive, self.identity.tenant_id, *self.identity.uids)

    def _open(self) -> tuple[Stored, str, BinaryIO]:
        stored = self._stored()
        syntax = stored_syntax(self.archive, self.cache, stored)
        return stored, syntax, open_servable(self.archive, stored, syntax)

    def number_of_frames(self) -> int:
        """Return how many frames there are; none if it has no pixels."""
        try:
            stored, syntax, file = self._open()
            with file:
                return frame_table(self.archive, file, stored, syntax, self.cache).number_of_frames
        except (NotFound, Unprocessable):
            return 0

    def raw_frame(self, frame: str) -> Response:
        """Send a frame as it lies in the file."""
        number = _frame(frame)
        stored, syntax, file = self._open()
        try:
            table = frame_table(self.archive, file, stored, syntax, self.cache)
            if number > table.number_of_frames:
                raise NotFound("no-such-frame", "the instance has no such frame")
            extent = Extent(file, table.ranges(number))
        except Unprocessable as error:
            file.close()
            raise NotAcceptable.so(error) from None
        except BaseException:
            file.close()
            raise
        return extent_response(self.request, extent, _OCTETS)

    def picture(self, frame: str) -> Response:
        """Render a frame, the representative one if none is named."""
        chosen = self.request.accepted(PICTURES)
        asked = self.request.http.args
        stored = self._stored()
        try:
            with open_image(self.archive, self.cache, stored) as opened:
                parameters = _rendering(asked, opened.image.columns, opened.image.rows)
                number = _frame(frame) if frame else opened.representative
                data = render(opened, number, parameters, chosen.media_type, thumbnail=False)
        except Unprocessable as error:
            raise NotAcceptable.so(error) from None
        headers = {**PRIVATE, "Vary": "Accept"}
        return Response(data, 200, headers, content_type=chosen.media_type)


def _frame(text: str) -> int:
    """Read the number of a frame, from 0; the one it has in DICOM, from 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NotFound("no-such-frame", "the instance has no such frame")
    return int(text) + 1


def _rendering(asked: Mapping[str, Any], columns: int, rows: int) -> Parameters:
    """Read the parameters that Orthanc has for ``/rendered``."""
    window = None
    center, width = asked.get("window-center"), asked.get("window-width")
    if center is not None or width is not None:
        if not (center and width and is_decimal(center) and is_decimal(width)):
            raise BadRequest("window", "window-center and window-width are two numbers")
        window = Window(float(center), float(width))
        if not window.is_valid:
            raise BadRequest("window", "window-width is at least 1")
    viewport = None
    if "width" in asked or "height" in asked:
        viewport = Viewport(_side(asked.get("width"), columns), _side(asked.get("height"), rows))
    quality = parse_quality(asked["quality"], "quality") if "quality" in asked else QUALITY
    return Parameters(window=window, viewport=viewport, quality=quality)


def _side(text: str | None, own: int) -> int:
    if text is None or text == "0":
        return min(own, MAX_SIDE)
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) <= MAX_SIDE):
        raise BadRequest("size", f"width and height are whole numbers up to {MAX_SIDE}")
    return int(text)
