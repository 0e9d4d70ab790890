"""JSON between the parts: what is written and read, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsless.strict_json import dumps, loads

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read_back_by_anybody(value: Any) -> None:
    text = dumps(value)
    assert b"\n" not in text
    assert loads(text) == value == json.loads(text.decode())


@given(values)
def test_what_anybody_writes_is_read(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value


def test_half_a_surrogate_pair_is_read_and_written_as_a_question_mark() -> None:
    assert loads(b'["x\\ud800"]') == ["x\ud800"]
    assert dumps({"a": "x\ud800", "b": "Müller"}).decode() == '{"a":"x?","b":"Müller"}'


@pytest.mark.parametrize("depth", [200, 300, 600])
def test_sequences_as_deep_as_a_header_may_have_are_written_and_read(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"[Infinity]", b"[-Infinity]", b"[1e999]", b"[-1e999]", b"", b"{", b"[1,]", b"{'a':1}",
     b'["\xff"]', b"\xef\xbb\xbf[]", "[1]".encode("utf-16"), "[1]".encode("utf-32-le")],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(RecursionError):
        loads(b"[" * 100_000)


@pytest.mark.parametrize("value", [object(), [b"x"], {"a": {1}}])
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_large_integers_are_exact_as_far_as_64_bits() -> None:
    for number in (2**53 + 1, 2**64 - 1, -(2**63)):
        assert loads(dumps([number])) == [number]
    assert dumps([2**70]) == b"[1180591620717411303424]"


def test_a_not_a_number_is_null() -> None:
    """Nothing we write has one: what holds it becomes bulk data (PS3.18 §F.2.2) before."""
    assert dumps([math.nan, math.inf]) == b"[null,null]"
