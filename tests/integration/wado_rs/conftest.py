"""wado_rs as it is deployed: through functions-framework, on a real archive of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pacsless import resources
from pacsless.archive import Archive, open_archive
from pacsless.cache import Cache
from pacsless.settings import Settings
from tests.wado import Pacs, deployed


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    with deployed("wado_rs", tmp_path) as running:
        yield running


@pytest.fixture
def s3(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pacs]:
    """The same on S3, as moto serves it."""
    for name, value in (
        ("ACCESS_KEY_ID", "testing"),
        ("SECRET_ACCESS_KEY", "testing"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    bucket = hashlib.sha256(str(tmp_path).encode()).hexdigest()[:40]
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=bucket)
    archive = open_archive(
        Settings(archive=f"s3://{bucket}/p", spool=str(tmp_path / "spool"), s3_endpoint=endpoint)
    )
    with resources.override({Archive: archive, Cache: Cache()}):
        yield Pacs(archive, pacs.client)
    server.stop()
