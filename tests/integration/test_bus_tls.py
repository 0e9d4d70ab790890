"""Our Kafka clients and a broker that speaks TLS alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacsless import bus
from pacsless.bus import Consumer, Message, Producer
from pacsless.errors import Unavailable
from pacsless.events import InstanceStored
from pacsless.settings import Settings
from pacsless.stack import kafka
from tests.certificates import Authority
from tests.events import EXAMPLES
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, require, running

pytestmark = pytest.mark.kafka

STORED = EXAMPLES[InstanceStored.TYPE]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require("java", "mvn")
    folder = tmp_path_factory.mktemp("kafka")
    port, controller = free_ports(2)
    jars = kafka.jars(REPOSITORY / ".pacsless" / "cache")
    command = kafka.prepare(folder, jars, port, controller)
    pair = authority.issue("kafka")
    keystore = folder / "keystore.pem"
    keystore.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    properties = folder / "server.properties"
    plain = properties.read_text()
    told = plain.replace("PLAINTEXT:PLAINTEXT", "SSL:SSL").replace("PLAINTEXT://", "SSL://")
    assert told.count("SSL") > 2
    properties.write_text(
        f"{told}\ninter.broker.listener.name=SSL\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={keystore}\n"
        f"ssl.truststore.type=PEM\nssl.truststore.location={authority.certificate}\n"
    )
    with running(command, {}, folder / "log"):
        yield f"127.0.0.1:{port}"


@pytest.fixture
def trusted(server: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    settings = Settings(kafka=(server,), kafka_tls=True)

    def there() -> bool:
        try:
            bus.create_topics(settings, 1)
        except Unavailable as error:
            raise AssertionError(str(error)) from None
        return True

    eventually(there, within=120)
    return settings


def test_events_go_there_and_come_back(trusted: Settings) -> None:
    bus.check(trusted)
    producer, consumer = Producer(trusted, "test"), Consumer(trusted, "tls", "test")
    try:
        producer.publish([STORED], "/test")
        consumer.subscribe([STORED.TOPIC], *[lambda _: {}] * 3)
        found: list[Message] = []

        def came() -> bool:
            found.extend(consumer.poll(0.2))
            return bool(found)

        eventually(came, within=60)
        assert [one.partition.topic for one in found] == [STORED.TOPIC]
    finally:
        producer.close()
        consumer.close()


def test_a_broker_of_an_authority_nobody_knows_is_none(
    trusted: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path, "Other").certificate))
    with pytest.raises(Unavailable):
        bus.check(trusted)


def test_without_tls_nothing_is_heard(server: str, trusted: Settings) -> None:
    with pytest.raises(Unavailable):
        bus.check(Settings(kafka=(server,)))
