"""A provider of access tokens on loopback: its documents, and tokens good and bad."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "pacsless"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk(kid: str, key: Key, **more: str) -> dict[str, Any]:
    """The public half of a key, as a JWKS has it."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    told: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))  # type: ignore[arg-type]
    told.pop("key_ops", None)
    return told | {"kid": kid, "use": "sig"} | more


class Issuer:
    """An OpenID provider as far as DICOMweb asks it; everything it says can be changed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key, self.other = rsa_key(), ec_key()
        self.keys = [
            jwk("enc", rsa_key(), use="enc", alg="RSA-OAEP"),
            jwk("rsa", self.key, alg="RS256"),
            jwk("ec", self.other),
        ]
        self.discovery: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.status = 200
        self.body: bytes | None = None
        """Sent instead of the keys."""
        self.asked: list[str] = []
        self.open = threading.Event()
        """Unset: requests wait."""
        self.open.set()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token, but for these; None leaves one out."""
        now = int(time.time())
        told = {
            "iss": self.url, "aud": AUDIENCE, "sub": "ann", "tenant": "north",
            "scope": "openid dicom.read dicom.store", "iat": now, "exp": now + 300,
        }  # fmt: skip
        return {name: value for name, value in (told | changes).items() if value is not None}

    def token(
        self,
        *,
        key: Key | None = None,
        algorithm: str = "RS256",
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Sign a token; `header` and `changes` differ from a good one's."""
        told = {"kid": "rsa"} | (header or {})
        headers = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(self.claims(**changes), key or self.key, algorithm, headers)


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer."""

    class Documents(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            issuer.open.wait(60)
            found: Any = None
            if self.path == "/.well-known/openid-configuration":
                found = json.dumps(issuer.discovery).encode()
            elif self.path == "/keys":
                found = issuer.body or json.dumps({"keys": issuer.keys}).encode()
            self.send_response(issuer.status if found else 404)
            if issuer.status in (301, 302):
                self.send_header("Location", f"{issuer.url}/elsewhere")
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield issuer
    finally:
        issuer.open.set()
        server.shutdown()
        server.server_close()
