"""CT instances to send: files made once, given new UIDs before every measurement.

Nobody may recognise an instance from the measurement before, and writing a
gigabyte of files anew would be measured too. All UIDs have the same length, so
a file gets new ones by overwriting its head.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

_ROOT = "1.2.826.0.1.3680043.8.498."
_FIRST = 100_000
"""Numbers in UIDs start here: all have six digits."""


class Instances:
    """Files of one size.

    Parameters
    ----------
    folder
        Where they are made; in memory if possible, so that the sender does not
        use the disk that the receiver writes to.
    side
        Rows and columns of 16-bit pixels.
    limit
        Most instances there will ever be.
    """

    def __init__(self, folder: Path, side: int, limit: int) -> None:
        self.limit = limit
        self._folder = folder
        folder.mkdir(parents=True)
        self._paths: list[Path] = []
        self._uids = _uids("1" + "0" * 17, 0, 0)
        self._content = _content(side, *self._uids)
        self.size = len(self._content)
        last = max(self._content.rindex(uid.encode()) + len(uid) for uid in self._uids)
        self._head = self._content[:last]

    def fresh(self, count: int, associations: int) -> list[list[Path]]:
        """Instances nobody has seen, a study and series for each association."""
        run = str(secrets.randbelow(9 * 10**17) + 10**17)
        for number in range(len(self._paths), count):
            self._paths.append(self._folder / f"{number:05}.dcm")
            self._paths[-1].write_bytes(self._content)
        for number, path in enumerate(self._paths[:count]):
            head = self._head
            for old, new in zip(self._uids, _uids(run, number, number % associations), strict=True):
                head = head.replace(old.encode(), new.encode())
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, head, 0)
            finally:
                os.close(descriptor)
        return [self._paths[:count][part::associations] for part in range(associations)]


def _uids(run: str, number: int, part: int) -> tuple[str, str, str]:
    """UIDs of study, series and instance."""
    return (
        f"{_ROOT}{run}.1.{_FIRST + part}",
        f"{_ROOT}{run}.2.{_FIRST + part}",
        f"{_ROOT}{run}.3.{_FIRST + number}",
    )


def _content(side: int, study: str, series: str, instance: str) -> bytes:
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    ds: Dataset = pydicom.dcmread(path)
    # Four kilobytes of one vendor's private elements would be half of the small object.
    ds.remove_private_tags()
    del ds.DataSetTrailingPadding
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, instance
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.Rows = ds.Columns = side
    ds.PixelData = os.urandom(side * side * 2)
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return bytes(buffer.getvalue())
