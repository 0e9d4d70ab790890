"""What is left of a data set without who the patient is (PS3.15 Annex E)."""

from __future__ import annotations

import io
from typing import Any

import pydicom
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from functions.wado_uri.deidentify import deidentify, require_anonymous_pixels
from functions.wado_uri.pseudonyms import PseudonymKey, Pseudonyms
from pacsless.dicom.header import read_header
from pacsless.errors import NotAcceptable
from pacsless.settings import Settings
from tests.instances import encode, make_dataset

SECRET = "Secret^Sarah"
NAMES = Pseudonyms(b"k" * 32, "default")


def vr_of(tag: tuple[int, ...]) -> str:
    try:
        return dictionary_VR(tag[:2]).replace("OB or OW", "OB")
    except KeyError:
        return "LO"


# Masks of repeating groups, commands and File Meta Information are no elements of a data set.
TAGS = [tag for tag in profile.ALL_TAGS if len(tag) == 2 and tag[0] > 2]
PLAIN = [tag for tag in TAGS if vr_of(tag) != "SQ"]
SEQUENCES = [tag for tag in TAGS if vr_of(tag) == "SQ" and tag not in profile.X_Z_U_STAR_TAGS]


def cleaned(dataset: Dataset, names: Pseudonyms = NAMES) -> Dataset:
    made = deidentify(read_header(io.BytesIO(encode(dataset))), names)
    found = pydicom.filereader.read_dataset(
        io.BytesIO(made), is_implicit_VR=False, is_little_endian=True
    )
    assert [element.tag for element in found] == sorted(element.tag for element in found)
    return found


def secret(vr: str) -> Any:
    """A value of a VR that is the patient's alone."""
    of = {
        "DA": "19700203", "TM": "112233.5", "DT": "19700203112233", "AS": "054Y", "UI": "1.9.8.7",
        "DS": "77.7", "IS": "777", "US": 777, "CS": "SECRET", "AE": "SECRET", "UR": "http://x",
        "OB": b"Secret^Sarah", "UN": b"Secret^Sarah",
    }  # fmt: skip
    return of.get(vr, SECRET)


@pytest.mark.parametrize("tag", PLAIN, ids=str)
def test_what_the_profile_names_is_protected(tag: tuple[int, int]) -> None:
    vr = vr_of(tag)
    outer, inner = make_dataset(), Dataset()
    for dataset in (outer, inner):
        dataset.add_new(tag, vr, secret(vr))
    outer.AnatomicRegionSequence = [inner]
    made = cleaned(outer)
    for dataset in (made, made.AnatomicRegionSequence[0]):
        found = dataset.get(tag)
        assert found is None or found.value != outer[tag].value
        if found is not None and vr == "UI":
            assert found.value == NAMES.uid(b"1.9.8.7")


@pytest.mark.parametrize("tag", SEQUENCES, ids=str)
def test_sequences_that_the_profile_names_are_empty(tag: tuple[int, int]) -> None:
    item = Dataset()
    item.CodeMeaning = "what they had"
    dataset = make_dataset()
    dataset.add_new(tag, "SQ", [item])
    found = cleaned(dataset)
    code = tag == (0x0012, 0x0064)  # written anew
    assert not found.get(tag) or len(found[tag].value) == 0 or code
    assert "what they had" not in str(found)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00110010, "LO", "VENDOR"), (0x00111001, "LO", SECRET), (0x00291010, "OB", b"x" * 40),
        (0x50000010, "US", 1), (0x60003000, "OW", b"\1\1"), (0x60020022, "LO", SECRET),
        (0x60004000, "LT", SECRET), (0x00181078, "DT", "20200101"), (0x0018A004, "UT", SECRET),
        (0x00409999, "UN", b"Secret^Sarah"), (0xFFFCFFFC, "OB", b"Secret^Sarah"),
        (0x00189999, "PN", SECRET), (0x00189998, "DA", "20200101"), (0x00189997, "LT", SECRET),
    ],
)  # fmt: skip
def test_what_it_does_not_name_and_might_tell_is_removed(tag: int, vr: str, value: Any) -> None:
    dataset = make_dataset()
    dataset.add_new(tag, vr, value)
    made = cleaned(dataset)
    assert tag not in made or tag == 0x00181078
    assert SECRET not in str(made)


