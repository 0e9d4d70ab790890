"""nginx's access log with a real nginx, rotated while it serves, to a real broker."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from pacsless.access_log import SOURCE, FollowedLog, ship
from pacsless.bus import Producer
from pacsless.stack import configuration
from pacsless.stack.parts import executable
from tests.eventually import eventually
from tests.nginx import FUNCTIONS, UNCHECKED
from tests.ports import free_ports
from tests.services import KafkaBroker, require

HTTP = urllib3.PoolManager(retries=False)
ROTATE_AT = 4096


@dataclass(frozen=True)
class Nginx:
    url: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "access.log"


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    require("/usr/sbin/nginx")
    port, nowhere = free_ports(2)
    values = {
        "LISTEN": f"127.0.0.1:{port}", "NGINX_USER": "root", "STATE_DIR": str(tmp_path),
        "ERROR_LOG": "stderr", "ACCESS_LOG": str(tmp_path / "access.log"),
        "ARCHIVE_ROOT": str(tmp_path), "VIEWER_ROOT": str(tmp_path), "DEFAULT_TENANT": "default",
        "CAPABILITIES": str(tmp_path), "DELETE": "off",
        **dict.fromkeys((name.upper() for name in FUNCTIONS), f"127.0.0.1:{nowhere}"),
        **UNCHECKED,
    }  # fmt: skip
    file = tmp_path / "nginx.conf"
    file.write_text(configuration.substitute(configuration.NGINX_TEMPLATE.read_text(), values))
    server = subprocess.Popen(
        [executable("nginx", "nginx"), "-e", "stderr", "-p", str(tmp_path), "-c", str(file)]
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert server.poll() is None
        try:
            return HTTP.request("GET", f"{url}/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    try:
        eventually(ready)
        yield Nginx(url, tmp_path)
    finally:
        server.terminate()
        server.wait(30)


def test_every_request_arrives_once_while_the_log_is_rotated(
    nginx: Nginx, empty_kafka: KafkaBroker
) -> None:
    from kafka import KafkaConsumer, TopicPartition

    log = FollowedLog(nginx.log, nginx.folder / "position", nginx.folder / "nginx.pid", ROTATE_AT)
    producer = Producer(empty_kafka.settings, "access-log-test")
    stop = threading.Event()
    rotations = 0
    rotate = log.rotate

    def counted() -> bool:
        nonlocal rotations
        done = rotate()
        rotations += done
        return done

    log.rotate = counted  # type: ignore[method-assign]
    worker = threading.Thread(
        target=ship, args=(log, lambda events: producer.publish(events, SOURCE), stop, 0.05)
    )
    worker.start()
    sent: set[str] = set()
    try:

        def enough() -> bool:
            for _ in range(20):
                answer = HTTP.request("GET", f"{nginx.url}/dicom-web/studies")
                sent.add(answer.headers["X-Request-ID"])
            return rotations >= 3

        eventually(enough)
        consumer = KafkaConsumer(
            bootstrap_servers=list(empty_kafka.servers), auto_offset_reset="earliest"
        )
        partitions = consumer.partitions_for_topic("access_log_queue")
        consumer.assign([TopicPartition("access_log_queue", number) for number in partitions])
        found: list[str] = []

        def arrived() -> bool:
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    assert record.key == b"default/"
                    found.extend(one["RequestID"] for one in json.loads(record.value)["Accesses"])
            return set(found) >= sent

        eventually(arrived)
        consumer.close()
    finally:
        stop.set()
        worker.join()
        producer.close()
    assert sorted(found) == sorted(sent)
