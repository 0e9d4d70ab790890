"""The configuration files of nginx and Redis."""

from __future__ import annotations

import os
import pwd
import re
import secrets
from collections.abc import Mapping
from typing import Final

from pacsless.stack.errors import StackError
from pacsless.stack.settings import LOOPBACK, REPOSITORY, StackSettings

NGINX_TEMPLATE: Final = REPOSITORY / "charts" / "pacsless" / "files" / "nginx.conf.template"
CAPABILITIES: Final = REPOSITORY / "schemas" / "dicomweb"
VIEWER: Final = REPOSITORY / "viewer" / "dist"

# A cache only: nothing is kept, and what is old makes room.
_REDIS: Final = """\
bind {host}
port {port}
dir {folder}
daemonize no
save ""
appendonly no
maxmemory 128mb
maxmemory-policy allkeys-lru
"""


def write(settings: StackSettings) -> None:
    """Make the stack's folders, its key for pseudonyms and both files."""
    for folder in (
        settings.home,
        settings.archive_root,
        settings.spool,
        settings.configuration,
        settings.logs,
        settings.run,
        settings.access_log.parent,
        settings.data("redis"),
        settings.data("warehouse"),
    ):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.pseudonym_key.exists():
        # Written once and kept: what is anonymized has the same new names ever after.
        settings.pseudonym_key.touch(mode=0o600)
        settings.pseudonym_key.write_text(secrets.token_hex(32))
    redis = _REDIS.format(host=LOOPBACK, port=settings.ports.redis, folder=settings.data("redis"))
    (settings.configuration / "redis.conf").write_text(redis)
    (settings.configuration / "nginx.conf").write_text(
        substitute(NGINX_TEMPLATE.read_text(), nginx_values(settings))
    )


def nginx_values(settings: StackSettings) -> dict[str, str]:
    """Values of the template's names on this machine."""
    functions, client = settings.ports.functions, settings.client()
    return {
        "LISTEN": f"{LOOPBACK}:{settings.ports.nginx}",
        # As whom everything else here runs, the archive being readable to nobody else.
        "NGINX_USER": pwd.getpwuid(os.geteuid()).pw_name,
        "STATE_DIR": str(settings.run / "nginx"),
        "ERROR_LOG": "stderr",
        "ACCESS_LOG": str(settings.access_log),
        "ARCHIVE_ROOT": str(settings.archive_root),
        "VIEWER_ROOT": str(VIEWER),
        "CAPABILITIES": str(CAPABILITIES),
        "DELETE": "on" if client.delete else "off",
        "DEFAULT_TENANT": client.tenant,
        "WADO_RS": f"{LOOPBACK}:{functions['wado_rs']}",
        "RENDERED": f"{LOOPBACK}:{functions['rendered']}",
        "WADO_URI": f"{LOOPBACK}:{functions['wado_uri']}",
        "QIDO_RS": f"{LOOPBACK}:{functions['qido_rs']}",
        "STOW_RS": f"{LOOPBACK}:{functions['stow_rs']}",
        "ORTHANC": f"{LOOPBACK}:{functions['orthanc']}",
        "CHANGE_FEED": f"{LOOPBACK}:{functions['change_feed']}",
        "AUTHORIZE": f"{LOOPBACK}:{functions['authorize']}",
        "AUTH_REQUEST": "/internal/authorize" if client.oauth2_issuer else "off",
        "OAUTH2_ISSUER": client.oauth2_issuer,
        "OAUTH2_CLIENT": client.oauth2_client,
        # It deletes nothing.
        "OAUTH2_SCOPES": f"{client.oauth2_read_scope} {client.oauth2_store_scope}",
    }


def substitute(template: str, values: Mapping[str, str]) -> str:
    """Fill in ``${NAME}`` as envsubst does.

    Raises
    ------
    StackError
        If the template has a name there is no value for.
    """
    missing: set[str] = set()

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            missing.add(found[1])
        return values.get(found[1], "")

    text = re.sub(r"\$\{([A-Z0-9_]+)\}", value, template)
    if missing:
        raise StackError(
            "nginx", f"nothing is known of {', '.join(sorted(missing))} in its template"
        )
    return text
