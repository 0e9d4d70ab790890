"""No route of DICOMweb answers without a token that allows it, through nginx or past it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.instances import encode, make_dataset
from tests.integration.oauth2.conftest import ROUTES, SCOPES, Site, scope_of
from tests.nginx import HTTP
from tests.tokens import Issuer, ec_key, jwk, rsa_key

ROOTS = ("/dicom-web", "/tenants/north/dicom-web")
STRANGER = rsa_key()
WEAK = rsa_key(1024)
EXPIRED = int(time.time()) - 600


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(issuer: Issuer, algorithm: str = "none") -> str:
    return f"{segment({'alg': algorithm, 'kid': 'rsa'})}.{segment(issuer.claims())}."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """The attack that a library falls for which takes the algorithm from the token."""
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{segment({'alg': 'HS256', 'kid': 'rsa'})}.{segment(issuer.claims())}"
    signature = hmac.new(public, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def altered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{segment(issuer.claims(tenant='south'))}.{signature}"


def signed(**changes: Any) -> Callable[[Issuer], str]:
    return lambda issuer: f"Bearer {issuer.token(**changes)}"


def without_kid(issuer: Issuer) -> str:
    return "Bearer " + jwt.encode(issuer.claims(), issuer.key, "RS256")


def bearer(make: Callable[[Issuer], str]) -> Callable[[Issuer], str]:
    return lambda issuer: f"Bearer {make(issuer)}"


NONE: dict[str, Callable[[Issuer], str | None]] = {
    "no token": lambda issuer: None,
    "another scheme": lambda issuer: "Basic YW5uOnNlY3JldA==",
    "an empty token": lambda issuer: "Bearer ",
    "a token without scheme": lambda issuer: issuer.token(),
}
INVALID: dict[str, Callable[[Issuer], str]] = {
    "no JWT": lambda issuer: "Bearer abc",
    "three words": lambda issuer: "Bearer a.b.c",
    "no JSON": lambda issuer: "Bearer e30.e30.e30",
    "bytes": lambda issuer: "Bearer \xff\xfe",
    "two tokens": lambda issuer: f"Bearer {issuer.token()}, Bearer {issuer.token()}",
    "no algorithm": bearer(unsigned),
    "no algorithm, spelt otherwise": bearer(lambda issuer: unsigned(issuer, "nOnE")),
    "an algorithm that is a list": bearer(lambda issuer: unsigned(issuer, ["RS256"])),  # type: ignore[arg-type]
    "HS256 with the public key": bearer(signed_with_the_public_key),
    "another algorithm than the key's": signed(algorithm="PS256"),
    "a key of another kind": signed(key=ec_key(), algorithm="ES256"),
    "another key": signed(key=STRANGER),
    "another key with its address": signed(
        key=STRANGER, header={"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/"}
    ),
    "another key within": signed(key=STRANGER, header={"jwk": jwk("rsa", STRANGER)}),
    "an unknown key": signed(key=STRANGER, header={"kid": "stranger"}),
    "a path for a key": signed(header={"kid": "../../../../dev/null"}),
    "SQL for a key": signed(header={"kid": "' OR 1=1 --"}),
    "no key named": without_kid,
    "a key that encrypts": signed(header={"kid": "enc"}),
    "a short key": signed(key=WEAK, header={"kid": "weak"}),
    "a critical extension": signed(header={"crit": ["exp2"], "exp2": 1}),
    "another kind of token": signed(header={"typ": "logout+jwt"}),
    "altered claims": bearer(altered),
    "a cut signature": bearer(lambda issuer: issuer.token()[:-20]),
    "expired": signed(exp=EXPIRED),
    "no end": signed(exp=None),
    "an end that is no number": signed(exp="tomorrow"),
    # Of now, not of when this module was read.
    "not valid yet": bearer(lambda issuer: issuer.token(nbf=int(time.time()) + 600)),
    "issued in the future": bearer(lambda issuer: issuer.token(iat=int(time.time()) + 600)),
    "another issuer": signed(iss="https://elsewhere.example"),
    "the issuer, almost": lambda issuer: f"Bearer {issuer.token(iss=issuer.url + '/')}",
    "no issuer": signed(iss=None),
    "another audience": signed(aud="other"),
    "other audiences": signed(aud=["other", "pacsless2"]),
    "no audience": signed(aud=None),
    "an ID token": signed(aud="pacsless-viewer", scope=None),
    "no subject": signed(sub=None),
    "an empty subject": signed(sub=""),
    "lines for a subject": signed(sub="ann\r\nX-Evil: 1"),
    "a long subject": signed(sub="a" * 256),
}
FORBIDDEN: dict[str, Callable[[Issuer], str]] = {
    "no scope": signed(scope=None),
    "another scope": signed(scope="openid dicom.write"),
    "almost the scope": signed(scope="dicom.reader xdicom.read dicom.storex Dicom.Store"),
    "a scope that is a list": signed(scope=["dicom.read", "dicom.store"]),
}
TENANTLESS: dict[str, Callable[[Issuer], str]] = {
    "no tenant": signed(tenant=None),
    "an empty tenant": signed(tenant=""),
    "a path for a tenant": signed(tenant="../north"),
    "capitals": signed(tenant="NORTH"),
    "two tenants": signed(tenant=["north", "south"]),
}


def everywhere(site: Site) -> list[tuple[str, str]]:
    """Method and address of every route, below each root of nginx and past it."""
    through = [(method, root + path) for method, path, _ in ROUTES for root in ROOTS]
    through += [("GET", "/wado?requestType=WADO"), ("GET", "/tenants/north/wado")]
    past = [
        (method, f"http://{site.functions[function]}{path}")
        for method, path, function in ROUTES
        if function != "nginx"
    ]
    own = f"http://{site.functions['authorize']}/authorize"
    return [*through, *past, *((method, own) for method in SCOPES)]


def refused(site: Site, authorization: str | None, status: int, error: str) -> None:
    places = everywhere(site)
    assert len(places) > 60
    for method, place in places:
        answer = site.ask(authorization, place, method)
        about = (method, place, answer.status, answer.data[:200])
        assert answer.status == status, about
        (told,) = answer.headers.getlist("WWW-Authenticate")
        assert told.startswith(f'Bearer realm="pacsless", scope="{scope_of(method, place)}"'), told
        assert (f'error="{error}"' in told) == bool(error), (about, told)
        assert ("error=" in told) == bool(error), (about, told)
        assert "resource_metadata=" in told
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "X-Evil" not in answer.headers
        for part in (authorization or "").replace("Bearer", "").split("."):
            assert len(part) < 4 or part.encode("latin-1") not in answer.data


@pytest.fixture(scope="module", autouse=True)
def known_keys(site: Site) -> None:
    """The issuer has a short key, too, and all functions know its keys."""
    site.issuer.keys.append(jwk("weak", WEAK))
    for name, address in site.functions.items():
        assert site.ask(site.good(), f"http://{address}/nowhere").status == 404, name


@pytest.mark.parametrize("kind", NONE)
def test_no_token(site: Site, kind: str) -> None:
    refused(site, NONE[kind](site.issuer), 401, "")


@pytest.mark.parametrize("kind", INVALID)
def test_an_invalid_token(site: Site, kind: str) -> None:
    refused(site, INVALID[kind](site.issuer), 401, "invalid_token")


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_a_token_without_the_scope(site: Site, kind: str) -> None:
    refused(site, FORBIDDEN[kind](site.issuer), 403, "insufficient_scope")


@pytest.mark.parametrize("kind", TENANTLESS)
def test_a_token_of_no_tenant(site: Site, kind: str) -> None:
    refused(site, TENANTLESS[kind](site.issuer), 403, "")


def test_a_token_in_the_address(site: Site) -> None:
    for method, path, _ in ROUTES:
        query = f"?access_token={site.issuer.token()}"
        assert site.ask(None, f"/dicom-web{path}{query}", method).status == 401


def test_what_a_client_says_of_itself(site: Site) -> None:
    told = {
        "X_Pacsless_Tenant": "north", "X_Pacsless_User": "ann", "X_Pacsless_Root": "/dicom-web",
        "X_Original_Method": "GET", "X_Pacsless_Accel": "1", "X_Forwarded_Host": "evil",
    }  # fmt: skip
    for method, place in everywhere(site):
        answer = site.ask(None, place, method, **told)
        assert answer.status == 401, place


def test_a_header_that_is_too_large(site: Site) -> None:
    """A token can have 8 KB, a header 16 in nginx; more is no fault of the server."""
    for length in (7_000, 9_000, 15_000, 20_000, 70_000):
        answer = site.ask(f"Bearer {'a' * length}", "/dicom-web/studies")
        assert answer.status in (400, 401), length
        padded = site.ask(site.good(padding="a" * length), "/dicom-web/studies")
        assert padded.status in (400, 401), length


def test_other_methods_need_other_scopes(site: Site) -> None:
    place = f"http://{site.functions['authorize']}/authorize"
    for method, scope in (
        ("POST", "dicom.store"), ("PUT", "dicom.store"), ("PATCH", "dicom.store"),
        ("DELETE", "dicom.delete"),
    ):  # fmt: skip
        answer = site.ask(site.good(scope="dicom.read"), place, method)
        assert answer.status == 403
        told = answer.headers["WWW-Authenticate"]
        assert f'scope="{scope}", error="insufficient_scope"' in told
        assert site.ask(site.good(scope=scope), place, method).status == 204
        assert site.ask(site.good(scope=scope), place, "GET").status == 403


@pytest.mark.parametrize("root", ["/orthanc", "/tenants/north/orthanc", "/dicom-web/orthanc", ""])
def test_a_search_needs_the_scope_to_read(site: Site, root: str) -> None:
    place = root or f"http://{site.functions['orthanc']}/orthanc"
    for scope, status in (("dicom.read", 200), ("dicom.store", 403), ("dicom.delete", 403)):
        answer = site.ask(site.good(scope=scope), f"{place}/tools/lookup", "POST")
        assert answer.status == status, answer.data
        refusals = answer.headers.getlist("WWW-Authenticate")
        assert ['scope="dicom.read"' in one for one in refusals] == [True] * (status == 403)


@pytest.mark.parametrize(
    "path",
    [
        "/orthanc/instances", "/orthanc/tools/../instances", "/orthanc/tools/%2e%2e/instances",
        "/orthanc//instances", "/orthanc/instances?/orthanc/tools/find",
        "/orthanc/tools/find/../../../dicom-web/studies",
        "/dicom-web/studies?x=/orthanc/tools/find",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_search_needs_the_scope_to_store(site: Site, path: str) -> None:
    def sent(scope: str) -> tuple[int, int]:
        body = encode(make_dataset())
        head = (
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/dicom\r\n"
            f"Authorization: {site.good(scope=scope)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        before = len(list(site.folder.rglob("*.dcm")))
        status = site.front.raw(head.encode() + body).status
        return status, len(list(site.folder.rglob("*.dcm"))) - before

    assert sent("dicom.read") == (403, 0)
    assert sent("dicom.store") == (200, 1), "it is an address to store at"


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("pieces", [False, True])
def test_nothing_is_stored_without_the_scope(site: Site, past: bool, pieces: bool) -> None:
    root = f"http://{site.functions['stow_rs']}" if past else f"{site.front.url}/dicom-web"
    before = sorted(site.folder.rglob("*.dcm"))
    tokens = {None: 401, site.good(scope="dicom.read"): 403, site.good(exp=EXPIRED): 401}
    for size in (0, 100, 10_000, 100_000, 8 << 20):
        body = encode(make_dataset(pixels=bytes(size)))
        for authorization, status in tokens.items():
            headers = {"Content-Type": "application/dicom"}
            if authorization:
                headers["Authorization"] = authorization
            answer = HTTP.request(
                "POST", f"{root}/studies", headers=headers,
                body=iter([body[:50], body[50:]]) if pieces else body,
            )  # fmt: skip
            assert answer.status == status, (size, answer.data)
            assert 'scope="dicom.store"' in answer.headers["WWW-Authenticate"]
    assert sorted(site.folder.rglob("*.dcm")) == before


@pytest.mark.parametrize("past", [False, True])
def test_nothing_is_deleted_without_the_scope(site: Site, past: bool) -> None:
    root = f"http://{site.functions['stow_rs']}" if past else f"{site.front.url}/dicom-web"
    study, series, sop = site.stored["north"].uids
    before = sorted(site.folder.rglob("*.dcm"))
    for path in (
        f"/studies/{study}", f"/studies/{study}/series/{series}",
        f"/studies/{study}/series/{series}/instances/{sop}",
    ):  # fmt: skip
        for authorization, status in {
            None: 401,
            site.good(scope="dicom.read dicom.store"): 403,
            site.good(scope="dicom.delete", exp=EXPIRED): 401,
            site.good(scope="dicom.delete", tenant="south"): 404,
        }.items():
            answer = site.ask(authorization, root + path, "DELETE")
            assert answer.status == status, (path, answer.data)
    assert sorted(site.folder.rglob("*.dcm")) == before


def test_no_token_is_in_a_log(site: Site) -> None:
    site.ask(site.good(sub="canary-user"), "/dicom-web/studies/1.2/metadata")
    last = site.ask(site.good(exp=EXPIRED), "/dicom-web/studies")
    site.front.logged(last)
    logs = site.logs()
    assert "canary-user" in logs
    assert len(site.sent) > 100
    for sent in site.sent:
        for part in sent.removeprefix("Bearer ").split("."):
            # Every token's header is much the same, and short ones are words.
            assert len(part) < 60 or part not in logs
