"""Metadata documents are made from lines, and their line breaks count originals."""

from __future__ import annotations

import io
import json
import random

import pytest

from pacsless.dicom import document
from pacsless.dicom.document import Entry
from pacsless.errors import Unprocessable
from tests.dicom_files import BUNDLED


def entry(uid: str, number: int | None = None, **more: object) -> Entry:
    attributes: dict[str, object] = {"00080018": {"vr": "UI", "Value": [uid]}, **more}
    if number is not None:
        attributes["00200013"] = {"vr": "IS", "Value": [number]}
    return Entry.of_line(json.dumps(attributes, separators=(",", ":")).encode())


def uids(content: bytes) -> list[str]:
    return [one["00080018"]["Value"][0] for one in json.loads(content)]


def test_instances_are_ordered_by_number_then_uid() -> None:
    entries = [entry("1.9", 2), entry("1.10", 2), entry("1.1"), entry("1.2", -1), entry("1.3", 1)]
    random.Random(5).shuffle(entries)
    assert uids(document.compose(entries, 0)) == ["1.2", "1.3", "1.9", "1.10", "1.1"]


@pytest.mark.parametrize("left_out", [0, 1, 3])
@pytest.mark.parametrize("instances", [0, 1, 2, 7])
def test_a_document_counts_its_originals(instances: int, left_out: int) -> None:
    entries = [entry(f"1.{number}", number) for number in range(instances)]
    content = document.compose(entries, left_out)
    assert document.count(content) == instances + left_out
    assert len(json.loads(content)) == instances
    assert [Entry.of_line(line) for line in document.lines(content)] == entries


def test_a_line_is_read_when_its_turn_comes() -> None:
    content = document.compose([entry(f"1.{number}", number) for number in range(3)], 1)
    file = io.BytesIO(content)
    reading = document.read_lines(file)
    assert next(reading) == entry("1.0", 0).line
    assert file.tell() == content.index(b"\n") + 1
    assert len(list(reading)) == 2
    assert list(document.lines(b"[" + entry("1.1").line + b"]")) == [entry("1.1").line]
    assert list(document.lines(b"[]")) == list(document.lines(b"")) == []


def test_joining_keeps_bytes_and_counts() -> None:
    parts = [
        document.compose([], 0),
        document.compose([entry("1.1"), entry("1.2")], 1),
        document.compose([], 2),
        document.compose([entry("1.3")], 0),
    ]
    joined = document.join(parts)
    assert uids(joined) == ["1.1", "1.2", "1.3"]
    assert document.count(joined) == 6
    assert list(document.lines(joined)) == [line for part in parts for line in document.lines(part)]
    assert json.loads(document.join([])) == []


def test_an_entry_is_found_by_its_own_uid_only() -> None:
    refers = entry("1.1", 1, **{"00081140": {"vr": "SQ", "Value": [
        {"00081155": {"vr": "UI", "Value": ["1.3"]}},
        {"00080018": {"vr": "UI", "Value": ["1.4"]}},
    ]}})  # fmt: skip
    content = document.compose([refers, entry("1.2", 2), entry("1.3", 3)], 1)
    for uid in ("1.1", "1.2", "1.3"):
        line = document.find(content, uid)
        assert line is not None
        assert json.loads(line)["00080018"]["Value"] == [uid]
    assert document.find(content, "1.4") is None
    assert document.find(b"[]", "1.1") is None


@pytest.mark.parametrize("number", [["x"], [None], [], [1.5], None])
def test_a_strange_instance_number_sorts_last(number: object) -> None:
    attributes = {"00080018": {"vr": "UI", "Value": ["1.1"]}}
    if number is not None:
        attributes["00200013"] = {"vr": "IS", "Value": number}  # type: ignore[dict-item]
    strange = Entry.of_line(json.dumps(attributes).encode())
    assert strange > entry("1.2", 2**31 - 1)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"00080018":{}}', b"[" * 100_000])
def test_a_damaged_line_is_no_entry(line: bytes) -> None:
    with pytest.raises(ValueError):
        Entry.of_line(line)


def made(name: str) -> dict[str, dict[str, list[object]]]:
    with BUNDLED[name].open("rb") as file:
        attributes = document.read_attributes(
            file, ("1.2", "1.2.3", "1.2.3.4"), lambda path: f"/x/{path}"
        )
    line = Entry.of(attributes).line
    assert b"\n" not in line
    assert json.loads(line) == attributes
    return attributes


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("MR_small_implicit.dcm", "1.2.840.10008.1.2.1"),
        ("MR_small_bigendian.dcm", "1.2.840.10008.1.2.1"),
        ("image_dfl.dcm", "1.2.840.10008.1.2.1"),
        ("MR_small.dcm", "1.2.840.10008.1.2.1"),
        ("JPEG2000.dcm", "1.2.840.10008.1.2.4.91"),
        ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5"),
    ],
)
def test_an_entry_says_what_frames_are_served_in(name: str, served: str) -> None:
    attributes = made(name)
    assert attributes["00083002"] == {"vr": "UI", "Value": [served]}
    assert list(attributes) == sorted(attributes)


def test_an_entry_is_named_as_it_is_addressed() -> None:
    attributes = made("MR_small.dcm")
    named = [attributes[tag]["Value"] for tag in ("0020000D", "0020000E", "00080018")]
    assert named == [["1.2"], ["1.2.3"], ["1.2.3.4"]]


@pytest.mark.parametrize("data", [b"", b"no DICOM" * 40, bytes(200)])
def test_what_is_not_dicom_has_no_entry(data: bytes) -> None:
    with pytest.raises(Unprocessable):
        document.read_attributes(io.BytesIO(data), ("1", "2", "3"), str)
