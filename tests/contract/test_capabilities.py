"""What clients are told of the service is what its functions and nginx do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from pacsless.capabilities import OF_NGINX, STATUSES, Capability, Operation, Parameter, operations
from pacsless.capabilities.documents import documents
from pacsless.capabilities.openapi import Ambiguous, openapi
from pacsless.capabilities.wadl import BASE, NAMESPACE, wadl
from pacsless.functions import load_functions
from pacsless.negotiation import Representation
from pacsless.stack.configuration import CAPABILITIES, NGINX_TEMPLATE
from pacsless.web import Route

TEMPLATE = NGINX_TEMPLATE.read_text()
FUNCTIONS = [name for name, one in load_functions().items() if one.kind == "http"]
ROUTES: list[tuple[str, Route]] = [
    (name, route)
    for name in FUNCTIONS
    for route in import_module(f"functions.{name}.routes").ROUTES
]
DOCUMENT: dict[str, Any] = json.loads((CAPABILITIES / "openapi.json").read_text())
EXAMPLES: dict[str, Any] = {
    "study": "1.2", "series": "1.3", "instance": "1.4", "frames": "1,2", "attribute": "7FE00010",
    "level": "studies", "resource": "fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718",
    "relative": "series", "name": "LastUpdate", "frame": 0, "element": "0010-1002/0/0010-0020",
}  # fmt: skip
# The methods nginx lets through, and who gets the request.
LOCATION = re.compile(
    r'location ~ "\^/internal/(?P<root>dicomweb|store|delete)(?P<rest>[^"]*)" \{\s+internal;\s+'
    r'if \(\$request_method !~ "\^\(\?:(?P<methods>[A-Z|]+)\)\$"\) \{.*?'
    r"proxy_pass http://(?P<function>\w+);",
    re.DOTALL,
)
LOCATIONS = list(LOCATION.finditer(TEMPLATE))


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, resource in DOCUMENT["paths"].items():
        for method, operation in resource.items():
            if method != "parameters":
                yield method, path, operation


def answering(path: str, method: str) -> re.Match[str] | None:
    """nginx's location for a path: the first whose expression fits."""
    root = {"POST": "store", "DELETE": "delete"}.get(method.upper(), "dicomweb")
    fit = (one for one in LOCATIONS if one["root"] == root and re.search(f"^{one['rest']}", path))
    return next(fit, None)


def example(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(EXAMPLES[found[1]]), path)


@pytest.mark.parametrize("name", ["openapi.json", "capabilities.wadl"])
def test_the_documents_are_up_to_date(name: str) -> None:
    assert (CAPABILITIES / name).read_text() == documents()[name], "run `make docs`"


@pytest.mark.parametrize(("function", "route"), ROUTES, ids=lambda one: getattr(one, "rule", one))
def test_every_route_is_described(function: str, route: Route) -> None:
    assert route.capability is not None, f"{route.rule} needs a Capability"
    for one in operations(function, [route]):
        operation = DOCUMENT["paths"][one.path][one.method.lower()]
        assert operation["tags"] == [function]
        assert operation["description"] == route.clause


def test_everything_described_is_answered() -> None:
    of_routes = {
        (one.method.lower(), one.path)
        for name, route in ROUTES
        for one in operations(name, [route])
    }
    of_nginx = {(one.method.lower(), one.path) for one in OF_NGINX}
    assert {(method, path) for method, path, _ in described()} == of_routes | of_nginx
    for one in OF_NGINX:
        assert f"location = /internal/dicomweb{one.path} {{" in TEMPLATE


def test_nginx_passes_what_is_described_to_who_answers_it() -> None:
    assert {one["function"] for one in LOCATIONS} == set(FUNCTIONS)
    passed = re.findall(r"proxy_pass http://(\w+)", TEMPLATE)
    passed.remove("authorize")
    assert len(passed) == len(LOCATIONS), "a location is not as the test reads it"
    used = set()
    for method, path, operation in described():
        if operation["tags"] != ["nginx"]:
            location = answering(example(path), method)
            assert location is not None, f"nginx does not know {path}"
            assert [location["function"]] == operation["tags"], path
            assert method.upper() in location["methods"].split("|"), path
            used.add(location.start())
    assert used == {one.start() for one in LOCATIONS}, "nothing is described of a location"


