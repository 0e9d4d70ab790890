"""What the chart is made of, without Helm: functions, values, profiles, dashboards."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacsless import chart, chart_values, resources
from pacsless.archive import Archive
from pacsless.chart_values import CHART, PROFILES
from pacsless.functions import FunctionSpec, load_functions
from pacsless.policy import ScalePolicy, TriggerPolicy
from pacsless.readme import fill

ROOT = Path(__file__).parents[2]
FUNCTIONS = load_functions()
Values = dict[str, Any]


def test_the_list_of_functions_is_up_to_date() -> None:
    made = chart.document(FUNCTIONS.values())
    assert (CHART / "files" / "functions.json").read_text() == made, "run `make docs`"


def test_the_table_of_values_is_up_to_date() -> None:
    text = (ROOT / "docs" / "install.md").read_text()
    made = fill(text, chart_values.table(), chart_values.BEGIN, chart_values.END)
    assert made == text, "run `make docs`"


def test_the_chart_has_the_version_of_the_project() -> None:
    found = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["version"] == found["appVersion"] == project["version"]


# ---------------------------------------------------------------------- uses

KINDS = {
    "Archive": {"archive"},
    "Cache": {"redis"},
    "Database": {"postgres"},
    "EntryMemory": set[str](),
    "Holdings": {"archive", "postgres"},
    "PseudonymKey": {"pseudonyms"},
    "ReadFiles": {"redis"},
    "Settings": set[str](),
    "AccessTokens": set[str](),
    "Storing": {"archive", "spool"},
    "StreamLoad": {"doris"},
    "Sweeper": {"archive", "postgres", "kafka", "doris"},
}
"""What a resource that a function asks for is connected to; a new one is to be added."""
DISTRIBUTIONS = {"kafka-python": "kafka", "pg8000": "postgres", "redis": "redis"}


def asked_for(spec: FunctionSpec) -> set[str]:
    """What a function's handlers are connected to, by the resources in their signatures."""
    main = importlib.import_module(f"functions.{spec.name}.main")
    if spec.kind == "event":
        kinds = set(resources.needs(getattr(main, spec.name).__wrapped__).values())
    else:
        handlers = [route.handler for route in main.ROUTES] if spec.kind != "timer" else [main.turn]
        kinds = {
            parameter.annotation
            for handler in handlers
            for parameter in inspect.signature(handler, eval_str=True).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
    found = set[str]()
    for kind in kinds:
        name = "Archive" if kind is Archive else kind.__name__
        assert name in KINDS, f"{name}: say in KINDS what it is connected to"
        found |= KINDS[name]
    return found | ({"kafka"} if spec.kind == "event" else set())


@pytest.mark.parametrize("spec", FUNCTIONS.values(), ids=lambda spec: spec.name)
def test_a_function_uses_what_its_code_asks_for(spec: FunctionSpec) -> None:
    declared = {one.removesuffix("-read") for one in spec.uses}
    assert declared == asked_for(spec)


@pytest.mark.parametrize("spec", FUNCTIONS.values(), ids=lambda spec: spec.name)
def test_a_function_uses_what_its_dependencies_say(spec: FunctionSpec) -> None:
    file = ROOT / "functions" / spec.name / "pyproject.toml"
    required = {
        re.split(r"[\[<>=]", one)[0]
        for one in tomllib.loads(file.read_text())["project"]["dependencies"]
    }
    said = {use for name, use in DISTRIBUTIONS.items() if name in required}
    assert said == set(spec.uses) & set(DISTRIBUTIONS.values())


@pytest.mark.parametrize("spec", FUNCTIONS.values(), ids=lambda spec: spec.name)
def test_only_who_writes_files_may(spec: FunctionSpec) -> None:
    writes = re.search("metadata JSON|renditions|originals", spec.writes) is not None
    # It removes documents of deleted series.
    assert ("archive" in spec.uses) == (writes or spec.name == "reconcile")


# ----------------------------------------------------------- values, profiles


def values(name: str) -> Values:
    found: Values = yaml.safe_load((CHART / name).read_text())
    return found


def leaves(found: Any, path: str = "") -> set[str]:
    if (
        not isinstance(found, dict)
        or not found
        or path.rpartition(".")[2] in ("requests", "limits")
    ):
        return {path}
    below = (leaves(value, f"{path}.{key}".lstrip(".")) for key, value in found.items())
    return set[str]().union(*below)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_value_stands_in_values_or_in_profiles(profile: str) -> None:
    # Else nobody could tell what is set by hand from what is not.
    own = leaves(values("values.yaml")) - {"nginx.accessLog", "podDisruptionBudget"}
    assert not own & leaves(values(f"profiles/{profile}.yaml"))


def test_profiles_say_the_same_things() -> None:
    first, *others = (leaves(values(f"profiles/{one}.yaml")) for one in PROFILES)
    assert all(one == first for one in others)


def test_every_value_is_told_of_and_in_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def properties(path: str) -> Values:
        found: Any = schema
        for key in path.split("."):
            found = found["properties"][key]
            if "$ref" in found:
                found = schema["definitions"][found["$ref"].rpartition("/")[2]]
        return dict(found)

    listed = list(chart_values.values((CHART / "values.yaml").read_text().splitlines()))
    for path, value, about in listed:
        if path.startswith("gateway.aeTitles."):
            continue
        properties(path)
        nested = any(one.startswith(f"{path}.") for one, *_ in listed)
        assert about or nested or "resources." in path, f"{path} ({value}) has no comment"


def test_the_schema_knows_every_setting_of_policies() -> None:
    found = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    known = set(TriggerPolicy.__dataclass_fields__)
    assert set(found["triggerPolicy"]["properties"]) == known | {"topics"}
    assert set(found["topicPolicy"]["properties"]) == known - {"concurrency", "timeout_s"}
    assert set(found["scalePolicy"]["properties"]) == set(ScalePolicy.__dataclass_fields__)


# ---------------------------------------------------------------- dashboards


def test_dashboards_ask_for_metrics_there_are() -> None:
    sources = "".join(
        file.read_text()
        for folder in ("pacsless", "scp-gateway")
        for file in (ROOT / folder).rglob("*.py")
    )
    names = set(re.findall(r'"(pacsless_[a-z_]+)"', sources))
    names |= {
        f"pacsless_gateway_{one}"
        for one in re.findall(
            r'"([a-z_]+)", "[A-Z]', (ROOT / "scp-gateway/scp_gateway/admin.py").read_text()
        )
    }
    dashboards = sorted((CHART / "dashboards").glob("*.json"))
    assert dashboards
    for file in dashboards:
        document = json.loads(file.read_text())
        for panel in document["panels"]:
            for target in panel["targets"]:
                for metric in re.findall(r"pacsless_[a-z_]+", target["expr"]):
                    base = re.sub(r"_(?:total|bucket)$", "", metric)
                    assert base in names, f"{file.name}: {panel['title']}: {metric}"
