"""CT instances to send: files made once, given new UIDs before every measurement.

Nobody may recognise an instance from the measurement before, and writing a
gigabyte of files anew would be measured too. All UIDs have the same length, so
a file gets new ones by overwriting its head.
"""

from __future__ import annotations

import os
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pacsless.burst.templates import Identifiers, Template, new_run


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
        self._template = Template.of(_dataset(side))
        self.size = len(self._template.content)

    def fresh(self, count: int, associations: int) -> list[list[Path]]:
        """Instances nobody has seen, a study and series for each association."""
        run = new_run()
        for number in range(len(self._paths), count):
            self._paths.append(self._folder / f"{number:05}.dcm")
            self._paths[-1].write_bytes(self._template.content)
        head = bytearray(self._template.content[: self._template.head])
        for number, path in enumerate(self._paths[:count]):
            part = number % associations + 1
            self._template.write(Identifiers.of(run, part, 1, number + 1), head)
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, head, 0)
            finally:
                os.close(descriptor)
        return [self._paths[:count][part::associations] for part in range(associations)]


def _dataset(side: int) -> Dataset:
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    ds: Dataset = pydicom.dcmread(path)
    # Four kilobytes of one vendor's private elements would be half of the small object.
    ds.remove_private_tags()
    del ds.DataSetTrailingPadding
    ds.Rows = ds.Columns = side
    ds.PixelData = os.urandom(side * side * 2)
    return ds
