"""Fixtures shared by all suites; the services behind them are in `tests.services`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.services import KafkaBroker, PostgresServer, RedisServer, require

# Asked for by name only: it acts on whatever cluster KUBECONFIG names; and it wants images made
# and a network of its own (make image-test); and it takes minutes (make terraform-test).
collect_ignore = ["cluster", "images", "knative", "terraform/test_apply.py"]

# A busy machine is slow at making examples, too.
_PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", **_PATIENT)
settings.register_profile("thorough", max_examples=2000, **_PATIENT)
settings.load_profile("default")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Divide the tests, if there are two processes."""
    from tests.suites import Suites

    return Suites(config, log)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A running broker with every topic; ``kafka.settings`` reaches it."""
    require("java", "mvn")
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def empty_kafka(kafka: KafkaBroker) -> KafkaBroker:
    """The broker, with no event in it."""
    kafka.renew_topics()
    return kafka


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis of the test's own; ``redis_server.settings`` reaches it."""
    require("redis-server")
    server = RedisServer(tmp_path)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL with the schema; ``postgres.settings`` reaches it."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
