"""The service as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pacsless
from pacsless.capabilities import ANY_REQUEST, STATUSES, Operation, Parameter
from pacsless.errors import PacslessError

# Relative to the document's own address, so it is right for every tenant; and for
# OPTIONS, whose target is the root itself.
SERVER: Final = "../dicom-web"
_DESCRIPTION: Final = """\
DICOMweb (PS3.18), a change feed and Orthanc's REST API. HEAD works where GET does.

Matching keys of searches are attributes by keyword, as listed, or by tag: \
`00100010` is `PatientName`."""
_DICOM_JSON_MODEL: Final = {
    "description": "Attributes by tag (PS3.18 §F.2).",
    "type": "object",
    "propertyNames": {"pattern": "^[0-9A-F]{8}$"},
    "additionalProperties": {
        "type": "object",
        "required": ["vr"],
        "properties": {
            "vr": {"type": "string", "pattern": "^[A-Z]{2}$"},
            "Value": {"type": "array"},
            "BulkDataURI": {"type": "string", "format": "uri-reference"},
            "InlineBinary": {"type": "string", "contentEncoding": "base64"},
        },
    },
}


class Ambiguous(PacslessError):
    """Two parameters have one name and are not the same."""


def openapi(operations: Sequence[Operation], functions: Mapping[str, str]) -> dict[str, Any]:
    """Describe the service.

    Parameters
    ----------
    operations
        All that it answers.
    functions
        Name and description of those who answer.

    Raises
    ------
    Ambiguous
        If two different parameters of a function have one name.
    """
    known: dict[str, Parameter] = {}
    paths: dict[str, Any] = {}
    for one in operations:
        resource = paths.setdefault(one.path, {})
        if one.variables:
            resource["parameters"] = [
                _reference(known, "path", variable) for variable in one.variables
            ]
        resource[one.method.lower()] = _operation(one, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pacsless",
            "version": pacsless.__version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": SERVER, "description": "The tenant whose document this is."}],
        "tags": [{"name": name, "description": said} for name, said in functions.items()],
        "paths": paths,
        "components": {
            "parameters": {key: _parameter(key, one) for key, one in known.items()},
            "responses": {str(status): _refusal(status) for status in STATUSES if status >= 400},
            "schemas": {"DicomJsonModel": _DICOM_JSON_MODEL},
        },
    }


def _operation(one: Operation, known: dict[str, Parameter]) -> dict[str, Any]:
    about = one.capability
    described: dict[str, Any] = {
        "operationId": about.id,
        "summary": about.summary,
        "description": one.clause,
        "tags": [one.function],
        "responses": {
            str(status): _response(one, status)
            for status in sorted({*about.succeeded, *about.statuses, *ANY_REQUEST})
        },
    }
    if about.parameters:
        described["parameters"] = [
            _reference(known, one.function, parameter) for parameter in about.parameters
        ]
    if about.body:
        described["requestBody"] = {
            "description": about.body.description,
            "required": True,
            "content": {sent.media_range: {} for sent in about.body.representations},
        }
    return described


def _reference(known: dict[str, Parameter], place: str, parameter: Parameter) -> dict[str, str]:
    key = f"{place}.{parameter.name}"
    if known.setdefault(key, parameter) != parameter:
        raise Ambiguous("parameter", f"{key} is described in two ways")
    return {"$ref": f"#/components/parameters/{key}"}


def _parameter(key: str, one: Parameter) -> dict[str, Any]:
    in_path = key.startswith("path.")
    return {
        "name": one.name,
        "in": "path" if in_path else "query",
        "required": in_path,
        "description": one.description,
        "schema": dict(one.schema),
    }


def _response(one: Operation, status: int) -> dict[str, Any]:
    if status >= 400:
        return {"$ref": f"#/components/responses/{status}"}
    said: dict[str, Any] = {"description": STATUSES[status]}
    if status in (200, 202, 206):
        said["content"] = {
            sent.media_range: {"schema": dict(one.capability.schema)}
            if sent.media_type.endswith("json") and one.capability.schema
            else {}
            for sent in one.capability.representations
            # Ranges are of a body by itself.
            if status != 206 or not sent.multipart
        }
    return said


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": STATUSES[status],
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
