"""What can be set, from the environment: ``PACSLESS_`` and the field's name.

One frozen object is built where a process starts and handed down; pure cores
take plain arguments. Lists are comma-separated.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pacsless.errors import PacslessError


class InvalidSetting(PacslessError):
    """A setting has a value it cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of every process; each reads what it needs."""

    archive: str = "file://.pacsless/archive"
    """Where originals, metadata and renditions lie: ``file:///folder`` or ``s3://bucket/prefix``."""
    spool: str = ".pacsless/spool"
    """Folder for the outbox journal and, in S3 mode, for what is being received. Durable."""
    s3_endpoint: str = ""
    """S3 endpoint, for another service than AWS."""
    kafka: tuple[str, ...] = ("127.0.0.1:19092",)
    """Kafka bootstrap servers."""
    postgres: str = field(default="postgresql://pacsless@127.0.0.1:15432/pacsless", repr=False)
    """PostgreSQL address, ``postgresql://user:password@host:port/database``."""
    redis: str = field(default="redis://127.0.0.1:16379/0", repr=False)
    """Redis address; empty for no cache."""
    doris: str = "http://127.0.0.1:8030"
    """Doris front end for Stream Load."""
    doris_database: str = "pacsless"
    """Doris database."""
    doris_user: str = "root"
    """Doris user."""
    doris_password: str = field(default="", repr=False)
    """Doris password."""
    doris_redirect_hosts: tuple[str, ...] = ("127.0.0.1:8040",)
    """Back ends the front end may redirect to: ``host:port``, or ``.suffix:port`` for a DNS suffix."""
    dicomweb_root: str = "/dicom-web"
    """Where clients find DICOMweb of the default tenant; BulkDataURIs start with it."""
    tenant: str = "default"
    """Tenant of requests and associations that name none."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    memory_limit_mb: int = 1024
    """Address space of a function worker in MiB, so a hostile file ends a worker and not the machine; 0 for none."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of this process.

        Raises
        ------
        InvalidSetting
            If a number is not one.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for one in fields(cls):
            name = f"PACSLESS_{one.name.upper()}"
            if name not in environ:
                continue
            text = environ[name].strip()
            if one.type.startswith("tuple"):
                values[one.name] = tuple(part.strip() for part in text.split(",") if part.strip())
            elif one.type == "int":
                try:
                    values[one.name] = int(text)
                except ValueError:
                    raise InvalidSetting("setting", f"{name} is not a whole number") from None
            else:
                values[one.name] = text
        return cls(**values)
