"""The back end's HTTP: takes the rows of a Stream Load."""

from __future__ import annotations

import re
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import tzinfo
from email.message import Message
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb

from pacsless.warehouse import strict
from pacsless.warehouse.endpoint import Handler
from pacsless.warehouse.faults import Fault, Faults
from pacsless.warehouse.labels import LabelExists, Transaction
from pacsless.warehouse.schema import DATABASE
from pacsless.warehouse.store import Store

_LOAD: Final = re.compile(r"/api/([^/]+)/([^/]+)/_stream_load")
_LABEL: Final = re.compile(r"[-_A-Za-z0-9]{1,128}")
_MAX_BYTES: Final = 256 * 1024 * 1024
# Headers that change what a load does and that this subset does not know: a load
# that relies on one fails here instead of meaning something else.
_UNSUPPORTED: Final = (
    "columns", "jsonpaths", "json_root", "where", "partitions", "temporary_partitions",
    "partial_columns", "unique_key_update_mode", "delete", "function_column.sequence_col",
    "two_phase_commit", "compress_type", "strip_outer_array",
)  # fmt: skip


_COUNTS: Final = {
    "NumberTotalRows": 0,
    "NumberLoadedRows": 0,
    "NumberFilteredRows": 0,
    "NumberUnselectedRows": 0,
    "LoadBytes": 0,
    "LoadTimeMs": 0,
}


class _Failed(Exception):
    """Why a load fails, as a back end words it."""


@dataclass(frozen=True, slots=True)
class _Options:
    strict: bool
    max_filter_ratio: float
    timezone: tzinfo


