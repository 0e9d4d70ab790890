"""What can be set, from the environment: ``PACSLESS_`` and the field's name.

One frozen object is built where a process starts and handed down; pure cores
take plain arguments. Lists are comma-separated. Where a secret comes as a file,
``PACSLESS_POSTGRES_FILE`` names it in place of ``PACSLESS_POSTGRES``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pacsless.errors import PacslessError
from pacsless.log import LEVELS


class InvalidSetting(PacslessError):
    """A setting has a value it cannot have."""


_PROVIDER: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:/[A-Za-z0-9._~:/%+,@-]*)?"
)
_THIS_MACHINE: Final = ("127.0.0.1", "[::1]", "localhost")
# They stand in headers, in nginx's configuration and in a script of the viewer.
_OAUTH2_NAME: Final = re.compile(r"[A-Za-z0-9._~:/-]+")
_OAUTH2_NAMES: Final = tuple(
    f"oauth2_{name}"
    for name in ("audience", "tenant_claim", "read_scope", "store_scope", "delete_scope", "client")
)
_BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class FromEnviron:
    """Base of settings classes: frozen dataclasses that read themselves from the environment."""

    __slots__ = ()

    PREFIX: ClassVar[str] = "PACSLESS_"
    """What the name of a field's variable starts with."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of this process.

        Raises
        ------
        InvalidSetting
            If a value is not one of those there can be.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for one in fields(cls):  # type: ignore[arg-type]  # subclasses are dataclasses
            name = f"{cls.PREFIX}{one.name.upper()}"
            if not one.repr and f"{name}_FILE" in environ:
                values[one.name] = _secret(f"{name}_FILE", environ[f"{name}_FILE"])
            elif name in environ:
                values[one.name] = _read(name, str(one.type), environ[name].strip())
        return cls(**values)


def _secret(name: str, file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidSetting("setting", f"{name}: {file} cannot be read: {why}") from None


def _read(name: str, kind: str, text: str) -> Any:
    if kind.startswith("tuple"):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == "int":
        try:
            return int(text)
        except ValueError:
            raise InvalidSetting("setting", f"{name} is not a whole number") from None
    if kind == "bool":
        return boolean(name, text)
    return text


def boolean(name: str, text: str) -> bool:
    """Read yes or no.

    Raises
    ------
    InvalidSetting
        If it is neither.
    """
    if text.lower() not in _BOOLEANS:
        raise InvalidSetting("setting", f"{name} is neither true nor false")
    return _BOOLEANS[text.lower()]


def provider_address(url: str, name: str = "an address of the provider") -> str:
    """Check an address of the provider of access tokens, and return it.

    Raises
    ------
    InvalidSetting
        If who is between could answer in the provider's place: without TLS it has to be
        on this machine.
    """
    found = _PROVIDER.fullmatch(url)
    if found is None or not (found["scheme"] == "https" or found["host"] in _THIS_MACHINE):
        raise InvalidSetting(
            "setting",
            f"{name} must be an address that begins with https:// (http:// on 127.0.0.1, [::1] "
            "or localhost alone), without query and fragment",
        )
    return url


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FromEnviron):
    """Settings of every process; each reads what it needs."""

    archive: str = "file://.pacsless/archive"
    """Where originals, metadata and renditions lie: ``file:///folder`` or ``s3://bucket/prefix``."""
    spool: str = ".pacsless/spool"
    """Folder for the outbox journal and, in S3 mode, for what is being received. Durable."""
    s3_endpoint: str = ""
    """S3 endpoint, for another service than AWS."""
    kafka: tuple[str, ...] = ("127.0.0.1:19092",)
    """Kafka bootstrap servers."""
    kafka_tls: bool = False
    """Whether Kafka is spoken to by TLS. The system's authorities must know its certificate's."""
    postgres: str = field(default="postgresql://pacsless@127.0.0.1:15432/pacsless", repr=False)
    """PostgreSQL address, ``postgresql://user:password@host:port/database``."""
    redis: str = field(default="redis://127.0.0.1:16379/0", repr=False)
    """Redis address; empty for no cache. It holds patients' data: docs/operations.md."""
    doris: str = "http://127.0.0.1:8030"
    """Doris front end for Stream Load."""
    doris_database: str = "pacsless"
    """Doris database."""
    doris_user: str = "root"
    """Doris user."""
    doris_password: str = field(default="", repr=False)
    """Doris password."""
    doris_mysql: str = "127.0.0.1:9030"
    """Doris front end for SQL over the MySQL protocol, ``host:port``, for rebuild and reconcile."""
    doris_redirect_hosts: tuple[str, ...] = ("127.0.0.1:8040",)
    """Back ends the front end may redirect to: ``host:port``, or ``.suffix:port`` for a suffix."""
    dicomweb_root: str = "/dicom-web"
    """Where clients find DICOMweb of the default tenant; BulkDataURIs start with it."""
    tenant: str = "default"
    """Tenant of requests and associations that name none."""
    delete: bool = False
    """Whether studies, series and instances can be deleted by DICOMweb: docs/delete.md."""
    pseudonym_key: str = ""
    """File with the secret that new names in anonymized instances are made with; without one,
    nothing is anonymized: docs/wado-uri.md."""
    oauth2_issuer: str = ""
    """Issuer of the access tokens that DICOMweb asks for, as its discovery document spells it;
    empty: everybody is let in (docs/oauth2.md)."""
    oauth2_audience: str = "pacsless"
    """What tokens have to be for (``aud``)."""
    oauth2_tenant_claim: str = "tenant"
    """Name of the claim that has the tenant."""
    oauth2_read_scope: str = "dicom.read"
    """Scope that allows GET, HEAD and OPTIONS."""
    oauth2_store_scope: str = "dicom.store"
    """Scope that allows POST."""
    oauth2_delete_scope: str = "dicom.delete"
    """Scope that allows DELETE."""
    oauth2_client: str = "pacsless-viewer"
    """Client identifier the viewer signs in with."""
    reconcile_repair: bool = True
    """Whether reconcile mends what it finds on its timer, or only reports it."""
    reconcile_scrub: str = "0.1%"
    """Share of the files that reconcile reads again in each run: all in a week."""
    reconcile_seconds: int = 240
    """How long a run of reconcile on its timer takes at most; the next one goes on."""
    policies: str = ""
    """File of what functions are fed and scaled by, if not as declared (`pacsless.policy`);
    absolute."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    memory_limit_mb: int = 1024
    """Data memory of a function worker in MiB, so that a hostile file ends a batch and not the
    machine; 0 for no limit."""

    def __post_init__(self) -> None:
        if self.log_level not in LEVELS:
            raise InvalidSetting("setting", f"PACSLESS_LOG_LEVEL is none of {', '.join(LEVELS)}")
        if self.oauth2_issuer:
            provider_address(self.oauth2_issuer, "PACSLESS_OAUTH2_ISSUER")
        for name in _OAUTH2_NAMES:
            if not _OAUTH2_NAME.fullmatch(getattr(self, name)):
                raise InvalidSetting("setting", f"PACSLESS_{name.upper()} is not one plain word")
