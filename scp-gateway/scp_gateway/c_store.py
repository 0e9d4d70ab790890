"""One C-STORE: what its command says, before its data set (PS3.7 §9.1.1)."""

from __future__ import annotations

from pacsless.archive import Sealed
from pacsless.dicom.part10 import file_meta
from pacsless.identity import valid_uid
from pacsless.storage import Reception, Refused, Sender, Status, StorageService
from pacsless.storage.received import Received
from scp_gateway.asked import Request
from scp_gateway.presentation import OTHER_SERVICES


class CStore(Reception):
    """A data set on its way into the archive; File Meta Information of ours goes before it.

    Parameters
    ----------
    service
        Where it goes.
    request
        What the command says of it.
    sender
        Who sends it.
    """

    VIA = "C-STORE"
    SOURCE = "/scp-gateway"

    def __init__(self, service: StorageService, request: Request, sender: Sender) -> None:
        super().__init__(service, sender)
        self._request = request
        self.sop_class_uid = request.sop_class_uid
        self.sop_instance_uid = request.sop_instance_uid
        self.transfer_syntax = request.transfer_syntax
        self.open()

    def head(self) -> bytes:
        """Look at the command; make the File Meta Information."""
        request = self._request
        if request.abstract_syntax in OTHER_SERVICES:
            raise Refused(
                Status.SOP_CLASS_NOT_SUPPORTED, "no-storage", "the context is of another service"
            )
        valid_uid(request.sop_class_uid, "Affected SOP Class UID")
        valid_uid(request.sop_instance_uid, "Affected SOP Instance UID")
        if request.sop_class_uid != request.abstract_syntax:
            raise Refused(
                Status.DOES_NOT_MATCH, "sop-class", "not the SOP Class of the presentation context"
            )
        return file_meta(request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax)

    def scan(self, received: Received, sealed: Sealed) -> int:
        """Find the data set to be what the command says."""
        self.identifiers = received.identifiers(sealed, self.transfer_syntax)
        self.must_have(self.identifiers, self.sop_class_uid, self.sop_instance_uid)
        return received.offset
