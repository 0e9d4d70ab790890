from __future__ import annotations

from pathlib import Path

import pytest

from pacsless.functions import load_functions
from pacsless.policy import InvalidPolicy, Policies

DECLARED = """
[project]
name = "do-this"
description = "does this"
[tool.pacsless]
kind = "event"
handles = ["org.pacsless.access.logged.v1", "org.pacsless.instance.stored.v1"]
[tool.pacsless.trigger]
max_events = 7
linger_ms = 50
[tool.pacsless.trigger.topics.access_log_queue]
gather = "topic"
[tool.pacsless.scale]
max_workers = 3
"""


def load(root: Path, overrides: str | None) -> Policies:
    (root / "do_this").mkdir()
    (root / "do_this" / "pyproject.toml").write_text(DECLARED)
    file = root / "policies.toml"
    if overrides is not None:
        file.write_text(overrides)
    policies = load_functions(root, file if overrides is not None else None)["do_this"].policies
    assert policies is not None
    return policies


def test_a_topic_has_what_the_function_has_and_its_own(tmp_path: Path) -> None:
    found = load(tmp_path, None)
    assert (found.of("storage_queue").gather, found.of("storage_queue").max_events) == (
        "partition", 7,
    )  # fmt: skip
    assert (found.of("access_log_queue").gather, found.of("access_log_queue").max_events) == (
        "topic", 7,
    )  # fmt: skip
    assert (found.scale.min_workers, found.scale.max_workers) == (0, 3)


def test_an_operator_says_otherwise_setting_by_setting(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        [do_this.trigger]
        max_events = 9
        timeout_s = 5
        [do_this.trigger.topics.access_log_queue]
        linger_ms = 4000
        [do_this.scale]
        cooldown_s = 300
        """,
    )
    assert (found.trigger.max_events, found.trigger.linger_ms, found.trigger.timeout_s) == (
        9,
        50,
        5,
    )
    topic = found.of("access_log_queue")
    assert (topic.max_events, topic.linger_ms, topic.gather) == (9, 4000, "topic")
    assert (found.scale.max_workers, found.scale.cooldown_s) == (3, 300)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("[do_that.trigger]", "no function do_that takes events; there are do_this"),
        ("[do_this]\nmax_events = 1", r"\[do_this\] holds the tables trigger and scale alone"),
        ("[do_this.trigger]\nmax_event = 1", r"\[do_this.trigger\] max_event: no such setting"),
        ('[do_this.trigger]\nmax_events = "1"', "max_events: must be a whole number"),
        ("[do_this.trigger]\nmax_events = true", "max_events: must be a whole number"),
        ("[do_this.trigger]\nmax_events = 0", r"\[do_this.trigger\]: numbers are positive"),
        ("[do_this.trigger]\nbackoff_s = 99", "backoff_s <= backoff_max_s"),
        ("[do_this]\ntrigger = 1", "do_this.trigger must be a table"),
        ("[do_this.trigger.topics.log_queue]", "do_this does not read this topic"),
        ("[do_this.trigger.topics.storage_queue]\ntimeout_s = 1", "is the whole function's"),
        ("[do_this.scale]\nmin_workers = 4", r"\[do_this.scale\]: 0 <= min_workers <= max_workers"),
        ("[do_this.scale]\nlag_threshold = 0", "1 <= lag_threshold"),
        ("[do_this", "is no TOML"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path: Path, overrides: str, told: str) -> None:
    with pytest.raises(InvalidPolicy, match=told):
        load(tmp_path, overrides)


def test_a_file_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match=r"absent\.toml: cannot be read"):
        load_functions(tmp_path, tmp_path / "absent.toml")
