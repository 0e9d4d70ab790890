"""Structured Reports for whoever reads no DICOM."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import pytest
from pydicom.dataset import Dataset

from pacsless.dicom.dataset import Header
from pacsless.dicom.header import read_header
from pacsless.rendering.report import is_report, to_html, to_text
from tests.dicom_files import samples
from tests.instances import encode, make_dataset

EVIL = '<script>alert(1)</script><a href="javascript:x" onclick=x>&'


def code(meaning: str, value: str = "1") -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, "99X", meaning
    return made


def content(kind: str, meaning: str, *children: Dataset, **values: object) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = "CONTAINS", kind
    made.ConceptNameCodeSequence = [code(meaning)]
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if children:
        made.ContentSequence = list(children)
    return made


def report(*children: Dataset, title: str = "Chest CT") -> Header:
    dataset = make_dataset(ValueType="CONTAINER", CompletionFlag="COMPLETE", Modality="SR")
    dataset.ConceptNameCodeSequence = [code(title)]
    dataset.ContentSequence = list(children)
    return read_header(io.BytesIO(encode(dataset)))


def measured() -> Dataset:
    value = Dataset()
    value.NumericValue = "4.5"
    value.MeasurementUnitsCodeSequence = [code("millimeter", "mm")]
    return content("NUM", "Diameter", MeasuredValueSequence=[value])


def test_a_report_is_told() -> None:
    header = report(
        content("TEXT", "Finding", TextValue="A nodule.\r\nRound."),
        content("CONTAINER", "Measurements", measured()),
        content("CODE", "Side", ConceptCodeSequence=[code("Left")]),
        content("PNAME", "Observer", PersonName="Doe^Jane"),
        content("DATE", "Seen", Date="20240229"),
    )
    assert is_report(header)
    text = "".join(to_text(header))
    assert text.startswith("Chest CT\n\nPatient: Doe Jane\n")
    assert "Finding: A nodule.\n  Round.\n" in text
    assert "Measurements:\n  Diameter: 4.5 mm\n" in text
    assert "Side: Left\nObserver: Doe Jane\nSeen: 20240229\n" in text
    page = "".join(to_html(header))
    assert "<li><b>Finding</b> A nodule.<br>Round.</li>" in page
    assert "<ul>\n<li><b>Diameter</b> 4.5 mm</li>\n</ul>" in page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not attrs or (tag == "meta" and attrs == [("charset", "utf-8")])
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_no_word_of_a_report_is_markup() -> None:
    header = report(
        content("TEXT", EVIL[:60], content("TEXT", "x", TextValue=EVIL), TextValue=EVIL),
        content("PNAME", "x", PersonName=EVIL[:60]),
        content(EVIL[:16], "x", TextValue=EVIL),
        title=EVIL[:60],
    )
    tags = Tags()
    tags.feed("".join(to_html(header)))
    tags.close()
    assert tags.seen <= {"html", "head", "meta", "title", "body", "h1", "dl", "dt", "dd", "ul",
                         "li", "b", "br"}  # fmt: skip
    assert not tags.open


def test_what_is_no_report() -> None:
    assert not is_report(read_header(io.BytesIO(encode(make_dataset()))))


@pytest.mark.parametrize("path", samples("seg-pm-sr", "transfer-syntaxes"), ids=lambda p: p.name)
def test_samples(path: object) -> None:
    header = read_header(path.read_bytes())  # type: ignore[attr-defined]
    if is_report(header):
        tags = Tags()
        tags.feed("".join(to_html(header)))
        assert not tags.open
        assert len("".join(to_text(header)).splitlines()) > 5
