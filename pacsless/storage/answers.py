"""What becomes of an instance: PS3.4 Table B.2-1, PS3.7 §9.1.1.1.9.

PS3.18 Table 10.5.3-2 has the same codes as Failure Reason (0008,1197).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pacsless.dicom.scan import ScanError
from pacsless.errors import InvalidIdentity, PacslessError
from pacsless.identity import valid_uid


class Status(IntEnum):
    """What a sender is told."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends, and to which tenant."""

    tenant_id: str
    calling_ae_title: str
    called_ae_title: str
    remote_address: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an instance."""

    status: Status
    outcome: str
    """``stored``, ``duplicate``, ``quarantined`` or ``refused``."""
    reason: str = ""
    """Code of the error, empty if stored."""
    comment: str = ""
    """Error Comment (0000,0902)."""


class Refused(PacslessError):
    """The instance is not stored, and this is why."""

    def __init__(self, status: Status, code: str, message: str) -> None:
        super().__init__(code, message)
        self.answer = Answer(status, "refused", code, str(self))


def refusal(error: Exception) -> Answer:
    """Answer for an instance that was not stored because of `error`."""
    match error:
        case Refused():
            return error.answer
        case ScanError() | InvalidIdentity():
            return Answer(Status.CANNOT_UNDERSTAND, "refused", error.code, str(error))
        case PacslessError():  # the archive, or the journal
            return Answer(Status.OUT_OF_RESOURCES, "refused", error.code, str(error))
        case OSError():
            what = f"the system refuses: {error.strerror or type(error).__name__}"
            return Answer(Status.OUT_OF_RESOURCES, "refused", "system", what)
        case _:
            return Answer(Status.PROCESSING_FAILURE, "refused", "bug", "see the server's log")


def uid_or_nothing(value: str) -> str:
    """Leave out what is no UID: it may be anything, a patient's name included."""
    try:
        return valid_uid(value)
    except InvalidIdentity:
        return ""
