"""Asking DICOMweb for the one instance, and saying what is wrong with an answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any, Final

import urllib3

from pacsless.check.instance import Instance, data_set_of
from pacsless.dicom.scan import ScanError
from pacsless.errors import PacslessError
from pacsless.reach import host_and_port, reach, shown

_JSON: Final = {"Accept": "application/dicom+json"}
_FILE: Final = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
_FOR_GOOD: Final = frozenset({400, 401, 403, 406})
_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
_REQUEST_SECONDS: Final = 10.0


class Failed(PacslessError):
    """A step did not do what it must."""


class NotYet(Exception):
    """Worth asking again; the text says why."""


class Dicomweb:
    """One archive's DICOMweb.

    Parameters
    ----------
    root
        ``http://host:port/dicom-web``.
    patience
        Seconds to wait for what is not there yet.
    token
        Access token to send, if it asks for one.
    """

    def __init__(self, root: str, patience: float, token: str = "") -> None:
        self._root, self._patience = root.rstrip("/"), patience
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = urllib3.PoolManager(retries=False, timeout=_REQUEST_SECONDS)

    def same_bytes(self, instance: Instance) -> str:
        """Read the file back, and compare its data set with what was sent."""

        def question() -> str:
            answer = self._get(instance.path, _FILE)
            part = only_part(answer.headers.get("Content-Type", ""), answer.data)
            try:
                found = data_set_of(part)
            except ScanError as error:
                raise Failed("wado-rs", f"what WADO-RS sends is no file: {error.message}") from None
            if found != instance.data_set:
                raise Failed(
                    "bytes",
                    f"WADO-RS sends another data set of {len(found)} bytes than was stored, "
                    f"of {len(instance.data_set)}",
                )
            return f"{len(found)} bytes"

        return self._until(question)

    def described(self, instance: Instance) -> str:
        """Wait until ``/metadata`` has it."""
        return self._until(lambda: self._listed(f"{instance.path}/metadata", instance))

    def found(self, instance: Instance) -> str:
        """Wait until a search finds it."""
        series = instance.path.rpartition("/")[0]
        query = f"{series}?SOPInstanceUID={instance.sop_instance_uid}"
        return self._until(lambda: self._listed(query, instance))

    def _listed(self, path: str, instance: Instance) -> str:
        answer = self._get(path, _JSON)
        if answer.status == 204:
            raise NotYet("nothing is found")
        try:
            uids = [one["00080018"]["Value"][0] for one in answer.json()]
        except (ValueError, KeyError, IndexError, TypeError):
            raise Failed(
                "dicom-json", f"GET {self._shown(path)} is not answered in DICOM JSON"
            ) from None
        if uids != [instance.sop_instance_uid]:
            raise NotYet(f"GET {self._shown(path)} lists {len(uids)} instances, not this one")
        return ""

    def _get(self, path: str, accept: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        url = f"{self._root}/{path}"
        try:
            answer = self._http.request("GET", url, headers={**self._headers, **accept})
        except urllib3.exceptions.LocationValueError:
            raise Failed("address", "--dicomweb is no http:// or https:// address") from None
        except urllib3.exceptions.HTTPError as error:
            reach(*host_and_port(self._root, "--dicomweb", _port(self._root)))
            raise NotYet(f"GET {self._shown(path)}: {type(error).__name__}") from None
        if answer.status not in (200, 204):
            told = f"GET {self._shown(path)} is answered {answer.status}"
            if answer.status in (401, 403):
                told += ": it wants an access token, give --token-file"
            raise Failed("refused", told) if answer.status in _FOR_GOOD else NotYet(told)
        return answer

    def _shown(self, path: str) -> str:
        return f"{shown(self._root)}/{path.partition('?')[0]}"

    def _until(self, question: Callable[[], str]) -> str:
        deadline = time.monotonic() + self._patience
        tries = 0
        while True:
            try:
                return question()
            except Failed:
                raise
            except (NotYet, PacslessError) as error:
                why = error.message if isinstance(error, PacslessError) else str(error)
            pause = _PAUSES[min(tries, len(_PAUSES) - 1)]
            tries += 1
            if time.monotonic() + pause > deadline:
                raise Failed("late", f"not after {self._patience:g} s: {why}") from None
            time.sleep(pause)


def _port(root: str) -> int:
    return 443 if root.startswith("https:") else 80


def only_part(content_type: str, body: bytes) -> bytes:
    """Return the content of a multipart body's first part.

    Raises
    ------
    Failed
        If there is none.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary: Any = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise Failed("multipart", "what WADO-RS sends is no multipart/related")
    mark = b"--" + str(boundary).encode()
    head, blank, rest = body.partition(mark)[2].partition(b"\r\n\r\n")
    content, end, _ = rest.rpartition(b"\r\n" + mark + b"--")
    if not head or not blank or not end:
        raise Failed("multipart", "what WADO-RS sends ends before its last boundary")
    return content