def test_what_tells_nothing_is_kept() -> None:
    dataset = make_dataset(
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], Manufacturer="Maker", KVP="120.00",
        PixelSpacing=["0.500", "0.5"], ConvolutionKernel="B30f", RescaleSlope="1",
    )  # fmt: skip
    made = cleaned(dataset)
    for keyword in (
        "ImageType", "Manufacturer", "KVP", "PixelSpacing", "ConvolutionKernel", "RescaleSlope",
        "Rows", "Columns", "BitsStored", "Modality", "SeriesNumber", "InstanceNumber",
        "SOPClassUID", "SpecificCharacterSet", "PhotometricInterpretation",
    ):  # fmt: skip
        assert made[keyword].value == dataset[keyword].value, keyword


def test_no_group_says_how_long_it_was() -> None:
    dataset = make_dataset()
    for tag in (0x00080000, 0x00100000, 0x00280000):
        dataset.add_new(tag, "UL", 1234)
    inner = Dataset()
    inner.add_new(0x00080000, "UL", 12)
    dataset.AnatomicRegionSequence = [inner]
    made = cleaned(dataset)
    assert not [one for one in made.iterall() if one.tag.element == 0]


def test_it_says_what_was_done() -> None:
    made = cleaned(make_dataset(PatientIdentityRemoved="NO"))
    assert made.PatientIdentityRemoved == "YES"
    assert made.LongitudinalTemporalInformationModified == "REMOVED"
    assert "PS3.15" in made.DeidentificationMethod
    (code,) = made.DeidentificationMethodCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")


def test_names_are_the_same_each_time_and_nobody_elses() -> None:
    dataset = make_dataset(FrameOfReferenceUID="1.2.3.4.5", ReferencedSOPClassUID="1.2.840.10008.5")
    item = Dataset()
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ReferencedImageSequence = [item]
    first, again = cleaned(dataset), cleaned(dataset)
    assert first == again
    assert first.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.ReferencedSOPClassUID == "1.2.840.10008.5"
    for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"):
        others = [cleaned(dataset, Pseudonyms(b"k" * 32, "north")),
                  cleaned(dataset, Pseudonyms(b"q" * 32, "default"))]  # fmt: skip
        found = {str(one[keyword].value) for one in (dataset, first, *others)}
        assert len(found) == 4, keyword
    assert first.StudyInstanceUID.startswith("2.25.")
    assert len(first.StudyInstanceUID) <= 64
    assert pydicom.uid.UID(first.StudyInstanceUID).is_valid


def test_values_left_in_the_file_are_left_out() -> None:
    made = cleaned(make_dataset(ICCProfile=b"p" * 4000))
    assert "ICCProfile" not in made


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ({}, False), ({"BurnedInAnnotation": "NO"}, False),
        ({"BurnedInAnnotation": "YES"}, True), ({"BurnedInAnnotation": " yes "}, True),
        ({"BurnedInAnnotation": ["NO", "YES"]}, True),
        ({"RecognizableVisualFeatures": "YES", "BurnedInAnnotation": "NO"}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}, False),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER"]}, True),
        ({"ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "NO"}, False),
        ({"pixels": b""}, True),
    ],
)  # fmt: skip
def test_pixels_that_may_tell_are_refused(values: dict[str, Any], refused: bool) -> None:
    dataset = make_dataset(values.pop("pixels", bytes(8)), **values)
    header = read_header(io.BytesIO(encode(dataset)))
    if refused:
        with pytest.raises(NotAcceptable):
            require_anonymous_pixels(header)
    else:
        require_anonymous_pixels(header)


def test_without_a_key_nothing_is_anonymized(tmp_path: Any) -> None:
    file = tmp_path / "key"
    missing = Settings(pseudonym_key=str(tmp_path / "none"))
    short = Settings(pseudonym_key=str(file))
    for settings, content in ((Settings(), ""), (missing, ""), (short, "short\n")):
        file.write_text(content)
        with pytest.raises(NotAcceptable):
            PseudonymKey.from_settings(settings).of("default")
    file.write_text("a key that is long enough\n")
    key = PseudonymKey.from_settings(Settings(pseudonym_key=str(file)))
    assert key.of("default").uid(b"1.2") != key.of("north").uid(b"1.2")
    assert "long enough" not in repr(key) + repr(key.of("default"))
