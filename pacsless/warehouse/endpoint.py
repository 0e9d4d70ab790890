"""What the front end and the back end have in common as HTTP servers."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

from pacsless.warehouse.listener import Listener


class Server(Listener, HTTPServer):
    """Listens for HTTP."""


class Handler(BaseHTTPRequestHandler):
    """Requests of one connection; subclasses are made per warehouse and set `credentials`."""

    protocol_version = "HTTP/1.1"
    server_version = "pacsless-warehouse"
    timeout = 120
    disable_nagle_algorithm = True
    credentials: ClassVar[tuple[str, str]]

    def handle_expect_100(self) -> bool:
        """Leave it to the method whether the client shall go on."""
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write nothing: a request line is no news, and errors are answered."""

    def authorized(self) -> bool:
        """Whether the request has the right user and password."""
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        wanted = ":".join(self.credentials).encode()
        return kind.lower() == "basic" and hmac.compare_digest(given, wanted)

    def answer(self, body: dict[str, Any], status: int = 200) -> None:
        """Answer with JSON."""
        self.answer_bytes(json.dumps(body, indent=4).encode(), "application/json", status)

    def answer_bytes(self, body: bytes, content_type: str, status: int = 200) -> None:
        """Answer with bytes."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
