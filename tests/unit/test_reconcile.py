"""The comparison of a study in its four forms, without any of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pacsless.dicom import document
from pacsless.errors import BadRequest
from pacsless.reconcile.report import Report, subject
from pacsless.reconcile.scrub import share_of
from pacsless.reconcile.study import (
    Drift,
    File,
    Kind,
    LedgerRow,
    SeriesRow,
    Study,
    WarehouseRow,
    compare,
)

SERIES, ONE, TWO = "1.3", ("1.3", "1.4"), ("1.3", "1.5")
DAY = "2026-11-23"


def stored(*sops: str, left_out: int = 0) -> bytes:
    lines = [b'{"00080018":{"vr":"UI","Value":["%s"]}}' % sop.encode() for sop in sops]
    return document.compose([document.Entry.of_line(line) for line in lines], left_out)


BOTH = stored("1.4", "1.5")
GOOD = Study(
    files={ONE: File(10, settled=True), TWO: File(20, settled=True)},
    rows={ONE: LedgerRow(10, "aa", 7, DAY), TWO: LedgerRow(20, "bb", 8, DAY)},
    series={SERIES: SeriesRow(8, 8, settled=True)},
    documents={SERIES: BOTH, "": document.join([BOTH])},
    images={
        (DAY, *ONE): WarehouseRow(7, is_deleted=False, sha256="aa"),
        (DAY, *TWO): WarehouseRow(8, is_deleted=False, sha256="bb"),
    },
    states={SERIES: WarehouseRow(8, is_deleted=False), "": WarehouseRow(8, is_deleted=False)},
)
NOTHING: dict[str, Any] = {
    "files": {}, "rows": {}, "series": {}, "documents": {}, "images": {}, "states": {},
}  # fmt: skip


def test_what_agrees_has_no_drift() -> None:
    assert compare(GOOD) == []
    assert compare(Study(**NOTHING)) == []


def changed(**values: Any) -> list[Drift]:
    return compare(replace(GOOD, **values))


def test_files_and_ledger() -> None:
    assert Drift(Kind.FILE_WITHOUT_ROW, *TWO) in changed(rows={ONE: GOOD.rows[ONE]})
    young = {ONE: GOOD.files[ONE], TWO: File(20, settled=False)}
    assert [one.kind for one in changed(rows={ONE: GOOD.rows[ONE]}, files=young)] == [
        Kind.WAREHOUSE_SURPLUS
    ]
    assert changed(files={ONE: GOOD.files[ONE], TWO: File(21, settled=True)}) == [
        Drift(Kind.OTHER_SIZE, *TWO)
    ]
    gone = changed(files={ONE: GOOD.files[ONE]})
    assert gone == [Drift(Kind.DOCUMENT_DIFFERS, SERIES), Drift(Kind.ROW_WITHOUT_FILE, *TWO)]
    (stray,) = changed(strays=frozenset({"t/1.2/Doe^Jane.txt"}))
    assert subject("1.2", stray) == "studies/1.2"


@pytest.mark.parametrize("size", [20, 21])
def test_a_row_of_a_file_that_was_deleted_is_none_of_the_one_stored_since(size: int) -> None:
    rows = {**GOOD.rows, TWO: replace(GOOD.rows[TWO], file_time="2026-11-23T08:00:00.000001Z")}
    again = File(size, settled=True, received_at="2026-11-23T09:00:00.000001Z")
    files = {**GOOD.files, TWO: again}
    assert changed(rows=rows, files=files, tombstones={TWO: True}) == [
        Drift(Kind.FILE_WITHOUT_ROW, *TWO)
    ]
    # On its way through the functions.
    files[TWO] = replace(again, settled=False)
    assert changed(rows=rows, files=files, tombstones={TWO: False}) == []
    # Indexed since; and where nothing was deleted, a size that differs is an alarm.
    files[TWO] = again
    indexed = {**GOOD.rows, TWO: replace(rows[TWO], size=size, file_time=again.received_at)}
    assert changed(rows=indexed, files=files, tombstones={TWO: True}) == []
    kinds = [one.kind for one in changed(rows=rows, files=files)]
    assert kinds == ([Kind.OTHER_SIZE] if size != 20 else [])


@pytest.mark.parametrize(
    "content",
    [stored("1.4"), stored("1.4", "1.5", "1.6"), stored("1.4", "1.6"), b"[\n{]", b"[]"],
)
def test_a_document_lists_exactly_the_files(content: bytes) -> None:
    documents = {SERIES: content, "": document.join([content])}
    assert changed(documents=documents) == [Drift(Kind.DOCUMENT_DIFFERS, SERIES)]


def test_a_document_accounts_for_what_it_leaves_out() -> None:
    content = stored("1.4", left_out=1)
    assert changed(documents={SERIES: content, "": document.join([content])}) == []


def test_documents_that_lack_lag_or_are_not_joined() -> None:
    assert changed(documents={"": GOOD.documents[""]}) == [
        Drift(Kind.DOCUMENT_DIFFERS), Drift(Kind.DOCUMENT_DIFFERS, SERIES)
    ]  # fmt: skip
    assert changed(documents={SERIES: BOTH}) == [Drift(Kind.DOCUMENT_DIFFERS)]
    assert changed(series={SERIES: SeriesRow(8, 7, settled=True)}) == [
        Drift(Kind.DOCUMENT_LAGS, SERIES)
    ]


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (WarehouseRow(7, is_deleted=False, sha256="bb"), Kind.WAREHOUSE_LACKS),
        (WarehouseRow(9, is_deleted=False, sha256="bb"), Kind.WAREHOUSE_AHEAD),
        (WarehouseRow(9, is_deleted=True, sha256="bb"), Kind.WAREHOUSE_AHEAD),
        (WarehouseRow(8, is_deleted=False, sha256="cc"), Kind.WAREHOUSE_DIFFERS),
        (WarehouseRow(8, is_deleted=True, sha256="bb"), Kind.WAREHOUSE_DIFFERS),
    ],
)
def test_images_of_the_warehouse(image: WarehouseRow, kind: Kind) -> None:
    assert changed(images={**GOOD.images, (DAY, *TWO): image}) == [Drift(kind, *TWO)]


def test_the_date_of_first_ingest_is_part_of_an_images_key() -> None:
    images = {(DAY, *ONE): GOOD.images[DAY, *ONE], ("2026-11-24", *TWO): GOOD.images[DAY, *TWO]}
    assert changed(images=images) == [
        Drift(Kind.WAREHOUSE_LACKS, *TWO), Drift(Kind.WAREHOUSE_SURPLUS, *TWO)
    ]  # fmt: skip
    buried = WarehouseRow(99, is_deleted=True)
    assert changed(images={**GOOD.images, ("2026-11-24", *TWO): buried}) == []


@pytest.mark.parametrize("series", [SERIES, ""])
def test_states_of_the_warehouse(series: str) -> None:
    rest = {uid: state for uid, state in GOOD.states.items() if uid != series}
    assert changed(states=rest) == [Drift(Kind.WAREHOUSE_LACKS, series)]
    for revision, kind in ((7, Kind.WAREHOUSE_LACKS), (9, Kind.WAREHOUSE_AHEAD)):
        found = changed(states={**rest, series: WarehouseRow(revision, is_deleted=False)})
        assert found == [Drift(kind, series)]


def test_a_series_that_changes_now_is_left_alone() -> None:
    busy = {SERIES: SeriesRow(9, 0, settled=False)}
    assert changed(series=busy, documents={}, images={}, states={}) == []


def test_everything_of_a_study_that_is_nowhere_else_is_surplus() -> None:
    found = compare(Study(**NOTHING | {"images": GOOD.images, "states": GOOD.states}))
    assert {one.kind for one in found} == {Kind.WAREHOUSE_SURPLUS}
    assert len(found) == 4


def test_a_report_counts_and_shows_some() -> None:
    report = Report("t")
    drifts = [Drift(Kind.FILE_WITHOUT_ROW, "1.3", f"1.4.{number}") for number in range(9)]
    report.add("1.2", [*drifts, Drift(Kind.DOCUMENT_LAGS, "1.3")], frozenset(drifts[:7]))
    told = report.as_dict()
    assert told["left"] == 3
    assert told["drift"]["file-without-row"]["count"] == 9
    assert told["drift"]["file-without-row"]["mended"] == 7
    assert len(told["drift"]["file-without-row"]["examples"]) == 5
    assert told["drift"]["document-lags"]["examples"] == ["studies/1.2/series/1.3"]


@pytest.mark.parametrize(
    ("text", "share"), [("", 0), ("all", 1), ("5%", 0.05), ("0.1%", 0.001), ("100%", 1)]
)
def test_a_share(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["5", "-1%", "101%", "nan%", "%", "some"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        share_of(text)


def deleted(*, settled: bool, **changes: Any) -> Study:
    """`ONE` was deleted; nobody has followed yet."""
    left = {key: file for key, file in GOOD.files.items() if key != ONE}
    return replace(GOOD, files=left, tombstones={ONE: settled}, **changes)


def test_what_was_deleted_is_no_alarm() -> None:
    found = compare(deleted(settled=True))
    assert Drift(Kind.ROW_OF_DELETED, *ONE) in found
    assert {one.kind for one in found} <= {Kind.ROW_OF_DELETED, Kind.DOCUMENT_DIFFERS}
    assert not any(one.kind.is_alarm for one in found)
    assert compare(deleted(settled=False)) == [], "it is on its way"


def test_the_warehouse_may_have_what_was_deleted() -> None:
    rows = {TWO: GOOD.rows[TWO]}
    documents = {SERIES: stored("1.5"), "": document.join([stored("1.5")])}
    behind = deleted(settled=True, rows=rows, documents=documents)
    assert compare(behind) == [Drift(Kind.WAREHOUSE_OF_DELETED, *ONE)]
    images = {**GOOD.images, (DAY, *ONE): WarehouseRow(9, is_deleted=True)}
    assert compare(replace(behind, images=images)) == []


def test_of_a_study_that_was_deleted_nothing_is_left() -> None:
    gone = replace(
        GOOD, files={}, rows={}, series={}, documents={}, tombstones={ONE: True, TWO: True}
    )
    assert {(one.kind, one.series, one.sop) for one in compare(gone)} == {
        (Kind.WAREHOUSE_OF_DELETED, series, sop)
        for series, sop in (ONE, TWO, (SERIES, ""), ("", ""))
    }
    assert compare(replace(gone, images={}, states={})) == []


def test_stored_again_on_another_day() -> None:
    """The row of the first day is to go, the other one is of what is there."""
    first = {("2026-11-20", *ONE): WarehouseRow(3, is_deleted=False, sha256="aa")}
    again = replace(GOOD, images={**GOOD.images, **first}, tombstones={ONE: True})
    assert compare(again) == [Drift(Kind.WAREHOUSE_OF_DELETED, *ONE)]
