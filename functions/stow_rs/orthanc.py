"""Orthanc's way to store an instance: a file by itself, and an answer with ids."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from werkzeug.wrappers import Response

from functions.stow_rs.asked import decoded, not_decoded, sender_of
from functions.stow_rs.body import CHUNK
from functions.stow_rs.files import File
from functions.stow_rs.storing import Storing
from pacsless.dicom.keys import text_key
from pacsless.dicom.scan import Identifiers
from pacsless.orthanc_ids import orthanc_id
from pacsless.storage import Answer, Status
from pacsless.strict_json import dumps
from pacsless.web import Request, plain

_REFUSED: Final = {
    Status.DUPLICATE_SOP_INSTANCE: HTTPStatus.CONFLICT,
    Status.OUT_OF_RESOURCES: HTTPStatus.SERVICE_UNAVAILABLE,
    Status.PROCESSING_FAILURE: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""Whatever else is refused is the file's fault."""


def store_orthanc_instance(request: Request, *, storing: Storing) -> Response:
    """Store the file that the body is, and tell its ids."""
    if refused := not_decoded(request):
        return refused
    with storing.paced(request.http) as paced:
        body = decoded(request, paced)
        reception = File(storing.service, sender_of(request), "")
        try:
            for chunk in iter(lambda: body.read(CHUNK), b""):
                reception.write(chunk)
            answer = storing.pool.submit(reception.finish).result()
            reception.conclude()
        finally:
            reception.abandon()
    if answer.status is not Status.SUCCESS:
        return _refused(answer)
    told = _told(reception.identifiers, answer)
    return Response(
        dumps(told), 200, {"Cache-Control": "no-store"}, content_type="application/json"
    )


def _told(found: Identifiers, answer: Answer) -> dict[str, str]:
    keys = (
        text_key(found.patient_id),
        found.study_instance_uid,
        found.series_instance_uid,
        found.sop_instance_uid,
    )
    patient, study, series, instance = (orthanc_id(*keys[:depth]) for depth in (1, 2, 3, 4))
    return {
        "ID": instance,
        "ParentPatient": patient,
        "ParentSeries": series,
        "ParentStudy": study,
        "Path": f"/instances/{instance}",
        "Status": "AlreadyStored" if answer.outcome == "duplicate" else "Success",
    }


def _refused(answer: Answer) -> Response:
    status = _REFUSED.get(answer.status, HTTPStatus.BAD_REQUEST)
    sentence = f"The instance is not stored: {answer.comment or answer.reason}."
    headers = {"Retry-After": "10"} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return plain(status, sentence, headers)
