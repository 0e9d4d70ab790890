"""Text that is burned into pictures (PS3.18 §8.3.5.1.1)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pacsless.dicom.header import Header, read_header
from pacsless.rendering.annotation import annotate
from tests.instances import encode, make_dataset


def header(**values: Any) -> Header:
    return read_header(io.BytesIO(encode(make_dataset(bytes(8), **values))))


def burned(about: Header, annotation: str, size: tuple[int, int] = (256, 256)) -> Any:
    return np.asarray(annotate(Image.new("L", size, 100), about, 1, (annotation,))).astype(int)


def test_each_has_its_corner() -> None:
    patient, technique = (burned(header(), one) for one in ("patient", "technique"))
    assert patient.max() > 200 and patient.min() < 20  # bright with a dark edge: always legible
    assert (patient[:80] != 100).any() and (patient[128:] == 100).all()
    assert (technique[-80:] != 100).any() and (technique[:128] == 100).all()
    both = annotate(Image.new("L", (256, 256), 100), header(), 1, ("patient", "technique"))
    assert np.array_equal(np.asarray(both)[:128], patient[:128])


@pytest.mark.parametrize(
    ("keyword", "value", "annotation"),
    [
        ("PatientName", "Other^Name", "patient"), ("PatientID", "P-2", "patient"),
        ("PatientBirthDate", "19800203", "patient"), ("PatientSex", "M", "patient"),
        ("Modality", "MR", "technique"), ("StudyDate", "20230101", "technique"),
        ("SeriesNumber", 7, "technique"), ("InstanceNumber", 8, "technique"),
        ("ImagePositionPatient", [1, 2, 3], "technique"), ("NumberOfFrames", 1, "technique"),
    ],
)  # fmt: skip
def test_what_is_told(keyword: str, value: Any, annotation: str) -> None:
    changed = burned(header(**{keyword: value}), annotation)
    assert (changed != burned(header(), annotation)).any()


def test_colours_stay() -> None:
    picture = annotate(Image.new("RGB", (512, 512), (10, 200, 30)), header(), 1, ("patient",))
    assert picture.mode == "RGB"
    colours = {colour for _, colour in picture.getcolors(1 << 16) or ()}
    assert {(10, 200, 30), (255, 255, 255), (0, 0, 0)} <= colours


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (4096, 16)])
@pytest.mark.parametrize(
    "name", ["", "王^小東", "Wang^XiaoDong=王^小東", "A" * 5000, "Müller^Jörg", "a\x1b[31m\x00b"]
)
def test_whatever_a_header_says(size: tuple[int, int], name: str) -> None:
    about = header(PatientName=name, PatientID=None, SeriesNumber=None, Modality=None)
    for mode in ("L", "RGB"):
        made = annotate(Image.new(mode, size), about, 1, ("patient", "technique"))
        assert (made.size, made.mode) == (size, mode)


def test_nothing_is_asked_for() -> None:
    picture = Image.new("L", (8, 8))
    assert annotate(picture, header(), 1, ()) is picture
    assert np.asarray(picture).max() == 0
