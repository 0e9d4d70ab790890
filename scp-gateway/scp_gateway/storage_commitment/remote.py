"""An N-EVENT-REPORT on an association of our own, with pynetdicom as the requestor.

The SCP of storage commitment opens it, so role selection has to say that it is
the SCP: PS3.4 §J.3.3, PS3.7 §D.3.3.4.
"""

from __future__ import annotations

import socket
import ssl
import time
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.presentation import build_context, build_role
from pynetdicom.transport import AddressInformation, AssociationSocket

from pacsless.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from scp_gateway.storage_commitment.report import event_information, event_type_id
from scp_gateway.storage_commitment.request import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE

if TYPE_CHECKING:
    from scp_gateway.application_entities import Remote
    from scp_gateway.storage_commitment.commitment import Commitment, Result

NO_TLS: Final = "no-tls-context"
"""Problem of a delivery that would need TLS."""
_MAX_PDU: Final = 1 << 20
_MAX_SECONDS: Final = 60.0


class Delivery(NamedTuple):
    """What became of a report."""

    status: int | None
    """The SCU's, or None if it gave none."""
    problem: str
    """Why there is no status; empty if there is one."""


class _BoundedSocket(AssociationSocket):
    """Reads PDUs in bounded memory and time; pynetdicom's own reader has no bounds."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`, or fewer if the other hangs up."""
        if nr_bytes > _MAX_PDU:
            raise OSError("the SCU announced a PDU larger than was negotiated")
        client = self.socket
        assert client is not None
        seconds = self.assoc.network_timeout or _MAX_SECONDS
        until = time.monotonic() + seconds
        found = bytearray()
        try:
            while len(found) < nr_bytes:
                client.settimeout(max(0.001, until - time.monotonic()))
                block = client.recv(nr_bytes - len(found))
                if not block:
                    break
                found += block
        finally:
            client.settimeout(seconds)  # for what is sent next
        return found


class _Entity(ApplicationEntity):
    def _create_socket(
        self,
        assoc: Association,
        address: AddressInformation,
        tls_args: tuple[ssl.SSLContext, str] | None,
    ) -> AssociationSocket:
        made = _BoundedSocket(assoc, address=address)
        made.tls_args = tls_args
        if made.socket is not None:
            made.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def report_to(
    remote: Remote,
    commitment: Commitment,
    result: Result,
    tls: ssl.SSLContext | None,
    *,
    connect_seconds: float,
    answer_seconds: float,
) -> Delivery:
    """Associate with the SCU, report the result, and release.

    Parameters
    ----------
    remote
        Where the SCU listens.
    commitment, result
        What to report.
    tls
        For a remote with TLS.
    connect_seconds
        How long it may take to connect.
    answer_seconds
        How long the SCU may take for each of its answers.
    """
    if remote.tls and tls is None:
        return Delivery(None, NO_TLS)
    entity = _Entity(ae_title=commitment.called_ae_title)
    entity.connection_timeout = connect_seconds
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = answer_seconds
    association = entity.associate(
        remote.host,
        remote.port,
        [build_context(STORAGE_COMMITMENT, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])],
        ae_title=commitment.calling_ae_title,
        ext_neg=[build_role(STORAGE_COMMITMENT, scu_role=False, scp_role=True)],
        tls_args=(tls, remote.host) if remote.tls and tls is not None else None,
    )
    if not association.is_established:
        return Delivery(None, "rejected" if association.is_rejected else "unreachable")
    try:
        return _report(association, commitment, result)
    finally:
        if association.is_established:
            association.release()


def _report(association: Association, commitment: Commitment, result: Result) -> Delivery:
    contexts = association.accepted_contexts
    if not contexts:
        return Delivery(None, "context-not-accepted")
    # Not asked for: whether the SCU confirmed our role. Some that answer reports
    # never do, and one that does not want the report says so in its status.
    response, _ = association.send_n_event_report(
        _data_set(commitment, result, str(contexts[0].transfer_syntax[0])),
        event_type_id(result.failures),
        STORAGE_COMMITMENT,
        STORAGE_COMMITMENT_INSTANCE,
    )
    status = response.get("Status")
    return Delivery(status, "") if isinstance(status, int) else Delivery(None, "no-answer")


def _data_set(commitment: Commitment, result: Result, transfer_syntax: str) -> Dataset:
    """Wrap the encoded Event Information for pynetdicom.

    pydicom reads the values of elements when they are asked for. Nobody does,
    so pynetdicom writes the same bytes, without the seconds that thousands of
    items take.
    """
    information = event_information(
        commitment.transaction_uid, commitment.references, result.failures, transfer_syntax
    )
    implicit = transfer_syntax == IMPLICIT_VR_LITTLE_ENDIAN
    found = read_dataset(BytesIO(information), implicit, True, len(information))
    found.set_original_encoding(implicit, True)
    return found
