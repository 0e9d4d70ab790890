from __future__ import annotations

import pytest

from pacsless.bus import Message, Partition
from pacsless.trigger.actions import Fate, Item
from pacsless.trigger.dispatch import Dispatcher, Outcome, read_answer
from tests.ports import free_ports


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.DONE), (202, Fate.DONE), (204, Fate.DONE),
        (301, Fate.DOWN), (401, Fate.DOWN), (403, Fate.DOWN), (404, Fate.DOWN), (405, Fate.DOWN),
        (400, Fate.REFUSED), (413, Fate.REFUSED), (415, Fate.REFUSED), (422, Fate.REFUSED),
        (409, Fate.BUSY), (429, Fate.BUSY),
        (408, Fate.FAILED), (500, Fate.FAILED), (502, Fate.FAILED), (504, Fate.FAILED),
        (503, Fate.DOWN),
    ],
)  # fmt: skip
def test_a_status_is_a_fate(status: int, fate: Fate) -> None:
    assert read_answer(status, b"").fate is fate


def test_the_code_is_the_function_s_if_it_looks_like_one() -> None:
    assert read_answer(422, b'{"code": "truncated"}') == Outcome(Fate.REFUSED, "truncated")
    for body in (b"", b"<html>DOE^JOHN</html>", b'{"code": "DOE^JOHN"}', b'{"code": 1}', b"[]"):
        assert read_answer(422, body) == Outcome(Fate.REFUSED, "http-422")


def test_nobody_listening_is_down() -> None:
    item = Item(Message(Partition("t", 0), 0, 0.0, None, None, ()), b"{}")
    (port,) = free_ports(1)
    sent = Dispatcher(f"http://127.0.0.1:{port}/", 1.0, 1).send([item])
    assert sent == Outcome(Fate.DOWN, "unreachable")
