"""One PS3.10 file of a store request, on its way into the archive."""

from __future__ import annotations

from typing import Final

from pacsless.archive import Sealed
from pacsless.dicom.part10 import split_part10
from pacsless.dicom.scan import ScanError, scan
from pacsless.dicom.transfer_syntaxes import is_storable
from pacsless.identity import valid_uid
from pacsless.storage import Answer, Reception, Refused, Sender, Status, StorageService
from pacsless.storage.received import Received

_PREAMBLE: Final = 128
_PREFIX: Final = b"DICM"
_META: Final = b"\x02\0"


class File(Reception):
    """A file on its way into the archive, which keeps it byte for byte.

    What pydicom writes of a data set made in memory has no preamble, and clients
    send that: it gets one, as all that is kept is to be read as PS3.10 files.

    Parameters
    ----------
    service
        Where it goes.
    sender
        Who sends it.
    study
        Study Instance UID it must have, or empty for any.
    """

    VIA = "STOW-RS"
    SOURCE = "/functions/stow_rs"

    def __init__(self, service: StorageService, sender: Sender, study: str) -> None:
        super().__init__(service, sender)
        self._study = study
        self._beginning = bytearray()
        """As long as it is too short to tell whether there is a preamble."""
        self.open()

    def head(self) -> bytes:
        """Begin with what is sent."""
        return b""

    def write(self, fragment: bytes | memoryview) -> None:
        """Take the next fragment."""
        if self.bytes:
            super().write(fragment)
            return
        self._beginning += fragment
        if len(self._beginning) >= _PREAMBLE + len(_PREFIX):
            self._begin()

    def finish(self) -> Answer:
        """Store what was received, and say what to answer."""
        if self._beginning:
            self._begin()
        return super().finish()

    def _begin(self) -> None:
        beginning, self._beginning = bytes(self._beginning), bytearray()
        super().write(_missing(beginning) + beginning)

    def scan(self, received: Received, sealed: Sealed) -> int:
        """Read the File Meta Information, and find the data set to be what it says."""
        with open(self.service.archive.path_of(sealed), "rb") as file:
            part10 = split_part10(file)
            if not part10.has_meta:
                raise ScanError("not-dicom", "there is no File Meta Information (PS3.10 §7.1)")
            self.sop_class_uid = part10.sop_class_uid
            self.sop_instance_uid = part10.sop_instance_uid
            self.transfer_syntax = valid_uid(part10.transfer_syntax, "TransferSyntaxUID")
            if not is_storable(self.transfer_syntax):
                raise Refused(
                    Status.TRANSFER_SYNTAX_NOT_SUPPORTED,
                    "transfer-syntax",
                    "the transfer syntax is none that instances are stored in",
                )
            self.identifiers = found = scan(file, self.transfer_syntax)
        announced = part10.sop_class_uid, part10.sop_instance_uid
        self.sop_class_uid = found.sop_class_uid or self.sop_class_uid
        self.sop_instance_uid = found.sop_instance_uid or self.sop_instance_uid
        self.must_have(found, *announced)
        if self._study and found.study_instance_uid != self._study:
            raise Refused(
                Status.DOES_NOT_MATCH, "study", "the instance is of another study than the address"
            )
        return part10.dataset_offset


def _missing(beginning: bytes) -> bytes:
    """Return what a file lacks before the bytes it begins with."""
    if beginning[_PREAMBLE:].startswith(_PREFIX):
        return b""
    if beginning.startswith(_PREFIX):
        return bytes(_PREAMBLE)
    return bytes(_PREAMBLE) + _PREFIX if beginning.startswith(_META) else b""
