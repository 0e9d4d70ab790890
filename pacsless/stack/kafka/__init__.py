"""A real Kafka broker on this machine: one node, KRaft, jars from Maven Central.

`jars` downloads them once, `prepare` makes a broker's folder and returns the
command that runs it. Whoever runs the command waits for it by asking it for its
topics.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Final

from pacsless.stack import maven
from pacsless.stack.errors import StackError

_HERE: Final = Path(__file__).parent

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.quorum.bootstrap.servers={host}:{controller_port}
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# One node has nobody to wait for; without this every group start costs 3 s.
group.initial.rebalance.delay.ms=0
# A misspelt topic must be an error.
auto.create.topics.enable=false
# The default of 128 MiB is for clusters that compact much.
log.cleaner.dedupe.buffer.size=16777216
"""

_LOGGING: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="console"><PatternLayout pattern="%d{ISO8601} %p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="console"/></Root></Loggers>
</Configuration>
"""


def jars(cache: Path) -> Path:
    """Return the folder of the broker's jars, downloading them if they are not there.

    Parameters
    ----------
    cache
        Folder for downloads, shared by all stacks of this clone. Two processes
        may ask at once; one downloads, the other waits.

    Raises
    ------
    StackError
        If Maven is missing or fails, or a jar is not the one we know.
    """
    return maven.fetched(cache / "kafka", _HERE / "pom.xml", _HERE / "jars.sha256")


def prepare(
    folder: Path, lib: Path, port: int, controller_port: int, host: str = "127.0.0.1"
) -> list[str]:
    """Write a broker's configuration, format its storage once, return its command.

    Parameters
    ----------
    folder
        The broker's own folder: configuration and data.
    lib
        Folder of the jars.
    port, controller_port
        Where clients and the controller listen.
    host
        Address of both.

    Raises
    ------
    StackError
        If the storage cannot be formatted.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    data, properties, logging = folder / "data", folder / "server.properties", folder / "log4j2.xml"
    properties.write_text(
        _PROPERTIES.format(host=host, port=port, controller_port=controller_port, data=data)
    )
    logging.write_text(_LOGGING)
    java = shutil.which("java")
    if java is None:
        raise StackError("kafka", "java is not installed: apt-get install openjdk-17-jre-headless")
    command = [
        java, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        f"-Dlog4j2.configurationFile={logging}", "-cp", f"{lib}/*",
    ]  # fmt: skip
    if not (data / "meta.properties").exists():
        # A leading "-" would be read as an option.
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        identifier = text.replace("-", "_")
        done = subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "--standalone", "-t", identifier,
             "-c", str(properties)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise StackError("kafka", f"cannot format Kafka's storage:\n{done.stdout[-2000:]}")
    return [*command, "kafka.Kafka", str(properties)]
