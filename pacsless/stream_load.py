"""Stream Load: rows into Apache Doris, each batch once.

Two hops, because the front end answers with a redirect that carries the password
and would otherwise be sent the rows as well: an empty PUT asks where to, then the
rows go to a back end that the settings allow, with our own credentials.

A batch has a label. Doris refuses a label it has loaded, so repeating a batch whose
outcome is unknown is safe; an aborted label may be used again. Doris forgets labels
(12 hours, or 2,000 loads), and from then on unique keys and the sequence column
make a repeat harmless (`pacsless.columns`).
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import urlsplit

import urllib3

from pacsless import strict_json
from pacsless.errors import Unavailable, Unprocessable
from pacsless.reach import shown
from pacsless.settings import Settings

_LABEL: Final = re.compile(r"[-_A-Za-z0-9]{1,128}")
_COMMITTED: Final = {"VISIBLE", "COMMITTED"}
_UNDER_WAY: Final = {"PREPARE", "PRECOMMITTED"}
# What Doris says of rows or headers that no retry can mend. Everything else it
# may say is treated as an outage: a wrong guess then waits, and loses nothing.
_PERMANENT: Final = re.compile(
    r"DATA_QUALITY_ERROR|too many filtered rows|INVALID_ARGUMENT|exceed max size|parse json",
    re.IGNORECASE,
)
_TOO_MANY_VERSIONS: Final = re.compile(r"-235\b|TOO_MANY_VERSION")
_CODE: Final = re.compile(r"\[([A-Z0-9_-]{2,40})\]")


class DataQuality(Unprocessable):
    """Doris refused rows.

    Attributes
    ----------
    total, filtered
        Rows it read, and rows it refused.
    error_url
        Where the back end tells the reasons. It quotes the rows: patient data.
    """

    def __init__(self, message: str, total: int, filtered: int, error_url: str) -> None:
        super().__init__("data-quality", message)
        self.total = total
        self.filtered = filtered
        self.error_url = error_url


class OutcomeUnknown(Unavailable):
    """Nobody could say yet whether the batch was loaded; repeat it with the same label."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch that is committed.

    Parameters
    ----------
    label
        Its label.
    rows
        Rows it held.
    before
        Whether an earlier attempt had committed it.
    """

    label: str
    rows: int
    before: bool = False


class StreamLoad:
    """Loads batches of rows into the tables of one database.

    Parameters
    ----------
    url
        Address of a front end, ``http://host:8030``.
    database, user, password
        Where to, and as whom (``LOAD_PRIV``).
    redirect_hosts
        Back ends the front end may name: ``host:port`` or ``.suffix:port``.
    timeout
        Seconds one load may take.
    patience
        Seconds to wait for the outcome of a load that is still running.
    """

    def __init__(
        self,
        url: str,
        database: str,
        user: str,
        password: str,
        redirect_hosts: Iterable[str],
        *,
        timeout: float = 60,
        patience: float = 30,
    ) -> None:
        self._url = url.rstrip("/")
        self._database = database
        self._allowed = tuple(redirect_hosts)
        self._timeout = timeout
        self._patience = patience
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._auth = {"Authorization": f"Basic {secret}"}
        self._http = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=5, read=timeout), maxsize=8
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build the client the settings describe."""
        return cls(
            settings.doris,
            settings.doris_database,
            settings.doris_user,
            settings.doris_password,
            settings.doris_redirect_hosts,
        )

    def check(self) -> None:
        """Ask the front end whether it is there, for readiness.

        Raises
        ------
        Unavailable
            If it is not.
        """
        try:
            status = self._http.request(
                "GET", f"{self._url}/api/health", headers=self._auth, timeout=2.0, redirect=False
            ).status
        except urllib3.exceptions.HTTPError:
            status = 0
        if status != 200:
            told = f"it answers {status}" if status else "no answer"
            raise Unavailable(
                "warehouse-down",
                f"no healthy Doris front end at {shown(self._url)} (PACSLESS_DORIS): {told}",
            )

    def load(self, table: str, rows: Sequence[Mapping[str, Any]], label: str) -> Loaded:
        """Load a batch; when this returns, it is committed.

        Parameters
        ----------
        table
            Name of the table.
        rows
            Column name to JSON value; times are UTC, ``YYYY-MM-DD hh:mm:ss.ffffff``.
        label
            ``[-_A-Za-z0-9]{1,128}``, the same for the same rows and no others.

        Raises
        ------
        DataQuality
            If Doris refuses rows; nothing of the batch is loaded.
        Unprocessable
            If Doris refuses the batch for good for another reason.
        OutcomeUnknown
            If the outcome could not be learnt; repeat with the same label.
        Unavailable
            If Doris cannot load now; repeat with the same label.
        """
        if not _LABEL.fullmatch(label):
            raise ValueError(f"a label is 1 to 128 of A-Z, a-z, 0-9, '-' and '_': {label!r}")
        if not rows:
            return Loaded(label, 0)
        body = b"\n".join(map(strict_json.dumps, rows))
        path = f"/api/{self._database}/{table}/_stream_load"
        return self._put(self._back_end(path), table, body, label, len(rows))

    def _back_end(self, path: str) -> str:
        # Without a label: should this be a back end after all, the empty batch must
        # not use the label up.
        headers = {**self._auth, "Expect": "100-continue", "group_commit": "off_mode"}
        try:
            reply = self._http.request(
                "PUT", self._url + path, body=b"", headers=headers, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(
                "warehouse-down",
                f"no answer from the Doris front end at {shown(self._url)}: {type(error).__name__}",
            ) from None
        if reply.status not in (301, 302, 307, 308):
            answer = _json(reply.data)
            if reply.status in (401, 403) or answer.get("code") in (401, 403):
                raise Unavailable(
                    "warehouse-credentials",
                    "Doris refused our credentials: check PACSLESS_DORIS_USER and _PASSWORD",
                )
            raise Unavailable(
                "warehouse-no-redirect",
                f"HTTP {reply.status} and no redirect from {shown(self._url)}: "
                "is it a Doris front end? "
                f"It said: {str(answer.get('msg', ''))[:200]}",
            )
        return self._checked(reply.headers.get("Location", ""), path)

    def _checked(self, location: str, path: str) -> str:
        """Return the address to send rows to: the redirect's, without its password."""
        try:
            parts = urlsplit(location)
            host = parts.hostname or ""
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise Unavailable("warehouse-redirect", "Doris sent a redirect to no URL") from None
        if parts.scheme not in ("http", "https") or parts.path != path:
            raise Unavailable(
                "warehouse-redirect", "Doris redirected to something other than a Stream Load"
            )
        if not any(_allows(entry, host, port) for entry in self._allowed):
            raise Unavailable(
                "warehouse-redirect",
                f"Doris redirected to {host}:{port}, which PACSLESS_DORIS_REDIRECT_HOSTS "
                "does not allow",
            )
        bracketed = f"[{host}]" if ":" in host else host
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{bracketed}:{port}{path}{query}"

    def _put(self, url: str, table: str, body: bytes, label: str, count: int) -> Loaded:
        headers = {
            **self._auth,
            "Expect": "100-continue",
            "Content-Length": str(len(body)),
            "label": label,
            "format": "json",
            "read_json_by_line": "true",
            # The default turns what it cannot convert into NULL without a word.
            "strict_mode": "true",
            "max_filter_ratio": "0",
            "timezone": "UTC",
            "timeout": str(int(self._timeout)),
            # Some releases drop or refuse labels unless this is explicit.
            "group_commit": "off_mode",
        }
        try:
            reply = self._http.request("PUT", url, body=body, headers=headers, redirect=False)
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            raise Unavailable(
                "warehouse-down", f"no connection to the Doris back end at {_origin(url)}"
            ) from None
        except urllib3.exceptions.HTTPError:
            return self._settled(label, count)
        answer = _json(reply.data)
        status = str(answer.get("Status", ""))
        match status:
            case "Success" | "Publish Timeout":
                # Publish Timeout: committed, and visible a little later.
                return _counted(answer, table, label, count)
            case "Label Already Exists":
                if answer.get("ExistingJobStatus") == "FINISHED":
                    return Loaded(label, count, before=True)
                return self._settled(label, count)
            case "Fail":
                raise _failure(answer, table)
        if reply.status in (401, 403) or answer.get("code") in (401, 403):
            raise Unavailable("warehouse-credentials", "the Doris back end refused our credentials")
        return self._settled(label, count)

    def _settled(self, label: str, count: int) -> Loaded:
        """Ask the front end until it knows what became of the label."""
        deadline = time.monotonic() + self._patience
        pause = 0.05
        while True:
            state = self._state(label)
            if state in _COMMITTED:
                return Loaded(label, count, before=True)
            if state not in _UNDER_WAY:
                raise Unavailable(
                    "load-aborted", f"load {label} was not committed (state {state}): repeat it"
                )
            if time.monotonic() + pause > deadline:
                raise OutcomeUnknown(
                    "load-running", f"load {label} is still in state {state}: repeat it later"
                )
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    def _state(self, label: str) -> str:
        try:
            reply = self._http.request(
                "GET",
                f"{self._url}/api/{self._database}/get_load_state",
                fields={"label": label},
                headers=self._auth,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            raise OutcomeUnknown(
                "load-unknown",
                f"the outcome of load {label} is unknown and the front end is silent: repeat it",
            ) from None
        state = _json(reply.data).get("data")
        if not isinstance(state, str) or not re.fullmatch(r"[A-Z_]{1,32}", state):
            raise OutcomeUnknown(
                "load-unknown", f"the front end did not tell the state of load {label}: repeat it"
            )
        return state


def _allows(entry: str, host: str, port: int) -> bool:
    name, _, number = entry.rpartition(":")
    name = name.strip("[]").lower()
    return number == str(port) and (
        host == name or (name.startswith(".") and host.endswith(name) and host != name)
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _json(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _counted(answer: Mapping[str, Any], table: str, label: str, count: int) -> Loaded:
    loaded = _integer(answer, "NumberLoadedRows")
    if loaded != count:
        raise DataQuality(
            f"{table}: load {label} holds {loaded} of {count} rows",
            count,
            count - loaded,
            str(answer.get("ErrorURL", "")),
        )
    return Loaded(label, count)


def _failure(answer: Mapping[str, Any], table: str) -> Exception:
    # Message and FirstErrorMsg may quote a row: only their bracketed code is repeated.
    message = str(answer.get("Message", ""))
    found = _CODE.search(message)
    code = found[1] if found else "no code"
    if _TOO_MANY_VERSIONS.search(message):
        return Unavailable(
            "too-many-versions",
            f"{table}: Doris's compaction is behind (-235): load larger batches, less often",
        )
    filtered = _integer(answer, "NumberFilteredRows")
    if filtered:
        total = _integer(answer, "NumberTotalRows")
        url = str(answer.get("ErrorURL", ""))
        return DataQuality(
            f"{table}: Doris refused {filtered} of {total} rows ({code}); reasons: {url}",
            total,
            filtered,
            url,
        )
    if _PERMANENT.search(message):
        return Unprocessable("load-refused", f"{table}: Doris refused the load ({code})")
    return Unavailable("load-failed", f"{table}: Doris could not load ({code}): repeat it")


def _integer(answer: Mapping[str, Any], name: str) -> int:
    value = answer.get(name, 0)
    return value if isinstance(value, int) else 0
