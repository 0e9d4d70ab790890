"""Reading who may send what to whom: the AE file, and the short form of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, TypeVar

from pacsless.errors import InvalidIdentity
from pacsless.identity import valid_tenant
from pacsless.settings import InvalidSetting
from scp_gateway.tenants import Remote, Tenant, lower, parse_address

T = TypeVar("T")
_TITLES: Final = "PACSLESS_GATEWAY_AE_TITLES"
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def from_titles(titles: Iterable[str]) -> tuple[Tenant, ...]:
    """Read ``TITLE=tenant``: whoever calls the title may send.

    Raises
    ------
    InvalidSetting
        If a title or a tenant is malformed, or a title stands twice.
    """
    found: dict[str, str] = {}
    for one in titles:
        title, equals, tenant = (part.strip() for part in one.partition("="))
        if not equals or not 0 < len(title) <= 16 or not title.isascii():
            raise _invalid(f"{_TITLES} is a list of TITLE=tenant, not {one!r}")
        if not _is_title(title) or title in found:
            raise _invalid(f"{_TITLES}: {title!r} is no AE title or stands twice")
        found[title] = _tenant_id(tenant, f"{_TITLES}, {title}")
    if not found:
        raise _invalid(f"{_TITLES} names no AE title: write TITLE=tenant")
    return tuple(
        Tenant(tenant, tuple(title for title, other in found.items() if other == tenant))
        for tenant in dict.fromkeys(found.values())
    )


def from_toml(text: str) -> tuple[Tenant, ...]:
    """Read TOML with a table ``tenants.<tenant>`` for each tenant.

    Raises
    ------
    InvalidSetting
        If it is not TOML or there is anything in it that has no meaning; names the place.
    """
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or what int() has against a number
        raise _invalid(f"the application entities are not TOML: {error}") from None
    tables = _table(document, "the document", {"tenants"}).get("tenants")
    if not isinstance(tables, dict) or not tables:
        raise _invalid("tenants: write a table [tenants.<tenant>] for at least one tenant")
    found = tuple(_tenant(name, table) for name, table in tables.items())
    owners: dict[tuple[str, str], str] = {}
    for one in found:
        for kind, values in (("called", one.called), ("certificates", one.certificates)):
            for value in values:
                first = owners.setdefault((kind, value), one.tenant_id)
                if first != one.tenant_id:
                    raise _invalid(
                        f"tenants.{one.tenant_id}.{kind}: {value!r} also stands in "
                        f"tenants.{first}.{kind}: it belongs to one tenant"
                    )
    return found


def _invalid(message: str) -> InvalidSetting:
    return InvalidSetting("setting", message)


def _is_title(text: str) -> bool:
    # PS3.5 §6.2: up to 16 characters, no backslash, no control characters.
    return 0 < len(text) <= 16 and text.isascii() and text.isprintable() and "\\" not in text


def _tenant_id(text: str, place: str) -> str:
    try:
        return valid_tenant(text)
    except InvalidIdentity as error:
        raise _invalid(f"{place}: {error.message}") from None


def _tenant(name: str, value: object) -> Tenant:
    place = f"tenants.{name}"
    keys = {"called", "calling", "addresses", "certificates", "remotes"}
    table = _table(value, place, keys)
    if "called" not in table:
        raise _invalid(f"{place}.called is missing: list the AE titles the tenant answers to")
    remotes = _table(table.get("remotes", {}), f"{place}.remotes")
    titles = _each({"remotes": list(remotes)}, "remotes", place, _title) if remotes else ()
    addresses = (_remote(one, f"{place}.remotes.{title}") for title, one in remotes.items())
    return Tenant(
        _tenant_id(name, place),
        _each(table, "called", place, _title),
        _each(table, "calling", place, _title),
        _each(table, "addresses", place, _network),
        _each(table, "certificates", place, _certificate),
        tuple(zip(titles, addresses, strict=True)),
    )


def _table(value: object, place: str, keys: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{place} is a table, [{place}]")
    if keys is not None and (unknown := sorted(value.keys() - keys)):
        raise _invalid(f"{place}: {unknown[0]!r} is none of {', '.join(sorted(keys))}")
    return value


def _each(
    table: dict[str, Any], key: str, place: str, read: Callable[[str, str], T]
) -> tuple[T, ...]:
    """Read a list. One that is empty could mean nobody or everybody, so it is refused."""
    if key not in table:
        return ()
    place = f"{place}.{key}"
    if not isinstance(table[key], list) or not table[key]:
        raise _invalid(f"{place} is a list of at least one text; without the key all are meant")
    found: list[T] = []
    for number, text in enumerate(table[key]):
        if not isinstance(text, str):
            raise _invalid(f"{place}[{number}] is not a text: write it in quotation marks")
        found.append(read(text, f"{place}[{number}]"))
        if found[-1] in found[:-1]:
            raise _invalid(f"{place}[{number}]: {text!r} stands twice: keep one of them")
    return tuple(found)


def _title(text: str, place: str) -> str:
    # PS3.5 §6.2: leading and trailing spaces are not significant.
    title = text.strip(" ")
    if not _is_title(title):
        raise _invalid(
            f"{place}: {text!r} is no AE title: 1 to 16 ASCII characters, no backslash and no "
            "control characters"
        )
    return title


def _network(text: str, place: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise _invalid(f"{place}: {error}; write 10.2.0.0/16, 10.2.0.7 or 2001:db8::/32") from None
    if not isinstance(network, IPv6Network):
        return network
    if network.network_address.scope_id is not None:
        raise _invalid(f"{place}: {text!r} has a zone, which is not looked at: leave it out")
    mapped = network.network_address.ipv4_mapped
    if mapped is not None and network.prefixlen >= 96:
        return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def _certificate(text: str, place: str) -> str:
    name = lower(text)
    if name.startswith("sha256:"):
        # `openssl x509 -fingerprint -sha256` puts colons between the bytes.
        name = f"sha256:{name.removeprefix('sha256:').replace(':', '')}"
        if _SHA256.fullmatch(name):
            return name
    elif name.isprintable() and name.strip() == name != "" and not set(name) & set("*:"):
        return name
    raise _invalid(
        f"{place}: {text!r} is neither a whole name, without wildcards and colons, nor "
        "'sha256:' and the 64 hexadecimal digits of a fingerprint"
    )


def _remote(value: object, place: str) -> Remote:
    table = _table(value, place, {"host", "port", "tls"})
    host, port, tls = table.get("host"), table.get("port"), table.get("tls", False)
    if not isinstance(host, str) or not (_HOST.fullmatch(host) or parse_address(host)):
        raise _invalid(f"{place}.host is a text, the name or the IP address of a host")
    # A bool is an int, but no port.
    if type(port) is not int or not 0 < port < 65536:
        raise _invalid(f"{place}.port is a whole number from 1 to 65535")
    if not isinstance(tls, bool):
        raise _invalid(f"{place}.tls is true or false")
    return Remote(host, port, tls)
