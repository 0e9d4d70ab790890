"""The Store transaction (PS3.18 §10.5): instances to the archive as they come."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any, BinaryIO, Final, Self, cast

from werkzeug.wrappers import Response

from functions.stow_rs.asked import decoded, not_decoded, sender_of
from functions.stow_rs.attributes import Bulk, first_text, write_part10
from functions.stow_rs.body import CHUNK, Headers, read_parts
from functions.stow_rs.capabilities import ANSWERS, BODIES, XML
from functions.stow_rs.files import File
from functions.stow_rs.outcome import Outcome, http_status, response_module
from functions.stow_rs.storing import Storing
from pacsless.dicom.native_model import to_native_model
from pacsless.dicom.read_native_model import from_native_model
from pacsless.dicom.scan import ScanError
from pacsless.dicomweb import instance_url
from pacsless.errors import BadRequest, TooLarge
from pacsless.identity import InstanceIdentity
from pacsless.negotiation import DICOM, MULTIPART, Representation, parse_media_type
from pacsless.storage import Reception, Refused, Status, uid_or_nothing
from pacsless.strict_json import loads
from pacsless.web import Request, plain

_AT_A_TIME: Final = 4
"""Instances of a request that are made durable while the next ones come."""
_MOST_ATTRIBUTES: Final = 16 << 20
"""Bytes of attributes in one request."""
_ITEM: Final = b"\xfe\xff\x00\xe0"


def store_instances(request: Request, study: str = "", *, storing: Storing) -> Response:
    """Store what the body has, and tell what became of each instance."""
    chosen = request.accepted(ANSWERS)
    media_type, options = parse_media_type(request.http.headers.get("Content-Type", ""))
    is_multipart = media_type == MULTIPART
    kind = options.get("type", DICOM).lower() if is_multipart else media_type
    if Representation(kind, multipart=is_multipart) not in BODIES:
        told = ", ".join(one.media_range for one in BODIES)
        return plain(415, f"Instances are sent as one of {told}.", {"Accept-Post": told})
    if refused := not_decoded(request):
        return refused
    boundary = options.get("boundary", "").encode("latin-1", "replace")
    if is_multipart and not 1 <= len(boundary) <= 70:
        raise BadRequest("no-boundary", "Content-Type has no boundary of 1 to 70 characters")
    with storing.paced(request.http) as paced, Store(request, study, storing) as store:
        body = decoded(request, paced)
        if not is_multipart:
            store.file(iter(lambda: body.read(CHUNK), b""))
        elif kind == DICOM:
            store.files(read_parts(body, boundary))
        else:
            store.attributes(read_parts(body, boundary), kind)
        outcomes = store.outcomes()
    if not outcomes:
        raise BadRequest("nothing", "the body of the request has no instances")
    status = http_status(outcomes)
    response = Response(_told(outcomes, chosen), status, content_type=chosen.content_type)
    if status == 503:
        response.headers["Retry-After"] = "10"
    return response


def _told(outcomes: list[Outcome], chosen: Representation) -> bytes:
    module = response_module(outcomes)
    if chosen.media_type == XML:
        return b"".join(to_native_model(module))
    return json.dumps(module, separators=(",", ":")).encode()


class Store:
    """One request's instances. A context: what is not finished is abandoned at its end.

    Parameters
    ----------
    request
        Whose they are.
    study
        Study Instance UID they must have, or empty for any.
    storing
        What they are stored with.
    """

    def __init__(self, request: Request, study: str, storing: Storing) -> None:
        self._request, self._study, self._storing = request, study, storing
        self._sender = sender_of(request)
        self._sealing: deque[Future[Outcome]] = deque()
        self._outcomes: list[Outcome] = []
        self._open: Reception | None = None
        self._parts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._open is not None:
            self._open.abandon()
        for one in self._sealing:
            one.exception()  # what is under way is whole, and told of in the journal

    def file(self, chunks: Iterable[bytes]) -> None:
        """Store one instance."""
        self._count()
        reception = self._begin()
        for chunk in chunks:
            reception.write(chunk)
        self._end(reception)

    def files(self, events: Iterator[Headers | bytes | None]) -> None:
        """Store the parts that `read_parts` yields."""
        reception = None
        for event in events:
            match event:
                case dict():
                    self._count()
                    reception = self._begin()
                    media_type, _ = parse_media_type(event.get("content-type", DICOM))
                    if media_type != DICOM:
                        reception.fail(
                            Refused(Status.CANNOT_UNDERSTAND, "media-type", f"a part is no {DICOM}")
                        )
                case None if reception is not None:
                    self._end(reception)
                case bytes() if reception is not None:
                    reception.write(event)

    def attributes(self, events: Iterator[Headers | bytes | None], kind: str) -> None:
        """Store instances that are sent as attributes and bulk data."""
        bulk = BulkData(self._storing)
        with closing(bulk):
            for event in events:
                match event:
                    case dict():
                        self._count()
                        media_type, options = parse_media_type(event.get("content-type", kind))
                        if media_type == kind:
                            bulk.begin_document()
                        else:
                            bulk.begin(event.get("content-location", ""), media_type, options)
                    case bytes():
                        bulk.write(event)
                    case None:
                        bulk.end()
            with self._storing.reading_attributes:
                for one in bulk.documents:
                    for number, model in enumerate(_models(one.read(), kind)):
                        if number:  # the first is the part, which was counted
                            self._count()
                        self._write(model, bulk.found)

    def _write(self, model: Any, bulk: dict[str, Bulk]) -> None:
        reception = self._begin()
        if isinstance(model, dict):
            reception.sop_class_uid = first_text(model, "00080016")
            reception.sop_instance_uid = first_text(model, "00080018")
        try:
            if not isinstance(model, dict):
                raise model if isinstance(model, ScanError) else _not_json()
            write_part10(model, bulk, reception.write)
        except ScanError as error:
            reception.fail(error)
        self._end(reception)

    def outcomes(self) -> list[Outcome]:
        """Wait for the last ones; return what became of all, in their order."""
        while self._sealing:
            self._outcomes.append(self._sealing.popleft().result())
        return self._outcomes

    def _count(self) -> None:
        self._parts += 1
        if self._parts > self._storing.own.max_parts:
            raise TooLarge(
                "too-many-parts",
                f"the body has more than {self._storing.own.max_parts} parts or instances; those "
                "before are stored: send the others by another request",
            )

    def _begin(self) -> Reception:
        self._open = File(self._storing.service, self._sender, self._study)
        return self._open

    def _end(self, reception: Reception) -> None:
        if len(self._sealing) >= _AT_A_TIME:
            self._outcomes.append(self._sealing.popleft().result())
        self._open = None
        self._sealing.append(self._storing.pool.submit(self._finish, reception))

    def _finish(self, reception: Reception) -> Outcome:
        try:
            status = reception.finish().status
            reception.conclude()
        finally:
            reception.abandon()
        sop_class = uid_or_nothing(reception.sop_class_uid)
        sop_instance = uid_or_nothing(reception.sop_instance_uid)
        if status is not Status.SUCCESS:
            return Outcome(status, sop_class, sop_instance)
        found = reception.identifiers
        identity = InstanceIdentity(
            reception.tenant_id,
            found.study_instance_uid,
            found.series_instance_uid,
            found.sop_instance_uid,
        )
        base = self._request.base_url
        study = f"{base}/studies/{found.study_instance_uid}"
        return Outcome(status, sop_class, sop_instance, study, instance_url(base, identity))


def _models(document: bytes, kind: str) -> Iterator[Any]:
    """Yield the instances of a part with attributes; an error for one that is none."""
    if kind == XML:
        try:
            yield from_native_model(document)
        except ScanError as error:
            yield error
        return
    try:
        found = loads(document)
    except (ValueError, RecursionError):
        yield _not_json()
        return
    yield from found if isinstance(found, list) else [found]


def _not_json() -> ScanError:
    return ScanError("json", "the attributes are not in the DICOM JSON Model (PS3.18 §F.2)")


class BulkData:
    """Bulk data of a request, and its attributes, in a file without a name on the spool's disk.

    Parts of one Content-Location belong together: frames in a codec's format are
    made fragments, one each (PS3.5 §A.4), and other data are joined.
    """

    def __init__(self, storing: Storing) -> None:
        self.found: dict[str, Bulk] = {}
        self.documents: list[Bulk] = []
        """The attributes."""
        self._service = storing.service
        self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=storing.spool))  # noqa: SIM115
        self._size = 0
        self._one = Bulk(self._file, "", "")
        self._began = 0
        self._attributes = 0
        """Bytes of all documents."""

    def begin_document(self) -> None:
        """Take a part that has attributes."""
        self._one = Bulk(self._file, "", "")
        self._began = self._size
        self.documents.append(self._one)

    def begin(self, location: str, media_type: str, options: dict[str, str]) -> None:
        """Take a part."""
        syntax = options.get("transfer-syntax", "")
        self._one = self.found.setdefault(location, Bulk(self._file, media_type, syntax))
        self._began = self._size
        if self._one.is_encapsulated:
            if not self._one.pieces:
                self.write(_ITEM + bytes(4))  # an empty Basic Offset Table
            self.write(_ITEM + bytes(4))

    def write(self, data: bytes) -> None:
        """Take some of its bytes."""
        self._size += len(data)
        self._service.check_size(self._size)
        if self.documents and self._one is self.documents[-1]:
            self._attributes += len(data)
            if self._attributes > _MOST_ATTRIBUTES:
                raise TooLarge(
                    "attributes",
                    f"attributes of more than {_MOST_ATTRIBUTES >> 20} MiB in one request: send "
                    "application/dicom, or fewer instances at once",
                )
        self._file.write(data)

    def end(self) -> None:
        """Take its end."""
        one = self._one
        if one.is_encapsulated:
            fragment = self._began + (16 if not one.pieces else 8)
            length = self._size - fragment
            if length % 2:
                self.write(b"\0")
            self._file.seek(fragment - 4)
            self._file.write((length + length % 2).to_bytes(4, "little"))
            self._file.seek(self._size)
        one.pieces.append((self._began, self._size - self._began))

    def close(self) -> None:
        """Be done with all."""
        self._file.close()
