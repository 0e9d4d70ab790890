"""What the claims of a verified token are worth, and how a refusal is told (RFC 6750 §3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final

from pacsless.errors import InvalidIdentity, PacslessError
from pacsless.identity import valid_tenant

# OpenID Connect Core §2: at most 255 ASCII characters. It becomes a header and a column.
_SUBJECT: Final = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Refused(PacslessError):
    """Base of the two answers to a request that its token does not allow."""

    error: ClassVar[str] = ""
    """RFC 6750 §3.1."""
    scope = ""
    """The one that is needed."""


class NoToken(Refused):
    """There is none: RFC 6750 §3.1 gives that no error code."""

    status = HTTPStatus.UNAUTHORIZED


class InvalidToken(Refused):
    """It is not one of ours, or no longer."""

    status = HTTPStatus.UNAUTHORIZED
    error = "invalid_token"


class Forbidden(Refused):
    """It is good, but for something else."""

    status = HTTPStatus.FORBIDDEN
    error = "insufficient_scope"


class OtherTenant(Refused):
    """It is of another tenant, or of none: no other scope would help."""

    status = HTTPStatus.FORBIDDEN


@dataclass(frozen=True, slots=True)
class Scopes:
    """What the scopes are called that allow something."""

    read: str
    store: str
    delete: str

    def of(self, method: str) -> str:
        """Return the scope a method needs: what neither reads nor deletes stores."""
        if method in _READING:
            return self.read
        return self.delete if method == "DELETE" else self.store


@dataclass(frozen=True, slots=True)
class Access:
    """Whose request it is."""

    tenant: str
    """Validated."""
    user: str
    """The token's subject: what the provider calls the person or program."""


def access(claims: Mapping[str, Any], tenant_claim: str, scope: str, named: str | None) -> Access:
    """Read whose request it is from claims that were verified.

    Parameters
    ----------
    claims
        The token's.
    tenant_claim
        Name of the one that has the tenant.
    scope
        The scope that is needed.
    named
        Tenant the request names, if it names one.

    Raises
    ------
    InvalidToken
        If there is no usable subject.
    OtherTenant
        If there is no usable tenant, or it is another one.
    Forbidden
        If the scope is not granted.

    Examples
    --------
    >>> access({"sub": "ann", "tenant": "north", "scope": "openid read"}, "tenant", "read", None)
    Access(tenant='north', user='ann')
    """
    user = claims.get("sub")
    if not isinstance(user, str) or not _SUBJECT.fullmatch(user):
        raise InvalidToken("token-subject", "the token has no subject, or one that is none")
    tenant = claims.get(tenant_claim)
    try:
        tenant = valid_tenant(tenant) if isinstance(tenant, str) else None
    except InvalidIdentity:
        tenant = None
    if tenant is None or named not in (None, tenant):
        # One answer whether the other tenant exists or not.
        raise OtherTenant("tenant", "the token is not one of this tenant")
    granted = claims.get("scope")
    if not isinstance(granted, str) or scope not in granted.split(" "):
        raise Forbidden("scope", f"the token lacks the scope {scope}")
    return Access(tenant, user)


def bearer(authorization: str | None) -> str:
    """Return the token of the header Authorization.

    Raises
    ------
    NoToken
        If it has none.
    InvalidToken
        If it is empty: granian makes that of bytes that are not ASCII.

    Examples
    --------
    >>> bearer("Bearer abc.def.ghi")
    'abc.def.ghi'
    """
    if authorization == "":
        raise InvalidToken("token", "the header Authorization is empty")
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NoToken("no-token", "an access token is needed (Authorization: Bearer)")
    return token


def challenge(refused: Refused, scheme: str, host: str, root: str) -> str:
    """Return the value of WWW-Authenticate (RFC 6750 §3, RFC 9728 §5.1).

    Parameters
    ----------
    refused
        Why. Its message has no quotation mark and nothing that the client has sent.
    scheme, host
        As the client has called the service; a strange host is not repeated.
    root
        Path of the tenant's DICOMweb.
    """
    told = {"realm": "pacsless", "scope": refused.scope}
    if refused.error:
        told |= {"error": refused.error, "error_description": refused.message}
    if _HOST.fullmatch(host) and root.startswith("/"):
        told["resource_metadata"] = f"{scheme}://{host}/.well-known/oauth-protected-resource{root}"
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in told.items())
