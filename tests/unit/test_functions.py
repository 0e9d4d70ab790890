from __future__ import annotations

from pathlib import Path

import pytest

from pacsless.functions import InvalidDeclaration, load_function, load_functions
from pacsless.policy import InvalidPolicy

GOOD = """
[project]
name = "do-this"
description = "does this"
[tool.pacsless]
kind = "event"
handles = ["org.pacsless.instance.stored.v1"]
emits = ["org.pacsless.instance.indexed.v1", "org.pacsless.series.revised.v1"]
[tool.pacsless.trigger]
max_events = 7
"""
HTTP = """
[project]
name = "do-this"
description = "does this"
[tool.pacsless]
kind = "http"
"""


def declare(root: Path, text: str) -> Path:
    (root / "do_this").mkdir()
    (root / "do_this" / "pyproject.toml").write_text(text)
    return root


def test_reads_a_declaration(tmp_path: Path) -> None:
    spec = load_functions(declare(tmp_path, GOOD))["do_this"]
    assert spec.topics == ("storage_queue",)
    assert spec.emitted_topics == ("dicom_image_queue", "dicom_state_queue")
    assert spec.policies is not None
    trigger = spec.policies.trigger
    assert (trigger.max_events, trigger.gather) == (7, "partition")


def test_reads_a_schedule(tmp_path: Path) -> None:
    text = GOOD.partition("[tool.pacsless.trigger]")[0].replace('kind = "event"', 'kind = "timer"')
    text = text.replace('handles = ["org.pacsless.instance.stored.v1"]', 'schedule = "5 * * * *"')
    spec = load_functions(declare(tmp_path, text))["do_this"]
    assert (str(spec.schedule), spec.policies, spec.topics) == ("5 * * * *", None, ())


@pytest.mark.parametrize(
    ("declared", "server"),
    [("", "granian"), ('server = "granian"', "granian"), ('server = "gunicorn"', "gunicorn")],
)
def test_reads_who_serves_it(tmp_path: Path, declared: str, server: str) -> None:
    root = declare(tmp_path, HTTP + declared)
    assert load_functions(root)["do_this"].server == server
    assert load_function(root / "do_this").server == server


def test_refuses_a_server_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match="granian, gunicorn"):
        load_functions(declare(tmp_path, HTTP + 'server = "apache"'))


def test_says_where_a_declaration_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidDeclaration, match=r"pyproject\.toml"):
        load_function(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("do-this", "do-that"),
        ('kind = "event"', 'kind = "http"'),
        ('kind = "event"', ""),
        ('kind = "event"', 'kind = "event"\nschedule = "* * * * *"'),
        ("instance.stored.v1", "instance.stored.v9"),
        ('kind = "event"', 'kind = "event"\nuses = ["postgresql"]'),
        ('kind = "event"', 'kind = "event"\nuses = ["kafka", "kafka"]'),
        ('kind = "event"', 'kind = "event"\nserver = "granian"'),
        ("max_events = 7", "max_events = 0"),
        ("max_events = 7", "max_event = 7"),
        ("max_events = 7", 'gather = "all"'),
        ("max_events = 7", "timeout_s = 0"),
    ],
)
def test_refuses_what_cannot_be(tmp_path: Path, before: str, after: str) -> None:
    with pytest.raises((InvalidDeclaration, InvalidPolicy)):
        load_functions(declare(tmp_path, GOOD.replace(before, after)))


def test_every_function_of_this_repository_is_declared() -> None:
    functions = load_functions()
    assert {"extract_tags", "load_doris", "build_metadata", "transcode"} <= set(functions)
    for spec in functions.values():
        assert (spec.policies is None) == (spec.kind != "event")
        assert (spec.schedule is None) == (spec.kind != "timer")
        assert spec.summary.endswith(".")
