"""Instances that are no pictures, rendered as they are or as text (PS3.18 Table 8.7.4-1).

A report is written as text or HTML; an encapsulated document and a video are sent
as the stream they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from werkzeug.wrappers import Response

from pacsless.dicom.dataset import Header
from pacsless.dicom.dicom_json import find_bulk_data
from pacsless.dicom.header import read_header
from pacsless.dicom.transfer_syntaxes import lookup
from pacsless.errors import NotAcceptable
from pacsless.extent import Extent, extent_response, value_extent
from pacsless.instances import frame_table, open_servable, stored_syntax
from pacsless.negotiation import Representation
from pacsless.rendering import report
from pacsless.rendering.report import REPORTS
from pacsless.representations import VIDEOS, document_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pacsless.archive import Archive
    from pacsless.cache import Cache
    from pacsless.instances import Stored
    from pacsless.web import Request

_DOCUMENT: Final = "00420011"


@dataclass(frozen=True, slots=True)
class Other:
    """An instance that is no picture, open."""

    archive: Archive
    file: BinaryIO
    header: Header
    stored: Stored
    syntax: str
    forms: tuple[Representation, ...]
    """What it can be rendered as, best first; none if there is nothing."""

    def rendered(
        self,
        request: Request,
        chosen: Representation,
        headers: Mapping[str, str],
        cache: Cache,
    ) -> Response:
        """Send one of its forms; the file is closed with the response.

        Raises
        ------
        Unprocessable
            If the file is damaged.
        """
        if chosen in REPORTS:
            self.file.close()
            written = report.to_html if chosen.media_type == report.HTML else report.to_text
            body = "".join(written(self.header)).encode("utf-8", "replace")
            return Response(body, 200, headers, content_type=f"{chosen.media_type}; charset=utf-8")
        if chosen.media_type in VIDEOS:
            table = frame_table(self.archive, self.file, self.stored, self.syntax, cache)
            extent = Extent(self.file, table.ranges(1))
        else:
            extent = value_extent(self.file, find_bulk_data(self.header, _DOCUMENT))
        return extent_response(request, extent, chosen.media_type, headers)


def open_other(archive: Archive, cache: Cache, stored: Stored) -> Other:
    """Open an instance; whoever does not send it closes its file.

    Raises
    ------
    Unprocessable
        If its file cannot be read.
    """
    syntax = stored_syntax(archive, cache, stored)
    file = open_servable(archive, stored, syntax)
    try:
        header = read_header(file)
        return Other(archive, file, header, stored, syntax, _forms(header, syntax))
    except BaseException:
        file.close()
        raise


def _forms(header: Header, syntax: str) -> tuple[Representation, ...]:
    if report.is_report(header):
        return REPORTS
    if said := document_type(header):
        return (Representation(said),)
    if lookup(syntax).is_video:
        return (Representation(lookup(syntax).media_type),)
    return ()


def require_utf8(charset: str) -> None:
    """See that a list of character sets has UTF-8 (PS3.18 §8.8.1), by either of its names.

    Raises
    ------
    NotAcceptable
        If there is a list, and it has not.
    """
    named = (one.partition(";") for one in charset.lower().split(","))
    accepted = any(
        one.strip(' "') in ("utf-8", "iso_ir 192", "*")
        and rest.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
        for one, _, rest in named
    )
    if charset and not accepted:
        raise NotAcceptable("charset", "text is sent as utf-8 only")
