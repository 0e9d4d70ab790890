"""Profile production as a whole: objects on S3, every store outside, two of what answers.

The stores are those of another release, in another namespace; S3 is moto's, beside the tests.
Only what a pod is to have kept free is less than the profile says, for one node of two cores.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.cluster.acknowledged import (
    Sent,
    everything_is_found,
    not_as_sent,
    reconciled,
    send,
    until_more_are_stored,
    while_sending,
)
from tests.cluster.kubectl import Cluster, own_namespace
from tests.cluster.release import NAME, Release
from tests.dicom_files import BUNDLED

pytestmark = pytest.mark.timeout(900)

_BUCKET: Final = "images"
_KEYS: Final = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_namespace("pacsless-production", node=True) as one:
        yield one


@pytest.fixture(scope="module")
def stores() -> Iterator[Release]:
    """A release of stores alone."""
    with own_namespace("pacsless-stores", node=True) as one:
        release = Release(one)
        release.install("functionDefaults.enabled=false")
        release.require_reachable()
        yield release


@pytest.fixture(scope="module")
def endpoint(stores: Release) -> Iterator[str]:
    """S3, at the address that pods have for whoever runs the tests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(stores.service("kafka", "kafka"))
        address = one.getsockname()[0]
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        url = f"http://{address}:{port}"
        boto3.client(
            "s3", endpoint_url=url, region_name="us-east-1",
            aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
        ).create_bucket(Bucket=_BUCKET)  # fmt: skip
        yield url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def release(cluster: Cluster, stores: Release, endpoint: str) -> Release:
    def host(name: str) -> str:
        return f"{NAME}-{name}.{stores.cluster.namespace}.svc.cluster.local"

    copied = {"postgres": "url", "redis": "url", "doris": "password"}
    for name, key in copied.items():
        told = stores.cluster.get("secret", f"{NAME}-{name}")["data"][key]
        _secret(cluster, name, {key: base64.b64decode(told).decode()})
    _secret(cluster, _BUCKET, _KEYS)
    one = Release(cluster)
    one.install(
        "profile=production",
        *(f"{name}.existingSecret={name}" for name in copied),
        f"archive.s3.bucket={_BUCKET}",
        f"archive.s3.endpoint={endpoint}",
        "archive.s3.region=us-east-1",
        f"archive.s3.existingSecret={_BUCKET}",
        f"kafka.bootstrapServers={{{host('kafka')}:9092}}",
        f"doris.frontEnd=http://{host('warehouse')}:8030",
        f"doris.mysql={host('warehouse')}:9030",
        f"doris.redirectHosts={{{host('warehouse')}:8040}}",
        "gateway.service.type=ClusterIP",
        "gateway.resources.requests.cpu=10m",
        "nginx.resources.requests.cpu=10m",
        "functionDefaults.resources.requests.cpu=10m",
    )
    return one


def _secret(cluster: Cluster, name: str, data: dict[str, str]) -> None:
    told = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
    cluster.apply(told)


def test_what_was_sent_comes_back_from_s3(release: Release, sent: Sent) -> None:
    assert len(release.pods("gateway")) == 2
    send(release, sent, sorted(BUNDLED.values()))
    assert len(sent.files) >= 30
    everything_is_found(release, sent)
    assert not_as_sent(release, sent.files) == []


def test_either_gateway_may_be_killed(release: Release, sent: Sent, tmp_path: Path) -> None:
    with while_sending(release, sent, tmp_path) as stored:
        for pod in release.pods("gateway"):
            until_more_are_stored(stored)
            release.cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        until_more_are_stored(stored)
    everything_is_found(release, sent)
    reconciled(release)
