"""Verifying a token: signature, issuer, audience, times (RFC 9068 §4, RFC 8725)."""

from __future__ import annotations

from typing import Any, Final

import jwt

from pacsless.errors import Unavailable
from pacsless.oauth2.claims import Access, InvalidToken, Refused, Scopes, access, bearer
from pacsless.oauth2.provider import Provider
from pacsless.settings import Settings

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""All that sign with a key which only the provider has; never what the token asks for alone."""
LEEWAY_S: Final = 30
"""By how much the provider's clock may differ from ours."""
LONGEST: Final = 8192
"""Bytes of a token; gunicorn, which serves `stow_rs`, takes no longer header."""

# Providers write JWT, or nothing, or what RFC 9068 §2.1 wants; other kinds of token say so here.
_TYPES: Final = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
_SENTENCES: Final = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidAlgorithmError: "the token is not signed by an algorithm of its key",
    jwt.InvalidSignatureError: "the token's signature is wrong",
    jwt.MissingRequiredClaimError: "the token lacks a claim that is required",
}


class AccessTokens:
    """Checks the tokens of one provider; for many threads.

    Parameters
    ----------
    provider
        Has the keys.
    audience
        What the tokens have to be for.
    tenant_claim
        Name of the claim that has the tenant.
    scopes
        What the scopes are called.
    """

    def __init__(
        self, provider: Provider, audience: str, tenant_claim: str, scopes: Scopes
    ) -> None:
        self._provider, self._audience = provider, audience
        self._tenant_claim, self._scopes = tenant_claim, scopes
        self._jwt = jwt.PyJWT({"enforce_minimum_key_length": True})

    @classmethod
    def from_settings(cls, settings: Settings) -> AccessTokens:
        """Build it; nothing is asked of the provider before the first token comes.

        Raises
        ------
        Unavailable
            If no issuer is set.
        """
        if not settings.oauth2_issuer:
            raise Unavailable("no-issuer", "PACSLESS_OAUTH2_ISSUER is not set: nothing is checked")
        return cls(
            Provider(settings.oauth2_issuer),
            settings.oauth2_audience,
            settings.oauth2_tenant_claim,
            Scopes(
                read=settings.oauth2_read_scope,
                store=settings.oauth2_store_scope,
                delete=settings.oauth2_delete_scope,
            ),
        )

    def access(self, authorization: str | None, method: str, named: str | None) -> Access:
        """Tell whose request it is.

        Parameters
        ----------
        authorization
            The header.
        method
            Decides which scope is needed.
        named
            Tenant the request names, if it names one.

        Raises
        ------
        Refused
            If there is no token, or none that allows this.
        Unavailable
            If the provider's keys are not known and cannot be had.
        """
        scope = self._scopes.of(method)
        try:
            claims = self._verified(bearer(authorization))
            return access(claims, self._tenant_claim, scope, named)
        except Refused as refused:
            refused.scope = scope
            raise

    def _verified(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST:
            raise InvalidToken("token", "the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            kid, kind = header.get("kid"), header.get("typ", "")
            if not isinstance(kid, str) or not kid:
                raise InvalidToken("token", "the token does not name its key")
            if not isinstance(kind, str) or kind.lower() not in _TYPES:
                raise InvalidToken("token", "this is no access token")
            if header.get("alg") not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            return self._jwt.decode(
                token,
                self._provider.key(kid),
                algorithms=ALGORITHMS,
                audience=self._audience,
                issuer=self._provider.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            # PyJWT's own words may quote the token.
            sentence = _SENTENCES.get(type(error), "the token is malformed")
            raise InvalidToken("token", sentence) from None
