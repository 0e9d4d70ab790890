"""The load of ``pacsless burst``: what is sent, what is made of what was seen."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pacsless.burst.command import burst
from pacsless.burst.load import Load
from pacsless.burst.plot import plot, require
from pacsless.burst.summary import as_dict, percentile, sparkline, text
from pacsless.burst.templates import (
    Identifiers,
    NoTemplate,
    Template,
    bundled,
    new_run,
    templates,
)
from pacsless.burst.timeline import Acknowledged, Milestone, Sample, Timeline
from pacsless.burst.watching import Outcome
from pacsless.burst.workers import WorkersCommand, read_counts
from pacsless.errors import Unavailable
from tests.eventually import eventually

IDENTIFYING = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID",
               "PatientName", "InstanceNumber")  # fmt: skip
SYNTAXES = ("CT_small.dcm", "rtdose.dcm", "ExplVR_BigEnd.dcm", "JPEG2000.dcm")


def sample_file(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def but_identifiers(dataset: Dataset) -> Dataset:
    """Without group lengths, too, which are retired (PS3.5 §7.2) and which pydicom drops."""
    for element in list(dataset):
        if element.keyword in IDENTIFYING or element.tag.element == 0:
            del dataset[element.tag]
    return dataset


@pytest.mark.parametrize("name", SYNTAXES)
def test_an_instance_is_the_file_but_for_its_identifiers(name: str) -> None:
    (template,) = templates([sample_file(name)])
    identifiers = Identifiers.of(new_run(), 12, 3, 450)
    content = bytearray(template.content)
    template.write(identifiers, content)
    assert len(content) == len(template.content)
    found = dcmread(io.BytesIO(content))
    assert found.file_meta.MediaStorageSOPInstanceUID == identifiers.sop_instance_uid
    assert tuple(str(found[keyword].value) for keyword in IDENTIFYING[:5]) == identifiers[:5]
    assert found.InstanceNumber == 450
    assert but_identifiers(found) == but_identifiers(dcmread(sample_file(name)))


def test_all_differences_are_in_the_head() -> None:
    (template,) = templates([sample_file("CT_small.dcm")])
    content = bytearray(template.content)
    template.write(Identifiers.of(new_run(), 1, 1, 1), content)
    assert content[template.head :] == template.content[template.head :]
    head = bytearray(template.content[: template.head])
    template.write(Identifiers.of(new_run(), 1, 1, 1), head)
    assert len(head) == template.head


def test_what_cannot_be_written_over_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no DICOM")
    (tmp_path / "deflated.dcm").write_bytes(sample_file("image_dfl.dcm").read_bytes())
    with pytest.raises(NoTemplate, match="no file there is a DICOM image"):
        templates([tmp_path])
    (tmp_path / "ct.dcm").write_bytes(sample_file("CT_small.dcm").read_bytes())
    assert len(templates([tmp_path])) == 1


@given(
    instances=st.integers(1, 300), studies=st.integers(1, 40), series=st.integers(1, 6)
)  # fmt: skip
def test_studies_are_consistent_and_everything_is_sent_once(
    instances: int, studies: int, series: int
) -> None:
    some = [Template(b"", 0, str(number), "", ()) for number in range(2)]
    load = Load.new(some, instances, studies, series)
    sent = [one for number in range(load.studies) for one in load.study(number)]
    assert len(sent) == len({one.sop_instance_uid for one, _ in sent}) == instances
    assert len({one.study_instance_uid for one, _ in sent}) == min(studies, instances)
    of_series: dict[str, set[object]] = {}
    of_study: dict[str, set[object]] = {}
    for one, template in sent:
        assert all(len(uid) == 64 for uid in one[:3])
        of_series.setdefault(one.series_instance_uid, set()).add(
            (one.study_instance_uid, template.sop_class_uid)
        )
        of_study.setdefault(one.study_instance_uid, set()).add((one.patient_id, one.patient_name))
    assert all(len(found) == 1 for found in (*of_series.values(), *of_study.values()))
    sizes = Counter(one.study_instance_uid for one, _ in sent).values()
    assert max(sizes) - min(sizes) <= 1


def test_delays_count_instances_in_the_order_they_were_acknowledged_in() -> None:
    milestone = Milestone()
    milestone.see({"a": 1}, 2.0)
    milestone.see({"a": 1, "b": 1}, 3.0)
    milestone.see({"a": 3, "b": 0}, 5.0)
    assert milestone.count == 4
    assert milestone.at == 5.0
    # The third of "a" was seen before its sender had the answer.
    found = milestone.delays({"a": [1.0, 2.5, 6.0], "b": [1.5], "c": [1.0]})
    assert found == [(1.0, 1.0), (1.5, 1.5), (2.5, 2.5), (6.0, 0.0)]


def test_backlog_is_what_is_known_of_it() -> None:
    assert Sample(at=0, acknowledged=0).backlog is None
    assert Sample(at=0, acknowledged=0, outbox=2).backlog == 2
    assert Sample(at=0, acknowledged=0, outbox=2, lag={"a": 3, "b": 1}).backlog == 6


@pytest.mark.parametrize(("part", "value"), [(0.0, 1), (0.5, 5), (0.95, 10), (1.0, 10)])
def test_percentiles_are_values_there_are(part: float, value: int) -> None:
    assert percentile(list(range(1, 11)), part) == value


def test_a_sparkline_shows_the_highest_of_what_shares_a_place() -> None:
    assert sparkline([0, 0, 8, 0, 1, 0], width=3) == "▁█▂"
    assert sparkline([None, None]) == "  "


def an_outcome(**values: Any) -> Outcome:
    acknowledged = Acknowledged()
    timeline = Timeline(10, acknowledged)
    for number in range(10):
        acknowledged.add("study", "series", 0.1 * number)
    timeline.answered = [(0.5, 0.02)]
    waiting = (8, 12, 4, 0)
    for number, backlog in enumerate(waiting):
        at = float(number)
        done = (2, 4, 8, 10)[number]
        timeline.indexed.see({"study": done}, at)
        timeline.described.see({"series": done}, at)
        timeline.samples.append(
            Sample(at=at, acknowledged=10, outbox=0, lag={"extract_tags": backlog},
                   workers={"extract_tags": 1 + backlog // 4}, indexed=done, described=done)
        )  # fmt: skip
    return Outcome(timeline, 1_000_000, Counter({0: 10}), complete=True, **values)


def test_the_summary_says_rates_delays_and_when_nothing_waited() -> None:
    told = as_dict(an_outcome())
    assert told["acknowledged"] == {"count": 10, "all_after_seconds": 0.9, "per_second": 11.1}
    assert told["indexed"]["count"] == told["described"]["count"] == 10
    assert told["indexed"]["per_second"] == 3.3
    assert (told["indexed"]["p50"], told["indexed"]["max"]) == (1.35, 2.2)
    assert told["loaded"]["count"] == 0
    assert told["lag_0_seconds"] == 2.1
    assert [one["backlog"] for one in told["samples"]] == [8, 12, 4, 0]
    shown = text(an_outcome())
    assert "10 instances in 1 studies, 1.0 MB: 10 stored" in shown
    assert "in the warehouse" not in shown
    assert "backlog  ▆█▃▁  most 12" in shown
    assert "Nothing waited any more 2.1 s after" in shown


@pytest.mark.parametrize("looks", [0, 1, 2, 4])
def test_a_short_run_has_a_summary(looks: int) -> None:
    outcome = an_outcome()
    del outcome.timeline.samples[looks:]
    assert ("backlog" in text(outcome)) == bool(looks)


def test_a_summary_of_nothing() -> None:
    nothing = Outcome(Timeline(5, Acknowledged()), 0, Counter({None: 5}), complete=False)
    assert as_dict(nothing)["acknowledged"]["per_second"] is None
    assert "0 MB: 5 not acknowledged" in text(nothing)


def test_a_picture(tmp_path: Path) -> None:
    if importlib.util.find_spec("matplotlib") is None and not os.environ.get("CI"):
        pytest.skip("not installed: matplotlib (make setup)")
    file = tmp_path / "burst.png"
    plot(an_outcome().timeline, "ten instances", file)
    with Image.open(file) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == (1200, 1100)
        assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20


def test_a_picture_wants_matplotlib_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(burst, ["--plot", str(tmp_path / "x.png"), "--port", "1"])
    assert "--plot needs matplotlib: pip install 'pacsless[plot]'" in str(result.exception)


def test_a_picture_wants_its_place_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    file = tmp_path / "there" / "x.png"
    result = CliRunner().invoke(burst, ["--plot", str(file), "--port", "1"])
    assert f"{file} cannot be written: No such file" in str(result.exception)
    file.parent.mkdir()
    require(file)
    assert not file.exists()
    file.write_bytes(b"a picture")
    require(file)
    assert file.read_bytes() == b"a picture"


def test_places_to_ask_are_named_with_the_archive() -> None:
    result = CliRunner().invoke(burst, ["--kafka", "there:9092"])
    assert result.exit_code == 2
    assert "go with --host or --port" in result.output


def test_the_bundled_files_are_a_ct_and_an_mr() -> None:
    assert [dcmread(path).Modality for path in bundled()] == ["CT", "MR"]


FUNCTIONS = ("extract_tags", "load_doris", "tags")


def test_workers_are_read_by_the_names_of_deployments() -> None:
    told = (
        "rel-extract-tags   3\nextract-tags 1\nload-doris <none>\ntags 2\n"
        "rel-extract-tags-trigger 1\nnginx 4\n"
    )
    assert read_counts(told, FUNCTIONS) == {"extract_tags": 4, "load_doris": 0, "tags": 2}
    with pytest.raises(Unavailable, match="prints no line"):
        read_counts("nginx 1\n", FUNCTIONS)
    with pytest.raises(Unavailable, match="gives no number for load-doris"):
        read_counts("load-doris many\n", FUNCTIONS)


def test_a_command_for_the_workers_runs_beside_the_looks() -> None:
    command = WorkersCommand(["printf", "x-load-doris 2\n"], FUNCTIONS)
    assert command.look() is None
    assert eventually(command.look) == {"load_doris": 2}
    command.close()
    slow = WorkersCommand(["sleep", "600"], FUNCTIONS)
    assert slow.look() is None
    assert slow.look() is None
    slow.close()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/nowhere"], "cannot be run: No such file"),
        (["sh", "-c", "echo no cluster >&2; exit 3"], "ends with 3: no cluster"),
    ],
)
def test_a_command_for_the_workers_that_fails_is_told(command: list[str], told: str) -> None:
    one = WorkersCommand(command, FUNCTIONS)

    def fails() -> str:
        try:
            one.look()
        except Unavailable as error:
            return error.message
        return ""

    assert told in eventually(fails)
    one.close()


def test_only_what_is_set_is_watched_by_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(receiver: object, load: object, addresses: object, *_: object) -> None:
        seen.append(addresses)
        raise KeyboardInterrupt

    monkeypatch.setattr("pacsless.burst.watching.run", run)
    for name in ("KAFKA", "POSTGRES", "DORIS_MYSQL", "DORIS_PASSWORD"):
        monkeypatch.delenv(f"PACSLESS_{name}", raising=False)
    monkeypatch.setenv("PACSLESS_POSTGRES", "postgresql://u:s3cret@db/x")
    monkeypatch.setenv("PACSLESS_DORIS_PASSWORD", "s3cret")
    arguments = ["--instances", "1", "--host", "scp", "--sql", "doris:9030"]
    CliRunner().invoke(burst, arguments)
    CliRunner().invoke(burst, [*arguments, "--settings", "--workers-command", "count 'a b'"])
    named, by_settings = seen
    assert (named.kafka, named.postgres, named.sql) == ((), "", "doris:9030")
    assert (by_settings.kafka, by_settings.sql) == ((), "doris:9030")
    assert by_settings.postgres == "postgresql://u:s3cret@db/x"
    assert by_settings.doris.doris_password == "s3cret"
    assert by_settings.workers == ("count", "a b")
    assert "s3cret" not in repr(seen)


@pytest.mark.parametrize(
    "more", [["--settings"], ["--gateway", "http://x"], ["--workers-command", "x"]]
)
def test_what_is_about_another_archive_needs_one(more: list[str]) -> None:
    found = CliRunner().invoke(burst, ["--instances", "1", *more])
    assert found.exit_code == 2
    assert "go with --host or --port" in found.stderr
