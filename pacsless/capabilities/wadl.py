"""The service as a Capabilities Description, which is a WADL document (PS3.18 Annex H).

Annex H leaves Retrieve Capabilities itself out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from xml.etree import ElementTree as ET  # written here, never read

from pacsless.capabilities import ANY_REQUEST, Capability, Operation, Parameter

NAMESPACE: Final = "http://wadl.dev.java.net/2009/02"
BASE: Final = "/dicom-web/"
"""What nginx replaces by the address the client has used."""
_TYPES: Final = {
    "string": "xsd:string",
    "integer": "xsd:integer",
    "number": "xsd:decimal",
    "boolean": "xsd:boolean",
}


def wadl(operations: Iterable[Operation]) -> str:
    """Describe the service: one tree of resources, each with its methods."""
    application = ET.Element(
        "application", {"xmlns": NAMESPACE, "xmlns:xsd": "http://www.w3.org/2001/XMLSchema"}
    )
    resources = {"": ET.SubElement(application, "resources", base=BASE)}
    for one in operations:
        if one.method != "OPTIONS":
            resource = _resource(resources, one.path, {each.name: each for each in one.variables})
            _method(resource, one)
    ET.indent(application)
    text = ET.tostring(application, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _resource(
    resources: dict[str, ET.Element], path: str, variables: dict[str, Parameter]
) -> ET.Element:
    if path not in resources:
        parent, _, segment = path.rpartition("/")
        made = ET.SubElement(_resource(resources, parent, variables), "resource", path=segment)
        if segment.startswith("{"):
            _param(made, variables[segment.strip("{}")], style="template", required="true")
        resources[path] = made
    return resources[path]


def _method(resource: ET.Element, one: Operation) -> None:
    about = one.capability
    method = ET.SubElement(resource, "method", name=one.method, id=about.id)
    ET.SubElement(method, "doc", title=about.summary).text = one.clause
    request = ET.SubElement(method, "request")
    if about.representations:
        _accept(request, about)
    for parameter in about.parameters:
        _param(request, parameter, style="query")
    if about.body:
        for taken in about.body.representations:
            ET.SubElement(request, "representation", mediaType=taken.media_range)
    succeeded = about.succeeded
    response = ET.SubElement(method, "response", status=" ".join(map(str, succeeded)))
    for sent in about.representations:
        ET.SubElement(response, "representation", mediaType=sent.media_range)
    others = sorted({*about.statuses, *ANY_REQUEST} - set(succeeded))
    refusal = ET.SubElement(method, "response", status=" ".join(map(str, others)))
    ET.SubElement(refusal, "representation", mediaType="text/plain")


def _accept(request: ET.Element, about: Capability) -> None:
    ranges = [sent.media_range for sent in about.representations]
    accept = ET.SubElement(
        request, "param", name="Accept", style="header", type="xsd:string", default=ranges[0]
    )
    for one in ranges:
        ET.SubElement(accept, "option", value=one)


def _param(parent: ET.Element, one: Parameter, **attributes: str) -> None:
    schema: dict[str, Any] = dict(one.schema)
    attributes["type"] = _TYPES[schema["type"]]
    if "default" in schema:
        attributes["default"] = str(schema["default"]).lower()
    param = ET.SubElement(parent, "param", {"name": one.name, **attributes})
    ET.SubElement(param, "doc").text = one.description
