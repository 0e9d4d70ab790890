"""A C-STORE SCU on a blocking socket: the Upper Layer protocol (PS3.8 §9.3), and nothing else.

It sends a file's bytes from where the data set begins, whatever they are and
however many: pynetdicom would decode the command's UIDs, which must go as they
are in the file, and read the file into memory.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from struct import error as struct_error
from struct import unpack_from
from types import TracebackType
from typing import BinaryIO, Final, Self

from pacsless.errors import PacslessError, Unavailable
from pacsless.send.files import DicomFile
from pacsless.send.pdu import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    COMMAND,
    LAST,
    P_DATA,
    P_DATA_HEADER_BYTES,
    RELEASE_RQ_PDU,
    Answer,
    Context,
    Receiver,
    associate_rq,
    echo_rq,
    items,
    p_data_header,
    read_answer,
    store_rq,
)

VERIFICATION: Final = Context("1.2.840.10008.1.1", "1.2.840.10008.1.2")
"""What `Association.echo` needs, in the syntax everybody takes (PS3.5 §10.1)."""
MAX_CONTEXTS: Final = 128
"""Presentation contexts of one association: odd numbers in a byte (PS3.8 §9.3.2.2)."""
_MAX_SENT_PDU: Final = 256 << 10
_MAX_READ_PDU: Final = 1 << 20
# PS3.8 Table 9-21; the reasons by (source, number).
_REASONS: Final = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class ConnectionLost(Unavailable):
    """The receiver cannot be reached, went away or broke the protocol; worth another try."""


class Rejected(PacslessError):
    """The receiver does not want this association, for good."""


class NotAccepted(PacslessError):
    """The receiver does not take this SOP class in this transfer syntax."""


def back_off(attempt: int) -> float:
    """Return the seconds to wait before an attempt; the first again is number 1."""
    return min(0.25 * 2.0 ** (attempt - 1), 8.0)


class Association:
    """An established association. Use it as a context manager: it is released at the end.

    Parameters
    ----------
    receiver
        Where to.
    contexts
        At most 128.

    Raises
    ------
    ConnectionLost
        If nobody answers, or rejects only for now.
    Rejected
        If the receiver rejects it for good.
    """

    def __init__(self, receiver: Receiver, contexts: Sequence[Context]) -> None:
        self._message_id = 0
        self._accepted: dict[Context, int] = {}
        try:
            self._socket = socket.create_connection(
                (receiver.host, receiver.port), receiver.timeout
            )
        except OSError as error:
            raise ConnectionLost("no-connection", _told(error)) from None
        self._file = self._socket.makefile("rb")
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._send(associate_rq(receiver, contexts))
            self._pdu_size = self._negotiated(contexts)
        except BaseException:
            self.close()
            raise
        self._buffer = bytearray(self._pdu_size + 6)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._send(RELEASE_RQ_PDU)
                self._read_pdu()
        except ConnectionLost:
            return  # all answers have come; how it ends does not matter
        finally:
            self.close()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def store(self, file: DicomFile) -> Answer:
        """Send one file's data set and return what the receiver says.

        Raises
        ------
        NotAccepted
            If there is no presentation context for it.
        ConnectionLost
            If the connection breaks: it may be stored or not.
        OSError
            If the file cannot be read.
        """
        with open(file.path, "rb", buffering=0) as data_set:
            data_set.seek(file.data_set_offset)
            context = Context(file.sop_class_uid, file.transfer_syntax)
            return self.store_data_set(context, file.sop_instance_uid, data_set)

    def store_data_set(self, context: Context, sop_instance_uid: str, data_set: BinaryIO) -> Answer:
        """Send what is left of an open file, as `store` does."""
        context_id = self._context_id(context)
        self._message_id = self._message_id % 0xFFFF + 1
        command = store_rq(self._message_id, context.sop_class_uid, sop_instance_uid)
        self._send(p_data_header(context_id, COMMAND | LAST, len(command)) + command)
        self._send_data_set(context_id, data_set)
        return self._answer()

    def echo(self) -> Answer:
        """Ask for a sign of life; `VERIFICATION` has to be among the contexts.

        Raises
        ------
        NotAccepted
            If the receiver does not take it.
        ConnectionLost
            If the connection breaks.
        """
        context_id = self._context_id(VERIFICATION)
        self._message_id = self._message_id % 0xFFFF + 1
        command = echo_rq(self._message_id, VERIFICATION.sop_class_uid)
        self._send(p_data_header(context_id, COMMAND | LAST, len(command)) + command)
        return self._answer()

    def _context_id(self, context: Context) -> int:
        found = self._accepted.get(context)
        if found is None:
            raise NotAccepted(
                "not-accepted",
                f"the receiver does not take transfer syntax {context.transfer_syntax}",
            )
        return found

    def _send_data_set(self, context_id: int, data_set: BinaryIO) -> None:
        view = memoryview(self._buffer)
        limit = len(view) - P_DATA_HEADER_BYTES
        got = _fill(data_set, view[12:])
        while True:
            # A full buffer may be the last one: only the next read tells.
            following = data_set.read(1) if got == limit else b""
            view[:12] = p_data_header(context_id, 0 if following else LAST, got)
            self._send(view[: 12 + got])
            if not following:
                return
            view[12:13] = following
            got = 1 + _fill(data_set, view[13:])

    def _answer(self) -> Answer:
        command = bytearray()
        while True:
            kind, body = self._read_pdu()
            if kind != P_DATA:
                raise ConnectionLost("aborted", "the receiver aborted the association")
            position = 0
            while position + 6 <= len(body):
                (length,) = unpack_from(">L", body, position)
                command += body[position + 6 : position + 4 + length]
                if body[position + 5] & LAST:
                    answer = read_answer(bytes(command))
                    if answer is None:
                        raise ConnectionLost("protocol", "the receiver's answer has no status")
                    return answer
                position += 4 + length
            if len(command) > _MAX_READ_PDU:
                raise ConnectionLost("protocol", "the receiver's answer does not end")

    def _negotiated(self, contexts: Sequence[Context]) -> int:
        """Read the receiver's answer; return the largest PDU it takes."""
        kind, body = self._read_pdu()
        if kind == ASSOCIATE_RJ and len(body) >= 4:
            reason = _REASONS.get((body[2], body[3]), "no known reason")
            if body[1] == 1:
                raise Rejected("rejected", f"association rejected: {reason}")
            raise ConnectionLost("rejected", f"association rejected for now: {reason}")
        if kind != ASSOCIATE_AC:
            raise ConnectionLost("aborted", "the receiver aborted the association")
        size = 0
        for item, value in items(body[68:]):
            if item == 0x21 and len(value) >= 4 and value[2] == 0 and value[0] // 2 < len(contexts):
                self._accepted[contexts[value[0] // 2]] = value[0]
            elif item == 0x50:
                sizes = [found for one, found in items(value) if one == 0x51 and len(found) == 4]
                size = unpack_from(">L", sizes[0])[0] if sizes else 0
        # 0 means no limit (PS3.8 §D.1); less than a header makes no sense.
        return min(size, _MAX_SENT_PDU) if size > 12 else _MAX_SENT_PDU

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionLost("connection-lost", _told(error)) from None

    def _read_pdu(self) -> tuple[int, bytes]:
        try:
            head = self._file.read(6)
            kind, length = unpack_from(">BxL", head)
            if length > _MAX_READ_PDU:
                raise ConnectionLost("protocol", "the receiver sent a PDU that is too large")
            body = self._file.read(length)
        except OSError as error:
            raise ConnectionLost("connection-lost", _told(error)) from None
        except struct_error:
            raise ConnectionLost("connection-lost", "the receiver hung up") from None
        if len(body) < length:
            raise ConnectionLost("connection-lost", "the receiver hung up")
        return kind, body


def _fill(file: BinaryIO, view: memoryview) -> int:
    """Read until the view is full or the file ends."""
    got = 0
    while got < len(view) and (count := file.readinto(view[got:])):  # type: ignore[attr-defined]
        got += count
    return got


def _told(error: OSError) -> str:
    told = error.strerror or str(error) or type(error).__name__
    if isinstance(error, ConnectionRefusedError):
        told += ": nothing listens there; start the receiver (make up) or name another --port"
    return told
