"""What claims are worth, how a refusal is told, and what can be set."""

from __future__ import annotations

from typing import Any

import pytest

from pacsless.errors import Unavailable
from pacsless.oauth2.claims import (
    Access,
    Forbidden,
    InvalidToken,
    NoToken,
    OtherTenant,
    Refused,
    Scopes,
    access,
    bearer,
    challenge,
)
from pacsless.oauth2.tokens import AccessTokens
from pacsless.settings import InvalidSetting, Settings

SCOPES = Scopes(read="r", store="s", delete="d")
GOOD: dict[str, Any] = {"sub": "ann", "tenant": "north", "scope": "openid r"}


@pytest.mark.parametrize(
    ("method", "scope"),
    [
        ("GET", "r"), ("HEAD", "r"), ("OPTIONS", "r"), ("POST", "s"), ("PUT", "s"),
        ("PATCH", "s"), ("DELETE", "d"), ("get", "s"), ("BREW", "s"),
    ],
)  # fmt: skip
def test_a_method_needs_a_scope(method: str, scope: str) -> None:
    assert SCOPES.of(method) == scope


@pytest.mark.parametrize("named", [None, "north"])
def test_good_claims(named: str | None) -> None:
    assert access(GOOD, "tenant", "r", named) == Access("north", "ann")
    other = {**GOOD, "https://example.org/site": "north"}
    del other["tenant"]
    assert access(other, "https://example.org/site", "r", named).tenant == "north"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"sub": None}, InvalidToken),
        ({"sub": 7}, InvalidToken),
        ({"sub": ""}, InvalidToken),
        ({"sub": " ann"}, InvalidToken),
        ({"sub": "ann\n"}, InvalidToken),
        ({"sub": "änn"}, InvalidToken),
        ({"sub": "a" * 256}, InvalidToken),
        ({"tenant": None}, OtherTenant),
        ({"tenant": ["north"]}, OtherTenant),
        ({"tenant": "North"}, OtherTenant),
        ({"tenant": "../north"}, OtherTenant),
        ({"tenant": "south"}, OtherTenant),
        ({"scope": None}, Forbidden),
        ({"scope": ["r"]}, Forbidden),
        ({"scope": ""}, Forbidden),
        ({"scope": "read rr R"}, Forbidden),
    ],
)
def test_claims_that_do_not_allow_it(changes: dict[str, Any], kind: type[Refused]) -> None:
    with pytest.raises(kind) as caught:
        access(GOOD | changes, "tenant", "r", "north")
    assert type(caught.value) is kind
    for value in changes.values():
        assert not isinstance(value, str) or len(value) < 4 or value not in str(caught.value)


@pytest.mark.parametrize("text", ["Bearer a.b.c", "bearer a.b.c", " BEARER  a.b.c "])
def test_a_token_in_the_header(text: str) -> None:
    assert bearer(text) == "a.b.c"


@pytest.mark.parametrize("text", [None, "Bearer", "Bearer ", "Basic abc", "a.b.c", "Bearera.b"])
def test_no_token_in_the_header(text: str | None) -> None:
    with pytest.raises(NoToken):
        bearer(text)


def test_a_header_whose_bytes_the_server_has_left_out_is_an_invalid_token() -> None:
    with pytest.raises(InvalidToken):
        bearer("")


def test_a_challenge() -> None:
    refused = Forbidden("scope", "the token lacks the scope r")
    refused.scope = "r"
    assert challenge(refused, "https", "example.org", "/dicom-web") == (
        'Bearer realm="pacsless", scope="r", error="insufficient_scope", '
        'error_description="the token lacks the scope r", '
        'resource_metadata="https://example.org/.well-known/oauth-protected-resource/dicom-web"'
    )
    missing = NoToken("no-token", "an access token is needed")
    missing.scope = "r"
    for host, root in (('h", x="evil', "/dicom-web"), ("h", "https://h/dicom-web")):
        assert challenge(missing, "https", host, root) == 'Bearer realm="pacsless", scope="r"'


@pytest.mark.parametrize(
    "issuer",
    [
        "https://id.example.org", "https://id.example.org:8443/realms/hospital/",
        "http://127.0.0.1:8180/realms/hospital", "http://localhost/realms/a", "http://[::1]:8180",
    ],
)  # fmt: skip
def test_an_issuer(issuer: str) -> None:
    assert Settings.from_environ({"PACSLESS_OAUTH2_ISSUER": issuer}).oauth2_issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example.org", "http://127.0.0.1.example.org", "http://localhost.example.org",
        "http://127.0.0.1@example.org", "http://10.0.0.1:8180", "ftp://127.0.0.1", "id.example.org",
        "https://", "https://id.example.org/?a=b", "https://id.example.org/#a", "file:///etc/passwd",
        "https://id.example.org/'; return 200", 'https://id.example.org/"', "https://id.example.org/$x",
    ],
)  # fmt: skip
def test_what_is_no_issuer(issuer: str) -> None:
    with pytest.raises(InvalidSetting, match="PACSLESS_OAUTH2_ISSUER must be an address that"):
        Settings.from_environ({"PACSLESS_OAUTH2_ISSUER": issuer})


@pytest.mark.parametrize(
    "name", ["AUDIENCE", "TENANT_CLAIM", "READ_SCOPE", "STORE_SCOPE", "DELETE_SCOPE", "CLIENT"]
)
@pytest.mark.parametrize("value", ["", "two words", 'a"b', "$a", "ä", "a\\b"])
def test_a_name_is_one_word(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"PACSLESS_OAUTH2_{name} is not one plain word"):
        Settings.from_environ({f"PACSLESS_OAUTH2_{name}": value})


def test_nothing_is_allowed_where_no_issuer_is_set() -> None:
    """Else nginx would be told yes by a function that checks nothing."""
    with pytest.raises(Unavailable):
        AccessTokens.from_settings(Settings())
