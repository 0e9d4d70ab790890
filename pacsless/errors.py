"""The fates of a failure, and the HTTP status that says so.

An event's failure has one of three fates (DECISIONS.md, "Three fates"): a
permanent one goes to the dead letters, a dependency that is down pauses the
trigger, and a busy one is tried again. Knative and our own trigger both read
the fate from the HTTP status alone: every 4xx but 404, 408, 409 and 429 is
final, and everything else is retried.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar


class PacslessError(Exception):
    """Base of every error this project raises on purpose.

    Parameters
    ----------
    code
        A short kebab-case word for programs: ``"truncated"``, ``"no-broker"``.
    message
        What is wrong, where, and what to do. Never holds patient data: it is
        answered to callers, logged and written to the dead letters.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Unprocessable(PacslessError):
    """No retry can mend it: the event goes to the dead letters."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Unavailable(PacslessError):
    """A dependency is down: pause, back off, try again for ever."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Busy(PacslessError):
    """Somebody else is at it: try again soon."""

    status = HTTPStatus.CONFLICT


class InvalidIdentity(Unprocessable):
    """A UID or a tenant name that must not become a path."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(PacslessError):
    """There is no such object for this tenant."""

    status = HTTPStatus.NOT_FOUND


class BadRequest(PacslessError):
    """The request cannot be understood."""

    status = HTTPStatus.BAD_REQUEST


class TooLarge(PacslessError):
    """More than is answered or taken at once."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NotAcceptable(PacslessError):
    """None of the media types the client accepts can be produced."""

    status = HTTPStatus.NOT_ACCEPTABLE

    @classmethod
    def so(cls, error: PacslessError) -> NotAcceptable:
        """Say that an instance has no such form: its file is as its sender made it."""
        return cls(error.code, f"the instance cannot be sent so: {error.message}")
