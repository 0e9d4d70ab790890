"""What is stored and then read: studies of CTs, and one long multi-frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from pacsless.burst.templates import Identifiers, Template, new_run

_SERIES = 250
"""Most instances of a series."""
_SIDE, _SMALL_SIDE = 512, 56


@dataclass(frozen=True, slots=True)
class Stored:
    """A study.

    Attributes
    ----------
    instances
        Its instances' identifiers, in the order they were made.
    files
        One for each.
    pixels
        Bytes of a frame.
    frames
        Of each instance.
    """

    instances: Sequence[Identifiers]
    files: Sequence[Path]
    pixels: int
    frames: int = 1

    @property
    def path(self) -> str:
        """Of the study, below DICOMweb's root."""
        return f"/studies/{self.instances[0].study_instance_uid}"

    def by_path(self) -> Iterator[tuple[str, Identifiers]]:
        """Its instances, each with its path below DICOMweb's root."""
        for one in self.instances:
            series = f"/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
            yield f"{series}/instances/{one.sop_instance_uid}", one

    def instance_paths(self) -> list[str]:
        """Paths of its instances below DICOMweb's root."""
        return [path for path, _ in self.by_path()]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is stored: the design's, or less for a quick look."""

    scans: int = 400
    metadata: tuple[int, ...] = (100, 1000, 5000)
    frames: int = 200


def make(folder: Path, sizes: Sizes) -> dict[str, Stored]:
    """Write files; by name ``scan``, ``long``, and the number of instances of the others."""
    large, small = Template.of(_scan(_SIDE)), Template.of(_scan(_SMALL_SIDE))
    long = Template.of(_multi_frame(sizes.frames))
    pixels = _SIDE * _SIDE * 2
    return {
        "scan": Stored(*_write(folder / "scan", large, sizes.scans, sizes.scans), pixels),
        **{
            str(count): Stored(*_write(folder / str(count), small, count, _SERIES), 0)
            for count in sizes.metadata
        },
        "long": Stored(*_write(folder / "long", long, 1, 1), pixels, sizes.frames),
    }


def _write(
    folder: Path, template: Template, count: int, in_series: int
) -> tuple[list[Identifiers], list[Path]]:
    """Write a study's files."""
    folder.mkdir(parents=True)
    run, content = new_run(), bytearray(template.content)
    instances, files = [], []
    for number in range(count):
        instances.append(Identifiers.of(run, 1, number // in_series + 1, number + 1))
        template.write(instances[-1], content)
        files.append(folder / f"{number:05}.dcm")
        files[-1].write_bytes(content)
    return instances, files


def _scan(side: int) -> Dataset:
    """A CT whose pixels are a picture: a decoder and an encoder find in noise what no scan has."""
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    ds: Dataset = pydicom.dcmread(path)
    ds.remove_private_tags()
    del ds.DataSetTrailingPadding
    picture = Image.fromarray(ds.pixel_array.astype(np.float32))
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
    ds.Rows = ds.Columns = side
    ds.PixelData = pixels.clip(-2048, 4095).astype("<i2").tobytes()
    return ds


def _multi_frame(frames: int) -> Dataset:
    ds = _scan(_SIDE)
    ds.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.PixelRepresentation = 0
    frame = (np.frombuffer(ds.PixelData, "<i2").astype(np.int32) + 2048).astype("<u2")
    # No frame is the same as another: a server that sends the wrong one is found out.
    ds.PixelData = b"".join((frame + number).astype("<u2").tobytes() for number in range(frames))
    ds.NumberOfFrames = frames
    return ds
