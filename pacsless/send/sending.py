"""Sending many files: over several associations, again when that may help, with an account."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pacsless.send.association import (
    MAX_CONTEXTS,
    Association,
    ConnectionLost,
    NotAccepted,
    Rejected,
    back_off,
)
from pacsless.send.files import DicomFile, Skipped, files_below, look
from pacsless.send.pdu import Context, Receiver

# PS3.4 Table B.2-1 and PS3.7 §9.1.1.1.9; the last digits of A7, A9, B0 and C are the receiver's.
_MEANINGS: Final = (
    (0x0000, 0xFFFF, "stored"),
    (0x0110, 0xFFFF, "processing failure"),
    (0x0111, 0xFFFF, "stored before with other content"),
    (0x0122, 0xFFFF, "SOP class not supported"),
    (0x0124, 0xFFFF, "not authorised"),
    (0xA700, 0xFF00, "out of resources"),
    (0xA900, 0xFF00, "data set does not match"),
    (0xB000, 0xF000, "stored with a warning"),
    (0xC000, 0xF000, "cannot be understood"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where to send to, and how."""

    host: str = "127.0.0.1"
    port: int = 11112
    called_ae_title: str = "PACSLESS"
    calling_ae_title: str = "PACSLESS_SEND"
    jobs: int = 1
    """Associations at a time."""
    retries: int = 5
    """How often to try a file again after A7xx or a lost connection."""
    timeout: float = 120.0
    """Seconds to wait for the receiver."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file."""

    file: DicomFile
    status: int | None
    """DIMSE status; None if there is none: rejected, lost, not readable."""
    detail: str
    """The receiver's Error Comment, or why there is no status."""
    acknowledged_at: str
    """When the answer came, ISO 8601, UTC; empty if none did."""

    @property
    def stored(self) -> bool:
        """Whether the receiver has it: success or warning."""
        return self.status is not None and (self.status == 0 or self.status & 0xF000 == 0xB000)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "path": str(self.file.path),
            "status": self.status,
            "meaning": meaning(self.status),
            "detail": self.detail,
            "sop_class_uid": self.file.sop_class_uid,
            "transfer_syntax": self.file.transfer_syntax,
            "study_instance_uid": self.file.study_instance_uid,
            "series_instance_uid": self.file.series_instance_uid,
            "sop_instance_uid": self.file.sop_instance_uid,
            "acknowledged_at": self.acknowledged_at,
        }


@dataclass(slots=True)
class Summary:
    """What became of all files."""

    files: list[FileResult] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    bytes: int = 0
    """Of the data sets that were answered."""
    seconds: float = 0.0

    @property
    def failed(self) -> list[FileResult]:
        """Files the receiver does not have."""
        return [one for one in self.files if not one.stored]

    @property
    def exit_code(self) -> int:
        """0 if there was something to send and all is stored, else 1."""
        return 0 if self.files and not self.failed else 1

    @property
    def last_acknowledged_at(self) -> str:
        """When the last answer came."""
        return max((one.acknowledged_at for one in self.files), default="")

    @property
    def statuses(self) -> Counter[int | None]:
        """How many files got which status."""
        return Counter(one.status for one in self.files)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "stored": len(self.files) - len(self.failed),
            "failed": len(self.failed),
            "statuses": {
                code(status): {"count": count, "meaning": meaning(status)}
                for status, count in self.statuses.most_common()
            },
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "last_acknowledged_at": self.last_acknowledged_at,
            "files": [one.as_dict() for one in self.files],
            "skipped": [{"path": str(one.path), "reason": one.reason} for one in self.skipped],
        }


def code(status: int | None) -> str:
    """Write a status as DICOM does: ``A700``."""
    return "none" if status is None else f"{status:04X}"


def meaning(status: int | None) -> str:
    """Say what a status means."""
    if status is None:
        return "not acknowledged"
    for value, mask, text in _MEANINGS:
        if status & mask == value:
            return text
    return "unknown status"


