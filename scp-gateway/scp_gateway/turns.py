"""Whose turn it is to speak on an association."""

from __future__ import annotations

import threading

from scp_gateway.connection import Connection


class Turns:
    """Keeps what the gateway says on its own account between the messages of the sender.

    The association's thread says when a message begins and when it is dealt
    with; other threads wait for that.

    Parameters
    ----------
    connection
        Where everything is sent.
    """

    def __init__(self, connection: Connection) -> None:
        self.changed = threading.Condition()
        self.is_over = False
        """Whether the association has ended."""
        self._connection = connection
        self._is_between = True

    def begin(self) -> None:
        """Say that a message is coming."""
        if self._is_between:
            with self.changed:
                self._is_between = False

    def end(self, answer: bytes = b"") -> None:
        """Send the answer, and say that nothing is under way.

        Raises
        ------
        HungUp
            If the connection is over.
        """
        with self.changed:
            if answer:
                self._connection.send(answer)
            self._is_between = True
            self.changed.notify_all()

    def send_between(self, pdus: bytes, seconds: float = 0.0) -> bool:
        """Send something while no message is under way, from any thread; whether it was sent.

        Raises
        ------
        HungUp
            If the connection is over.
        """
        with self.changed:
            self.changed.wait_for(lambda: self._is_between or self.is_over, seconds)
            if self.is_over or not self._is_between:
                return False
            self._connection.send(pdus)
            return True

    def try_send_between(self, pdus: bytes) -> bool:
        """Do that if nobody has to be waited for; whether it was sent.

        Raises
        ------
        HungUp
            If the connection is over.
        """
        if not self.changed.acquire(blocking=False):
            return False
        try:
            if self.is_over or not self._is_between:
                return False
            return self._connection.try_send(pdus)
        finally:
            self.changed.release()

    def close(self) -> None:
        """Say that the association has ended."""
        with self.changed:
            self.is_over = True
            self.changed.notify_all()