class BackEnd(Handler):
    """Answers as Doris's back end does: HTTP 200, and the outcome in the JSON."""

    store: ClassVar[Store]
    faults: ClassVar[Faults]
    error_logs: ClassVar[OrderedDict[str, str]]

    def do_GET(self) -> None:  # noqa: N802 -- the base class names it
        """Health, and the reasons why rows were refused."""
        parts = urlsplit(self.path)
        if parts.path == "/api/health":
            self.answer({"status": "OK", "msg": "To Be Added"})
        elif parts.path == "/api/_load_error_log":
            name = parse_qs(parts.query).get("file", [""])[0]
            text = self.error_logs.get(name)
            found = text is not None
            self.answer_bytes((text or "").encode(), "text/plain", 200 if found else 404)
        else:
            self.answer({"status": "FAILED", "msg": "Not Found"}, 404)

    def do_PUT(self) -> None:  # noqa: N802 -- the base class names it
        """Stream Load."""
        started = time.monotonic()
        label = self.headers.get("label") or str(uuid.uuid4())
        result: dict[str, Any] = {"TxnId": -1, "Label": label, "Comment": ""}
        result["TwoPhaseCommit"] = "false"
        transaction: Transaction | None = None
        failure = ""
        try:
            table = self._table()
            options = _options(self.headers)
            transaction = self.store.labels.begin(label)
            result["TxnId"] = transaction.id
        except LabelExists as taken:
            result |= {
                "Status": "Label Already Exists",
                "ExistingJobStatus": taken.job_status,
                "Message": f"[LABEL_ALREADY_EXISTS]Label [{label}] has already been used",
            }
        except _Failed as why:
            failure = str(why)
        try:
            body = self._body()
            if body is None:
                self.close_connection = True
                return
            if transaction is not None:
                fault = self.faults.take()
                if fault is Fault.LOST_REQUEST:
                    self.close_connection = True
                    return
                result |= self._run(table, options, body, transaction, fault)
                if fault is Fault.LOST_REPLY:
                    self.close_connection = True
                    return
            elif failure:
                result |= {"Status": "Fail", "Message": failure}
        finally:
            if transaction is not None and self.store.labels.state(label) == "PREPARE":
                self.store.labels.finish(transaction, "ABORTED")
        result["LoadTimeMs"] = int((time.monotonic() - started) * 1000)
        self.answer(_COUNTS | result)

    def _table(self) -> str:
        found = _LOAD.fullmatch(urlsplit(self.path).path)
        if not found:
            raise _Failed("[NOT_FOUND]no such path")
        if not self.authorized():
            raise _Failed("[NOT_AUTHORIZED]Access denied for the user and password given")
        if found[1] != DATABASE:
            raise _Failed(f"[ANALYSIS_ERROR]unknown database, database={found[1][:64]}")
        if found[2] not in self.store.tables:
            raise _Failed(f"[ANALYSIS_ERROR]unknown table, tableName={found[2][:64]}")
        return found[2]

    def _body(self) -> bytes | None:
        """Read the body; None if the client went away or sends what cannot be read."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BYTES:
            # Neither chunks nor giants can be skipped reliably.
            status = "[INVALID_ARGUMENT]Content-Length is missing or body exceed max size"
            self.answer(_COUNTS | {"Status": "Fail", "Message": status})
            return None
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        try:
            body = self.rfile.read(int(length))
        except OSError:
            return None
        return body if len(body) == int(length) else None

    def _run(
        self,
        name: str,
        options: _Options,
        body: bytes,
        transaction: Transaction,
        fault: Fault | None,
    ) -> dict[str, Any]:
        table = self.store.tables[name]
        batch = strict.read(
            body.split(b"\n"), table, strict=options.strict, timezone=options.timezone
        )
        refused = len(batch.refused)
        result: dict[str, Any] = {
            "NumberTotalRows": batch.total,
            "NumberFilteredRows": refused,
            "LoadBytes": len(body),
        }
        if refused:
            result["ErrorURL"] = self._error_log(batch.refused)
            result["FirstErrorMsg"] = batch.refused[0][1]
        if refused > options.max_filter_ratio * batch.total:
            message = "[DATA_QUALITY_ERROR]too many filtered rows"
            return result | {"Status": "Fail", "Message": message}
        if fault is Fault.TOO_MANY_VERSIONS:
            message = (
                "[E-235]failed to init rowset builder. version count: 2001, exceed limit: 2000, "
                f"tablet: 10001, table: {name}. Please reduce the frequency of loading data"
            )
            return result | {"Status": "Fail", "Message": message}
        try:
            self.store.load(table, batch.rows, transaction)
        except duckdb.Error as error:
            # The text may quote a row.
            message = f"[INTERNAL_ERROR]{type(error).__name__}"
            return result | {"Status": "Fail", "Message": message}
        self.store.labels.finish(transaction, "VISIBLE")
        result["NumberLoadedRows"] = len(batch.rows)
        if fault is Fault.PUBLISH_TIMEOUT:
            message = "[PUBLISH_TIMEOUT]transaction commit successfully, BUT data will be visible "
            return result | {"Status": "Publish Timeout", "Message": message + "later"}
        return result | {"Status": "Success", "Message": "OK"}

    def _error_log(self, refused: list[tuple[int, str]]) -> str:
        name = f"error_log_{uuid.uuid4().hex}"
        self.error_logs[name] = "\n".join(
            f"Reason: {reason}; line {number}" for number, reason in refused[:100]
        )
        while len(self.error_logs) > 100:
            self.error_logs.popitem(last=False)
        host, port = self.connection.getsockname()[:2]
        return f"http://{host}:{port}/api/_load_error_log?file={name}"


def _options(headers: Message) -> _Options:
    def flag(name: str) -> bool:
        return headers.get(name, "false").strip().lower() == "true"

    label = headers.get("label")
    if label is not None and not _LABEL.fullmatch(label):
        raise _Failed("[INVALID_ARGUMENT]the label does not match [-_A-Za-z0-9]{1,128}")
    mode = headers.get("group_commit", "off_mode").lower()
    if mode != "off_mode":
        if label is not None:
            raise _Failed("[INVALID_ARGUMENT]label and group_commit can't be set at the same time")
        raise _Failed("[NOT_IMPLEMENTED_ERROR]group_commit is not in this subset of Doris")
    if headers.get("format", "csv").lower() != "json" or not flag("read_json_by_line"):
        raise _Failed(
            "[NOT_IMPLEMENTED_ERROR]this subset of Doris loads format=json with "
            "read_json_by_line=true"
        )
    if headers.get("merge_type", "APPEND").upper() != "APPEND":
        raise _Failed("[NOT_IMPLEMENTED_ERROR]merge_type is not in this subset of Doris")
    for name in _UNSUPPORTED:
        if headers.get(name, "false").lower() != "false":
            raise _Failed(f"[NOT_IMPLEMENTED_ERROR]{name} is not in this subset of Doris")
    try:
        ratio = float(headers.get("max_filter_ratio", "0"))
        if not 0 <= ratio <= 1:
            raise ValueError
    except ValueError:
        raise _Failed("[INVALID_ARGUMENT]max_filter_ratio is not between 0 and 1") from None
    try:
        zone: tzinfo = ZoneInfo(headers.get("timezone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError):
        raise _Failed("[INVALID_ARGUMENT]timezone is not known") from None
    return _Options(flag("strict_mode"), ratio, zone)
