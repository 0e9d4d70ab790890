"""A connection: whole PDUs out of a stream of bytes, in bounded memory and time (PS3.8 §9.3)."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from struct import unpack_from
from typing import Final

from scp_gateway.pdu import (
    HEADER_BYTES,
    MAX_ASSOCIATE_BYTES,
    SHORT_BYTES,
    AbortReason,
    BrokenProtocol,
    HungUp,
    PduType,
)

_FIRST_BUFFER: Final = 16 << 10
_TLS_HANDSHAKE: Final = 0x16
"""First byte of a ClientHello's record (RFC 8446 §5.1); no PDU's."""
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 4 << 20
_HANG_UP_SECONDS: Final = 1.0


class Connection:
    """Reads and writes PDUs.

    Reading blocks; how long it may is the business of `Watchdog`, which asks
    `is_late` from another thread: so a deadline is absolute, however slowly
    bytes trickle in, and costs nothing per read. One thread reads; any may send.

    Parameters
    ----------
    client
        A connected, blocking socket.
    first_seconds
        How long TLS handshake and A-ASSOCIATE-RQ may take, together.
    pdu_seconds
        How long a PDU may take from its first byte on.
    """

    def __init__(self, client: socket.socket, first_seconds: float, pdu_seconds: float) -> None:
        self._socket = client
        self._pdu_seconds = pdu_seconds
        self._first_deadline = time.monotonic() + first_seconds
        self._deadline = self._first_deadline
        """Of what is being read, in seconds of the monotonic clock."""
        self._send_deadline = float("inf")
        self._tls: _Tls | None = None
        self.limits: Mapping[int, int] = {
            PduType.ASSOCIATE_RQ: MAX_ASSOCIATE_BYTES,
            PduType.ABORT: SHORT_BYTES,
        }
        """Types of PDUs that may come, and the longest of each, without its header."""
        self._buffer = bytearray(_FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._expired = ""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._quick_ack()

    def secure(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Carry out the TLS handshake as the server.

        Raises
        ------
        HungUp
            If it fails: `why` is ``tls``.
        """
        try:
            secured = context.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            self._socket = secured
            secured.do_handshake()
        except OSError:
            raise HungUp(self._expired or "tls") from None
        self._tls = _Tls(secured, self._pdu_seconds)
        return secured

    def settle(self, limits: Mapping[int, int]) -> None:
        """Go over from negotiation to the association's PDUs, which are at most so long."""
        self.limits = limits
        self._first_deadline = float("inf")
        self._move(2 * (HEADER_BYTES + max(limits.values())))

    def read_pdu(self, idle_seconds: float) -> tuple[int, memoryview]:
        """Read the next PDU.

        Parameters
        ----------
        idle_seconds
            How long its first byte may be waited for.

        Returns
        -------
        tuple
            Type, and body without the header; valid until the next read.

        Raises
        ------
        BrokenProtocol
            If it is of a type or a length that may not come now. Nothing of its
            body was read.
        HungUp
            If the connection is over.
        """
        if self._expired:
            # Bytes that were there before the end was called for may still be read.
            raise HungUp(self._expired)
        is_waiting = False
        if self._end - self._start < HEADER_BYTES:
            self._fill(HEADER_BYTES, idle_seconds)
            is_waiting = True
        kind, length = unpack_from(">BxL", self._buffer, self._start)
        limit = self.limits.get(kind)
        if limit is None:
            known = kind in PduType.__members__.values()
            raise BrokenProtocol(
                AbortReason.UNEXPECTED_PDU if known else AbortReason.UNRECOGNIZED_PDU,
                "TLS on the port without TLS"
                if kind == _TLS_HANDSHAKE
                else "a PDU of a type that may not come now",
            )
        if length > limit:
            raise BrokenProtocol(AbortReason.INVALID_PARAMETER, "a PDU longer than was agreed on")
        size = HEADER_BYTES + length
        if self._end - self._start < size:
            # One deadline a PDU: it runs already if the header was waited for.
            self._fill(size, None if is_waiting else self._pdu_seconds)
        body = self._view[self._start + HEADER_BYTES : self._start + size]
        self._start += size
        self._deadline = self._first_deadline
        return kind, body

    def _fill(self, size: int, seconds: float | None) -> None:
        """Have `size` bytes in the buffer; wait `seconds` for the next one, if that is new."""
        begun = self._end > self._start
        if not begun:
            self._start = self._end = 0
        if seconds is not None:
            self._allow(self._pdu_seconds if begun else seconds)
        while self._end - self._start < size:
            room = len(self._buffer)
            if self._end == room or self._start + size > room >= size:
                # Memory grows with what has come, not with what was announced.
                self._move(min(2 * room, size))
            try:
                got = self._receive(self._view[self._end :])
            except OSError:
                raise HungUp(self._expired or "reset") from None
            if not got:
                raise HungUp(self._expired or "closed")
            self._quick_ack()
            self._end += got
            if not begun:
                begun = True
                self._allow(self._pdu_seconds)

    def _receive(self, into: memoryview) -> int:
        if self._tls is None:
            return self._socket.recv_into(into)
        return self._tls.receive(into)

    def _allow(self, seconds: float) -> None:
        self._deadline = min(self._first_deadline, time.monotonic() + seconds)

    def _move(self, size: int) -> None:
        """Have the unread bytes at the start of a buffer of at least `size`."""
        unread = self._end - self._start
        if size > len(self._buffer):
            buffer = bytearray(size)
            buffer[:unread] = self._view[self._start : self._end]
            self._buffer, self._view = buffer, memoryview(buffer)
        elif self._start:
            self._buffer[:unread] = self._buffer[self._start : self._end]
        self._start, self._end = 0, unread

    def _quick_ack(self) -> None:
        # Many senders leave Nagle's algorithm on, so they hold back the last
        # segment of an instance until everything before it is acknowledged. With
        # delayed acknowledgements that is 40 ms, twice an instance. Linux clears
        # the option by itself.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def send(self, data: bytes) -> None:
        """Send PDUs.

        Raises
        ------
        HungUp
            If the connection is over, or the peer does not take them in time.
        """
        self._send_deadline = time.monotonic() + self._pdu_seconds
        try:
            if self._tls is None:
                self._socket.sendall(data)
            else:
                self._tls.send(data)
        except OSError:
            raise HungUp(self._expired or "reset") from None
        self._send_deadline = float("inf")

    def try_send(self, data: bytes) -> bool:
        """Send a few bytes if that does not block; whether they were sent."""
        try:
            writable = select.poll()
            writable.register(self._socket.fileno(), select.POLLOUT)
            if not writable.poll(0):
                return False
            if self._tls is not None:
                return self._tls.try_send(data)
            self._socket.sendall(data)
        except (OSError, ValueError):  # closed meanwhile
            raise HungUp(self._expired or "reset") from None
        return True

    def is_late(self, clock: float) -> bool:
        """Whether something takes longer than it may."""
        return self._deadline < clock or self._send_deadline < clock

    def expire(self, why: str) -> None:
        """End what the connection waits for, from another thread; `HungUp` is raised there.

        A first time only reading is ended, so that an A-ABORT can still be sent.
        """
        first = not self._expired
        self._expired = why
        self._deadline = self._send_deadline = time.monotonic() + _HANG_UP_SECONDS
        try:
            # Not SSLSocket's own, which takes its TLS state from under the reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RD if first else socket.SHUT_RDWR)
        except OSError:
            return  # the peer was faster

    def close(self, farewell: bytes = b"") -> None:
        """Send `farewell`, wait a moment until the peer hangs up, and close (PS3.8 §9.1.5).

        Closing at once while bytes of the peer are unread would reset the
        connection, and the farewell would be lost with it.
        """
        self._deadline = time.monotonic() + _LINGER_SECONDS
        try:
            if farewell:
                self.send(farewell)
            if self._tls is not None:
                self._tls.close()
            elif farewell:
                self._socket.shutdown(socket.SHUT_WR)
                left = _LINGER_BYTES
                while left > 0 and (got := self._socket.recv_into(self._view)):
                    left -= got
        except (HungUp, OSError):
            return  # it is over all the same
        finally:
            self._deadline = self._send_deadline = float("inf")
            self._socket.close()


class _Tls:
    """Reading and sending on a TLS connection by two threads, which OpenSSL leaves to its callers.

    The reader waits for bytes outside the lock, so a sender waits for a TLS
    record under way at most.
    """

    def __init__(self, secured: ssl.SSLSocket, seconds: float) -> None:
        self._socket = secured
        self._seconds = seconds
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(secured.fileno(), select.POLLIN)

    def receive(self, into: memoryview) -> int:
        if not self._socket.pending():
            self._poll.poll()
        with self._lock:
            return self._socket.recv_into(into)

    def send(self, data: bytes) -> None:
        if not self._send(data, self._seconds):
            raise TimeoutError("a record of the peer does not end")

    def try_send(self, data: bytes) -> bool:
        """Send unless a record is being read or sent."""
        return self._send(data, 0)

    def _send(self, data: bytes, seconds: float) -> bool:
        if not self._lock.acquire(timeout=seconds):
            return False
        try:
            self._socket.sendall(data)
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Say that nothing follows (RFC 8446 §6.1), so that nobody takes it for a cut."""
        self._socket.unwrap()
