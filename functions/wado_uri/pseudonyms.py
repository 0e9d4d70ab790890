"""New names for old ones: the same each time, and nobody without the key can find one out."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from pacsless.errors import NotAcceptable
from pacsless.settings import Settings

_log: Final = logging.getLogger(__name__)
_LEAST: Final = 16
"""Bytes of a key that nobody guesses."""


@dataclass(frozen=True, slots=True)
class PseudonymKey:
    """The secret of an archive, or none."""

    key: bytes = field(default=b"", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Read the file ``PACSLESS_PSEUDONYM_KEY`` names; without one, nothing is anonymized."""
        if not settings.pseudonym_key:
            return cls()
        try:
            return cls(Path(settings.pseudonym_key).read_bytes().strip())
        except OSError as error:
            # All else goes on; who asks for anonymized instances is told that there is no key.
            told = {"error": error.strerror}
            _log.error("the key for pseudonyms cannot be read", extra={"fields": told})
            return cls()

    def of(self, tenant: str) -> Pseudonyms:
        """Return the pseudonyms of a tenant.

        Raises
        ------
        NotAcceptable
            If there is no key, or one that is too short.
        """
        if len(self.key) < _LEAST:
            raise NotAcceptable(
                "anonymize", "nothing is anonymized here: the archive has no key for new names"
            )
        return Pseudonyms(self.key, tenant)


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Names of one tenant; another one's are others, whatever they stand for."""

    key: bytes = field(repr=False)
    tenant: str

    def uid(self, uid: bytes) -> str:
        """Return the UID that stands for another (PS3.5 §B.2)."""
        return f"2.25.{UUID(bytes=self._digest(b'uid', uid)[:16], version=5).int}"

    def identifier(self, value: bytes) -> str:
        """Return the identifier that stands for a patient's."""
        return self._digest(b"patient", value).hex()[:16].upper()

    @property
    def version(self) -> str:
        """Name the key without telling it: other keys make other files."""
        return self._digest(b"version", b"").hex()[:16]

    def _digest(self, kind: bytes, value: bytes) -> bytes:
        message = b"\0".join((kind, self.tenant.encode(), value))
        return hmac.digest(self.key, message, "sha256")
