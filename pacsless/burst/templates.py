"""Instances made by writing new identifiers over those of a template.

A template is encoded once. Every identifier in it has the length that all have,
so an instance is a copy with some bytes replaced: its sender spends nothing on
DICOM, and what is measured is the receiver.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import ScanError
from pacsless.errors import PacslessError
from pacsless.send.files import files_below

BUNDLED: Final = ("CT_small.dcm", "MR_small.dcm")
"""Files of pydicom's that stand for a CT and an MR."""

_ROOT: Final = "1.2.826.0.1.3680043.8.498."
"""pydicom's, for whoever makes UIDs."""
_RUNS: Final = 10**17, 10**18
_MOST_BYTES: Final = 512 << 20


class NoTemplate(PacslessError):
    """There is nothing to make instances from."""


class Identifiers(NamedTuple):
    """What tells an instance from others; each of one length, whatever it says."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    patient_name: str
    instance_number: str

    @classmethod
    def of(cls, run: int, study: int, series: int, instance: int) -> Identifiers:
        """Identifiers of an instance by its numbers, from 1; a study is a patient's only one.

        Examples
        --------
        >>> {len(one) for one in Identifiers.of(10**17, 3, 1, 250)[:3]}
        {64}
        """
        return cls(
            _uid(run, 1, study, 0, 0),
            _uid(run, 2, study, series, 0),
            _uid(run, 3, study, series, instance),
            f"{patient_prefix(run)}{study:05}",
            f"Synthetic^Patient^{study:05}",
            f"{instance:012}",
        )


def patient_prefix(run: int) -> str:
    """What the Patient ID of every instance of a run starts with."""
    return f"BURST-{run % 10**9:09}-"


def study_prefix(run: int) -> str:
    """What the Study Instance UID of every instance of a run starts with."""
    return f"{_ROOT}{run:018}."


def _uid(run: int, level: int, study: int, series: int, instance: int) -> str:
    # No component may begin with a zero (PS3.5 §9.1); 26 + 18 + 1 + 19 characters.
    return f"{study_prefix(run)}{level}{study:06}{series:04}{instance:08}"


def new_run() -> int:
    """A number no other run has."""
    lowest, end = _RUNS
    return lowest + int.from_bytes(os.urandom(8), "big") % (end - lowest)


_PLACEHOLDERS: Final = Identifiers(
    f"{_ROOT}100000000000000001.1918273645546372819",
    f"{_ROOT}100000000000000002.2918273645546372819",
    f"{_ROOT}100000000000000003.3918273645546372819",
    f"{patient_prefix(918273645)}91827",
    "Synthetic^Patient^91827",
    "001918273645",
)


@dataclass(frozen=True, slots=True)
class Template:
    """An encoded file, and where its identifiers are.

    Attributes
    ----------
    content
        A PS3.10 file.
    data_set_offset
        Of its data set's first byte.
    sop_class_uid, transfer_syntax
        What it is.
    places
        Offsets of each of `Identifiers`.
    """

    content: bytes
    data_set_offset: int
    sop_class_uid: str
    transfer_syntax: str
    places: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, dataset: Dataset) -> Template:
        """Encode a data set that was read from a file; it gets placeholders for identifiers.

        Raises
        ------
        NoTemplate
            If it cannot be encoded so that identifiers can be written over.
        """
        meta = dataset.file_meta
        if meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            raise NoTemplate("deflated", "nothing can be written over in a deflated data set")
        dataset.StudyInstanceUID = _PLACEHOLDERS.study_instance_uid
        dataset.SeriesInstanceUID = _PLACEHOLDERS.series_instance_uid
        dataset.SOPInstanceUID = _PLACEHOLDERS.sop_instance_uid
        dataset.PatientID = _PLACEHOLDERS.patient_id
        dataset.PatientName = _PLACEHOLDERS.patient_name
        dataset.InstanceNumber = _PLACEHOLDERS.instance_number
        meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        file = io.BytesIO()
        try:
            dcmwrite(file, dataset, enforce_file_format=True)
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            raise NoTemplate(
                "encoding", f"pydicom cannot write it: {type(error).__name__}"
            ) from None
        content = file.getvalue()
        file.seek(0)
        part10 = split_part10(file)
        places = tuple(tuple(_find(content, one.encode())) for one in _PLACEHOLDERS)
        if not all(places):
            raise NoTemplate("encoding", "its identifiers are not found in what pydicom writes")
        return cls(
            content,
            part10.dataset_offset,
            str(dataset.SOPClassUID),
            str(meta.TransferSyntaxUID),
            places,
        )

    @property
    def head(self) -> int:
        """Number of bytes in which instances of this template differ."""
        return max(
            offset + len(one)
            for offsets, one in zip(self.places, _PLACEHOLDERS, strict=True)
            for offset in offsets
        )

    def write(self, identifiers: Identifiers, into: bytearray) -> None:
        """Write identifiers into a copy of `content`, or of its head."""
        for offsets, text in zip(self.places, identifiers, strict=True):
            value = text.encode()
            for offset in offsets:
                into[offset : offset + len(value)] = value


def _find(content: bytes, value: bytes) -> Iterator[int]:
    at = content.find(value)
    while at >= 0:
        yield at
        at = content.find(value, at + len(value))


def bundled() -> list[Path]:
    """Files of `BUNDLED`; pydicom carries them, so nothing is downloaded."""
    from pydicom.data import get_testdata_file

    return [Path(str(get_testdata_file(name, download=False))) for name in BUNDLED]


def templates(paths: Iterable[Path]) -> list[Template]:
    """Make templates of files and of all files below folders; what is none is left out.

    Raises
    ------
    NoTemplate
        If none can be made, or they would fill the memory.
    """
    found: list[Template] = []
    for path in filter(Path.is_file, files_below(paths)):
        try:
            dataset = dcmread(path)
            if "SOPClassUID" in dataset and "PixelData" in dataset:
                found.append(Template.of(dataset))
        except (InvalidDicomError, OSError, ScanError, NoTemplate):
            continue
        if sum(len(one.content) for one in found) > _MOST_BYTES:
            raise NoTemplate(
                "memory", f"{path} and what comes before it are more than 512 MiB: name fewer files"
            )
    if not found:
        raise NoTemplate(
            "nothing", "no file there is a DICOM image that new identifiers can be written into"
        )
    return found
