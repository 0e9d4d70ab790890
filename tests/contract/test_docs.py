"""What the documents name exists: files, headings, commands, options, values, settings, topics."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import pytest
from scp_gateway.settings import GatewaySettings

from functions.stow_rs.storing import StowSettings
from pacsless.cli import main
from pacsless.events import EVENTS, SETTLED_TOPIC, TOPICS
from pacsless.functions import load_functions
from pacsless.settings import Settings

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
)
OPERATING: Final = [
    ROOT / "docs" / f"{name}.md"
    for name in ("architecture", "install", "operations", "operations-kubernetes", "sizing")
]
name_of = staticmethod(lambda path: str(path.relative_to(ROOT)))


def prose(text: str) -> str:
    """Without blocks of code, which have no links and no headings."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(document: Path) -> frozenset[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", prose(document.read_text()), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one).lower() for one in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", one).replace(" ", "-") for one in plain)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


# ------------------------------------------------------------------- commands


def commands(text: str) -> Iterator[list[str]]:
    """Words after ``pacsless`` in each command of a block, and in each that is quoted."""
    joined = text.replace("\\\n", " ")
    blocks = re.findall(r"^```console\n(.*?)^```", joined, re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    lines += re.findall(r"`([^`\n]+)`", prose(joined))
    for line in (re.sub(r"^dlq ", "pacsless dlq ", one) for one in lines):  # by an alias
        # `helm install pacsless charts/pacsless` is no command of ours.
        found = re.search(r"(?:-m |^(?:\w+=\S* )*)pacsless (?=[a-z])([^|;&#>]*)", line)
        if found:
            yield shlex.split(re.sub("['\"…]", "", found[1]))


def check(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main)
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"pacsless {' '.join(words)}: there is no {name}"
        command = found
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    known |= {"--help", "-h"}
    for word in rest:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"pacsless {' '.join(words)}: {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_and_their_options_exist(document: Path) -> None:
    if document.name in ("DECISIONS.md", "CHANGELOG.md"):
        pytest.skip("they tell of what was, too")
    for words in commands(document.read_text()):
        check(words)


def test_a_wrong_command_would_be_noticed() -> None:
    text = "```console\n$ kubectl exec x -- python3.11 -m pacsless reconcile --mend\n```\n"
    (words,) = commands(text)
    with pytest.raises(AssertionError, match="--mend"):
        check(words)
    with pytest.raises(AssertionError, match="no undo"):
        check(["dlq", "undo"])


# --------------------------------------------------------------- chart's values


@cache
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "charts/pacsless/values.schema.json").read_text())
    return found


def is_value(path: str) -> bool:
    """Whether the chart's schema knows a value."""
    at: Any = schema()
    for key in path.split("."):
        while "$ref" in at:
            at = schema()["definitions"][at["$ref"].rpartition("/")[2]]
        if key in at.get("properties", {}):
            at = at["properties"][key]
        elif isinstance(at.get("additionalProperties"), dict):
            at = at["additionalProperties"]
        else:  # whatever Kubernetes takes there
            return not at.get("properties")
    return True


def test_values_are_told_from_what_is_none() -> None:
    assert is_value("gateway.replicas")
    assert is_value("functions.extract_tags.maxReplicas")
    assert not is_value("gateway.replica")
    assert not is_value("functions.extract_tags.most")


@pytest.mark.parametrize("document", OPERATING, ids=name_of)
def test_values_of_the_chart_exist(document: Path) -> None:
    text = document.read_text()
    first = "|".join(schema()["properties"])
    named = re.findall(rf"`((?:{first})(?:\.[A-Za-z_<>]+)+)(?::[^`]*)?`", text)
    named = [one for one in named if not one.startswith("kafka.admin")]  # Kafka's own program
    named += re.findall(r"--set[ =]'?([A-Za-z_.]+)=", text)
    for one in named:
        assert is_value(one.replace("<name>", "extract_tags")), one


# ------------------------------------------------------------ settings, topics


def settings() -> set[str]:
    return {
        f"{one.PREFIX}{field.name.upper()}"
        for one in (Settings, GatewaySettings, StowSettings)
        for field in fields(one)
    }


@pytest.mark.parametrize("document", OPERATING, ids=name_of)
def test_settings_exist(document: Path) -> None:
    others = {
        "PACSLESS_HOME",  # of the local stack
        "PACSLESS_SCALE",
        "PACSLESS_TRIGGER_INSTANCE",
    }
    for name in re.findall(r"\bPACSLESS_[A-Z0-9_]+\b", document.read_text()):
        assert name in settings() | others, name


def test_the_table_of_topics_is_what_the_events_say() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## Topics")[2].partition("\n## ")[0]
    rows = {
        row[0].strip("`"): row
        for line in table.splitlines()
        if line.startswith("| `")
        for row in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert set(rows) == {*TOPICS, "<topic>.dlq", SETTLED_TOPIC}
    for topic in TOPICS:
        _, events, _, readers = rows[topic]
        kinds = {
            kind.removeprefix("org.pacsless.").rpartition(".v")[0]
            for kind, event in EVENTS.items()
            if topic == event.TOPIC
        }
        assert set(re.findall(r"`([a-z.-]+)`", events)) == kinds, topic
        assert set(readers.split(", ")) == {
            name for name, one in load_functions().items() if topic in one.topics
        }, topic
