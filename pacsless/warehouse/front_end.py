"""The front end's HTTP: redirects Stream Loads, tells the state of labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Final
from urllib.parse import parse_qs, quote, urlsplit

from pacsless.warehouse.endpoint import Handler
from pacsless.warehouse.labels import Labels
from pacsless.warehouse.schema import DATABASE

_LOAD: Final = re.compile(r"/api/[^/]+/[^/]+/_stream_load")
_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_STATE: Final = re.compile(r"/api/([^/]+)/get_load_state")


class FrontEnd(Handler):
    """Answers as Doris's front end does, HTTP 200 for most failures included."""

    labels: ClassVar[Labels]
    back_end_port: ClassVar[Callable[[], int]]

    def do_PUT(self) -> None:  # noqa: N802 -- the base class names it
        """Stream Load: redirect it, with the password in the address as Doris does."""
        # Whatever body was sent is not read here, so the connection is over.
        self.close_connection = True
        path = urlsplit(self.path).path
        if not _LOAD.fullmatch(path):
            self.answer({"status": "FAILED", "msg": "Not Found"}, 404)
        elif not self.authorized():
            self._unauthorized()
        elif self.headers.get("Expect", "").lower() != "100-continue":
            self.answer({"status": "FAILED", "msg": "There is no 100-continue header"})
        else:
            host = self._called()
            user, password = (quote(part, safe="") for part in self.credentials)
            port = type(self).back_end_port()
            self.send_response(307)
            self.send_header("Location", f"http://{user}:{password}@{host}:{port}{path}?")
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()

    def do_GET(self) -> None:  # noqa: N802 -- the base class names it
        """Health, and the state of a load."""
        parts = urlsplit(self.path)
        if parts.path == "/api/health":
            self._success({"online_backend_num": 1, "total_backend_num": 1})
            return
        found = _STATE.fullmatch(parts.path)
        if not found:
            self.answer({"msg": "Not Found", "code": 404, "data": None, "count": 0}, 404)
        elif not self.authorized():
            self._unauthorized()
        elif found[1] != DATABASE:
            self._failure("Error", f"unknown database {found[1][:64]}")
        else:
            label = parse_qs(parts.query).get("label", [""])[0]
            if label:
                self._success(self.labels.state(label))
            else:
                self._failure("Bad Request", "No label selected")

    def _called(self) -> str:
        """The host by which the client came: on Kubernetes a Service's name, no pod's address."""
        found = _HOST.fullmatch(self.headers.get("Host", ""))
        return found["host"] if found else str(self.connection.getsockname()[0])

    def _success(self, data: object) -> None:
        self.answer({"msg": "success", "code": 0, "data": data, "count": 0})

    def _failure(self, message: str, data: str) -> None:
        self.answer({"msg": message, "code": 1, "data": data, "count": 0})

    def _unauthorized(self) -> None:
        data = "Access denied for the user and password given"
        self.answer({"msg": "Unauthorized", "code": 401, "data": data, "count": 0})