def test_what_nginx_answers_without_a_token_is_public_or_was_allowed_before() -> None:
    server = TEMPLATE[TEMPLATE.index("auth_request ${AUTH_REQUEST};") :]
    locations = re.split(r"\blocation ", server)
    public = [one.partition(" {")[0] for one in locations if "auth_request off;" in one]
    assert public == [
        # Who leads there has asked before.
        "^~ /internal/archive/",
        "^~ /internal/archive/metadata/",
        "= /internal/capabilities/wadl",
        "= /internal/capabilities/json",
        # The viewer's program.
        "/",
        r'~ "\.[A-Za-z0-9]{1,12}$"',
    ]
    assert TEMPLATE.count("auth_request ") == len(public) + 1


def test_every_route_reaches_its_function() -> None:
    for function, route in ROUTES:
        path = re.sub(r"<(?:\w+:)?\w+>", "1", route.rule)
        location = answering(path, route.methods.split()[0])
        assert location is not None and location["function"] == function, route.rule


def test_the_document_is_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_every_operation_is_whole() -> None:
    ids = []
    for method, path, operation in described():
        ids.append(operation["operationId"])
        shared = [resolved(one) for one in DOCUMENT["paths"][path].get("parameters", [])]
        names = {one["name"] for one in shared if one["in"] == "path" and one["required"]}
        assert names == set(re.findall(r"\{(\w+)\}", path)), path
        for one in shared:
            Draft202012Validator(one["schema"]).validate(EXAMPLES[one["name"]])
        own = [resolved(one)["name"] for one in operation.get("parameters", [])]
        assert len(own) == len(set(own)), path
        if method == "delete":
            assert "200" not in operation["responses"] and "204" in operation["responses"], path
        else:
            assert operation["responses"]["200"]["content"], path
        for status, response in operation["responses"].items():
            assert int(status) in STATUSES
            assert resolved(response)["description"]
    assert len(ids) == len(set(ids))


def resolved(one: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in one:
        return one
    found: Any = DOCUMENT
    for step in one["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def test_every_component_is_used() -> None:
    text = json.dumps(DOCUMENT)
    for kind, components in DOCUMENT["components"].items():
        for name in components:
            assert f'"#/components/{kind}/{name}"' in text, name


def test_two_parameters_of_one_name_are_refused() -> None:
    def asking(path: str, kind: str) -> Operation:
        about = Capability(
            f"Ask {path}",
            (Representation("text/plain"),),
            (Parameter("limit", "", {"type": kind}),),
        )
        return Operation("f", "GET", path, (), "", about)

    openapi([asking("/a", "string"), asking("/b", "string")], {})
    with pytest.raises(Ambiguous):
        openapi([asking("/a", "string"), asking("/b", "integer")], {})


def test_the_wadl_has_the_same_operations() -> None:
    """PS3.18 Annex H: one application, one resources, one tree of resources."""
    application = ET.parse(CAPABILITIES / "capabilities.wadl").getroot()
    assert application.tag == f"{{{NAMESPACE}}}application"
    (resources,) = application
    assert (resources.tag, resources.attrib) == (f"{{{NAMESPACE}}}resources", {"base": BASE})

    found: dict[tuple[str, str], ET.Element] = {}

    def walk(parent: ET.Element, path: str) -> None:
        children = [one.attrib["path"] for one in parent.findall("{*}resource")]
        assert len(children) == len(set(children)), path
        for method in parent.findall("{*}method"):
            found[(method.attrib["name"].lower(), path)] = method
        for child in parent.findall("{*}resource"):
            segment = child.attrib["path"]
            templates = child.findall("{*}param[@style='template']")
            assert [f"{{{one.attrib['name']}}}" for one in templates] == (
                [segment] if segment.startswith("{") else []
            )
            walk(child, f"{path}/{segment}")

    walk(resources, "")
    assert set(found) == {(method, path) for method, path, _ in described() if method != "options"}
    for method, path, operation in described():
        if method == "options":
            continue
        told = found[(method, path)]
        assert told.attrib["id"] == operation["operationId"]
        query = [one.attrib["name"] for one in told.findall("{*}request/{*}param[@style='query']")]
        assert query == [resolved(one)["name"] for one in operation.get("parameters", [])]
        success, refusal = told.findall("{*}response")
        sent = [one.attrib["mediaType"] for one in success]
        assert sent == list(operation["responses"].get("200", {}).get("content", ()))
        statuses = f"{success.attrib['status']} {refusal.attrib['status']}".split()
        assert sorted(statuses) == sorted(operation["responses"])


def test_a_tree_whose_leaves_come_first() -> None:
    about = Capability("Ask", (Representation("text/plain"),))
    of = [Operation("f", "GET", path, (), "", about) for path in ("/a/b/c", "/a", "/a/b")]
    text = wadl(of)
    assert [text.count(f'path="{segment}"') for segment in "abc"] == [1, 1, 1]
    assert text.count("<method") == 3
