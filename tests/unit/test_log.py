"""A log line is one JSON object and never quotes data."""

from __future__ import annotations

import json
import logging

from pacsless.errors import Unprocessable
from pacsless.log import JsonFormatter


def line(error: BaseException | None = None, **fields: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": "pacsless.test", "msg": "read a header",
                                    "levelname": "INFO", "fields": fields})  # fmt: skip
    if error is not None:
        try:
            raise error
        except type(error) as caught:
            record.exc_info = (type(caught), caught, caught.__traceback__)
    text = JsonFormatter("extract-tags").format(record)
    assert "\n" not in text
    return json.loads(text)  # type: ignore[no-any-return]


def test_fields_are_part_of_the_line() -> None:
    told = line(events=3, subject="studies/1.2")
    assert told["service"] == "extract-tags"
    assert told["message"] == "read a header"
    assert (told["events"], told["subject"]) == (3, "studies/1.2")


def test_a_foreign_error_is_named_and_not_quoted() -> None:
    told = line(ValueError("invalid value for PN: Doe^John"))
    assert told["error"] == "ValueError"
    assert "Doe" not in json.dumps(told)
    assert "test_log.py" in str(told["at"])


def test_our_own_error_says_what_it_says() -> None:
    assert line(Unprocessable("truncated", "the file ends early"))["text"] == (
        "truncated: the file ends early"
    )


def test_line_breaks_cannot_forge_a_line() -> None:
    assert line(source="a\r\n{}")["source"] == "a\r\n{}"