def send_paths(
    paths: Iterable[Path],
    options: Options,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Send files, and all files below folders.

    Parameters
    ----------
    paths
        Files and folders.
    options
        Where to and how.
    on_progress
        Called with the numbers of files done and in all, from several threads
        but one at a time.
    """
    summary = Summary()
    files: list[DicomFile] = []
    for one in map(look, files_below(paths)):
        if isinstance(one, Skipped):
            summary.skipped.append(one)
        else:
            files.append(one)
    on_progress(0, len(files))
    started = time.monotonic()
    results: dict[Path, FileResult] = {}
    lock = threading.Lock()

    def finished(result: FileResult) -> None:
        with lock:
            results[result.file.path] = result
            if result.status is not None:
                summary.bytes += result.file.data_set_bytes
            on_progress(len(results), len(files))

    for contexts, some in _by_contexts(files):
        _Round(options, contexts, some, finished).run()
    summary.seconds = time.monotonic() - started
    summary.files = [results[one.path] for one in files]
    return summary


def _by_contexts(
    files: Sequence[DicomFile],
) -> Iterator[tuple[list[Context], list[DicomFile]]]:
    """Split files into rounds whose presentation contexts fit one association."""
    groups: dict[Context, list[DicomFile]] = {}
    for one in files:
        context = Context(one.sop_class_uid, one.transfer_syntax)
        groups.setdefault(context, []).append(one)
    contexts = list(groups)
    for start in range(0, len(contexts), MAX_CONTEXTS):
        chosen = contexts[start : start + MAX_CONTEXTS]
        yield chosen, [one for context in chosen for one in groups[context]]


class _Round:
    """Files that go over associations with the same presentation contexts."""

    def __init__(
        self,
        options: Options,
        contexts: Sequence[Context],
        files: Sequence[DicomFile],
        finished: Callable[[FileResult], None],
    ) -> None:
        self._options = options
        self._contexts = contexts
        self._finished = finished
        self._waiting: queue.SimpleQueue[DicomFile] = queue.SimpleQueue()
        for one in files:
            self._waiting.put(one)
        self._jobs = max(1, min(options.jobs, len(files)))
        self._given_up = ""

    def run(self) -> None:
        """Send all of them."""
        workers = [threading.Thread(target=self._work) for _ in range(self._jobs)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()

    def _work(self) -> None:
        association: Association | None = None
        while True:
            try:
                file = self._waiting.get_nowait()
            except queue.Empty:
                break
            association, result = self._send(association, file)
            self._finished(result)
        if association is not None:
            association.__exit__(None, None, None)

    def _send(
        self, association: Association | None, file: DicomFile
    ) -> tuple[Association | None, FileResult]:
        """Send a file, on the association or a new one, until something final is known."""
        result = FileResult(file, None, self._given_up, "")
        for attempt in range(self._options.retries + 1):
            if self._given_up:
                return association, FileResult(file, result.status, self._given_up, "")
            if attempt:
                time.sleep(back_off(attempt))
            try:
                if association is None:
                    association = self._associate()
                answer = association.store(file)
            except ConnectionLost as error:
                if association is not None:
                    association.__exit__(type(error), error, None)
                    association = None
                result = FileResult(file, None, error.message, "")
                continue
            except (NotAccepted, Rejected) as error:
                return association, FileResult(file, None, error.message, "")
            except OSError as error:
                # Half a data set may be out: only a new association starts afresh.
                if association is not None:
                    association.__exit__(type(error), error, None)
                return None, FileResult(file, None, error.strerror or "cannot read the file", "")
            result = FileResult(file, answer.status, answer.comment, datetime.now(UTC).isoformat())
            if answer.status & 0xFF00 != 0xA700:
                break
        return association, result

    def _associate(self) -> Association:
        receiver = Receiver(
            self._options.host,
            self._options.port,
            self._options.called_ae_title,
            self._options.calling_ae_title,
            self._options.timeout,
        )
        for attempt in range(self._options.retries + 1):
            if attempt:
                time.sleep(back_off(attempt))
            try:
                return Association(receiver, self._contexts)
            except Rejected as error:
                self._given_up = error.message
                raise
            except ConnectionLost as error:
                lost = error
        # Nobody is there: the other files need not find out one by one.
        self._given_up = f"{self._options.host}:{self._options.port}: {lost.message}"
        raise lost
