"""The provider's keys: known for a while, and asked for seldom, whatever tokens name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pacsless.errors import Unavailable
from pacsless.oauth2.claims import InvalidToken
from pacsless.oauth2.provider import FRESH_S, KEPT_S, PAUSE_S, Provider
from tests.eventually import eventually
from tests.tokens import Issuer, issuing, jwk, rsa_key


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(issuer: Issuer, clock: Clock) -> Provider:
    return Provider(issuer.url, clock)


def fetches(issuer: Issuer) -> int:
    return issuer.asked.count("/keys")


def test_known_keys_are_asked_for_once(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    assert issuer.asked == []
    for _ in range(20):
        assert {provider.key("rsa").key_id, provider.key("ec").key_id} == {"rsa", "ec"}
    assert fetches(issuer) == 1
    clock.now += FRESH_S + 1
    provider.key("rsa")
    assert fetches(issuer) == 2


def test_garbage_does_not_make_it_ask(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    for second in range(60):
        for number in range(20):
            with pytest.raises(InvalidToken):
                provider.key(f"garbage-{second}-{number}")
        clock.now += 1
    assert fetches(issuer) <= 60 / PAUSE_S + 1


def test_a_key_that_is_new_is_found_and_a_withdrawn_one_forgotten(
    provider: Provider, issuer: Issuer, clock: Clock
) -> None:
    provider.key("rsa")
    issuer.keys = [jwk("next", rsa_key())]
    clock.now += PAUSE_S
    assert provider.key("next").key_id == "next"
    with pytest.raises(InvalidToken):
        provider.key("rsa")


def test_a_withdrawn_key_is_forgotten_though_nobody_asks_for_another(
    provider: Provider, issuer: Issuer, clock: Clock
) -> None:
    provider.key("rsa")
    issuer.keys = [jwk("next", rsa_key())]
    clock.now += FRESH_S
    provider.key("rsa")
    clock.now += 1
    with pytest.raises(InvalidToken):
        provider.key("rsa")


def test_known_keys_go_on_while_the_provider_is_down(
    provider: Provider, issuer: Issuer, clock: Clock
) -> None:
    provider.key("rsa")
    issuer.status = 500
    clock.now += KEPT_S
    for _ in range(5):
        provider.key("rsa")
    with pytest.raises(InvalidToken):
        provider.key("other")
    assert fetches(issuer) == 1 and len(issuer.asked) == 3, "one try, though five asked"
    clock.now += 1
    with pytest.raises(Unavailable):
        provider.key("rsa")
    issuer.status = 200
    clock.now += PAUSE_S
    provider.key("rsa")


def test_who_starts_before_the_provider_waits_for_it(
    provider: Provider, issuer: Issuer, clock: Clock
) -> None:
    issuer.status = 503
    for _ in range(5):
        with pytest.raises(Unavailable):
            provider.key("rsa")
    assert len(issuer.asked) == 1
    issuer.status = 200
    clock.now += PAUSE_S
    provider.key("rsa")


def test_a_provider_nobody_reaches(clock: Clock) -> None:
    with pytest.raises(Unavailable):
        Provider("http://127.0.0.1:9", clock).key("rsa")


def _other_issuer(issuer: Issuer) -> None:
    issuer.discovery["issuer"] = "https://elsewhere.example"


def _keys_elsewhere(issuer: Issuer) -> None:
    issuer.discovery["jwks_uri"] = f"http://localhost.example{issuer.url[16:]}/keys"


def _keys_in_a_file(issuer: Issuer) -> None:
    issuer.discovery["jwks_uri"] = "file:///etc/passwd"


def _no_address(issuer: Issuer) -> None:
    del issuer.discovery["jwks_uri"]


def _redirect(issuer: Issuer) -> None:
    issuer.status = 302


def _body(body: bytes) -> Callable[[Issuer], None]:
    def change(issuer: Issuer) -> None:
        issuer.body = body

    return change


@pytest.mark.parametrize(
    "change",
    [
        _other_issuer, _keys_elsewhere, _keys_in_a_file, _no_address, _redirect,
        _body(b"<html>"), _body(b"[]"), _body(b"{}"), _body(b'{"keys": 1}'),
        _body(b'{"keys": [1, null, {}, {"kty": "RSA"}]}'),
        _body(b'{"keys": [{"kty": "RSA", "kid": "rsa", "n": "", "e": ""}]}'),
        _body(b'{"keys": [' + b" " * (2 << 20) + b"]}"), _body(b"[" * 100_000),
    ],
)  # fmt: skip
def test_nonsense_is_no_key(
    provider: Provider, issuer: Issuer, change: Callable[[Issuer], None]
) -> None:
    change(issuer)
    with pytest.raises(Unavailable):
        provider.key("rsa")
    assert "/elsewhere" not in issuer.asked


def test_who_has_a_key_does_not_wait(provider: Provider, issuer: Issuer, clock: Clock) -> None:
    provider.key("rsa")
    clock.now += FRESH_S + 1
    issuer.open.clear()
    waiting = threading.Thread(target=provider.key, args=("rsa",))
    waiting.start()
    eventually(lambda: len(issuer.asked) == 3)
    for _ in range(5):
        provider.key("rsa")
    assert waiting.is_alive()
    issuer.open.set()
    waiting.join(60)
    assert not waiting.is_alive()
    assert fetches(issuer) == 2


def test_all_who_come_first_wait_for_one_answer(provider: Provider, issuer: Issuer) -> None:
    issuer.open.clear()
    found: list[object] = []
    waiting = [threading.Thread(target=lambda: found.append(provider.key("rsa"))) for _ in range(8)]
    for one in waiting:
        one.start()
    eventually(lambda: issuer.asked)
    issuer.open.set()
    for one in waiting:
        one.join(60)
    assert len(found) == 8
    assert fetches(issuer) == 1
