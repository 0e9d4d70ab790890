"""The keys of the provider (RFC 7517), where its discovery document says they are.

PyJWT's own client fetches while every other request waits, for up to half a minute,
and knows no key any more when the provider is down as its keys get old. Here one
request fetches, those with a known key go on, and a provider that is down is not
asked again for some seconds.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import jwt
import urllib3

from pacsless.errors import PacslessError, Unavailable
from pacsless.oauth2.claims import InvalidToken
from pacsless.settings import provider_address

FRESH_S: Final = 300
"""After how long the keys are fetched again: how long a withdrawn key still works."""
PAUSE_S: Final = 10
"""How long there is between two fetches at least, whoever names unknown keys."""
KEPT_S: Final = 3600
"""How long known keys go on while the provider cannot be reached."""
_TIMEOUT: Final = urllib3.Timeout(total=5)
_LARGEST: Final = 1 << 20
_UNUSABLE: Final = (
    urllib3.exceptions.HTTPError, jwt.PyJWTError, PacslessError, ValueError, TypeError,
    AttributeError, RecursionError,
)  # fmt: skip
"""What an answer that is down, cut or nonsense is raised as."""

_logger: Final = logging.getLogger(__name__)


class Provider:
    """An issuer and its keys; for many threads.

    Parameters
    ----------
    issuer
        Exactly as its discovery document and its tokens have it.
    clock
        Seconds that only grow.
    """

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.issuer = issuer
        self._clock = clock
        self._http = urllib3.PoolManager(retries=False, timeout=_TIMEOUT)
        self._fetching = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")

    def key(self, kid: str) -> jwt.PyJWK:
        """Return the key of this identifier.

        Raises
        ------
        InvalidToken
            If the provider has no such key.
        Unavailable
            If its keys are not known and cannot be had.
        """
        if kid not in self._keys or self._age() > FRESH_S:
            self._renew(kid)
        if self._age() > KEPT_S:
            raise Unavailable("provider", "the provider of access tokens cannot be reached")
        if kid not in self._keys:
            raise InvalidToken("token", "the token is signed by a key the provider does not have")
        return self._keys[kid]

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _renew(self, kid: str) -> None:
        # Who has a key does not wait for another's fetch.
        usable = kid in self._keys and self._age() <= KEPT_S
        if not self._fetching.acquire(blocking=not usable):
            return
        try:
            if self._clock() - self._tried < PAUSE_S:
                return
            self._tried = self._clock()
            self._keys = self._fetch()
            self._fetched = self._clock()
        except _UNUSABLE as error:
            _logger.warning("no keys from the provider", extra={"fields": {"why": repr(error)}})
        finally:
            self._fetching.release()

    def _fetch(self) -> dict[str, jwt.PyJWK]:
        discovery = self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if discovery.get("issuer") != self.issuer:
            raise ValueError("the discovery document is of another issuer")
        keys = jwt.PyJWKSet.from_dict(
            self._get(provider_address(str(discovery.get("jwks_uri"))))
        ).keys
        return {key.key_id: key for key in keys if key.key_id and key.public_key_use != "enc"}

    def _get(self, url: str) -> dict[str, Any]:
        # Another address than the one that was checked must not have a say.
        answer = self._http.request("GET", url, redirect=False, preload_content=False)
        try:
            if answer.status != 200:
                raise ValueError(f"the provider answered {answer.status}")
            body = answer.read(_LARGEST + 1)
        finally:
            answer.release_conn()
        if len(body) > _LARGEST:
            raise ValueError("the provider's answer is too large")
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the provider's answer is no JSON object")
        return document
