"""What is told of a store request: the Store Instances Response Module (PS3.18 §I.2); pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pacsless.storage.answers import Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instance."""

    status: Status
    sop_class_uid: str = ""
    """UIDs are empty where they could not be found out."""
    sop_instance_uid: str = ""
    study: str = ""
    """Retrieve URL of its study."""
    instance: str = ""
    """Retrieve URL of the instance itself."""


def http_status(outcomes: Sequence[Outcome]) -> HTTPStatus:
    """Status of the response (PS3.18 Table 10.5.3-1).

    Where nothing is stored because there is no room or the archive does not
    answer, 503 and not 409: the same request will do later.
    """
    failed = [one for one in outcomes if one.status is not Status.SUCCESS]
    if not failed:
        return HTTPStatus.OK
    if len(failed) < len(outcomes):
        return HTTPStatus.ACCEPTED
    if all(one.status is Status.OUT_OF_RESOURCES for one in failed):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.CONFLICT


def response_module(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Make the module of PS3.18 Table I.2-1 as a DICOM JSON Model Object."""
    stored = [one for one in outcomes if one.status is Status.SUCCESS]
    failed = [one for one in outcomes if one.status is not Status.SUCCESS]
    module: dict[str, Any] = {}
    studies = {one.study for one in stored}
    if len(studies) == 1:
        module["00081190"] = _element("UR", *studies)
    # FailedSOPSequence needs both UIDs, OtherFailuresSequence is for the rest.
    named = [one for one in failed if one.sop_class_uid and one.sop_instance_uid]
    others = [one for one in failed if not (one.sop_class_uid and one.sop_instance_uid)]
    for tag, items in (
        ("00081198", [_failure(one, _reference(one)) for one in named]),
        (
            "00081199",
            [_reference(one) | {"00081190": _element("UR", one.instance)} for one in stored],
        ),
        ("0008119A", [_failure(one, {}) for one in others]),
    ):
        if items:
            module[tag] = _element("SQ", *items)
    return module


def _reference(one: Outcome) -> dict[str, Any]:
    return {
        "00081150": _element("UI", one.sop_class_uid),
        "00081155": _element("UI", one.sop_instance_uid),
    }


def _failure(one: Outcome, item: dict[str, Any]) -> dict[str, Any]:
    return item | {"00081197": _element("US", int(one.status))}


def _element(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}
