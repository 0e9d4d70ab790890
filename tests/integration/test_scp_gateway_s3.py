"""The gateway with its archive on S3, as moto serves it."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pacsless.archive import open_archive
from pacsless.send import send_paths
from pacsless.settings import Settings
from tests.gateway import GatewayProcess, data_set
from tests.instances import encode, make_dataset


def test_stored_repeated_conflicting_and_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="gateway-test")
    gateway = GatewayProcess(tmp_path, ARCHIVE="s3://gateway-test/pacs", S3_ENDPOINT=endpoint)
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": "1.4"}
    first, second, third = (tmp_path / f"{number}.dcm" for number in range(3))
    first.write_bytes(encode(make_dataset(bytes(100), **uids)))
    second.write_bytes(encode(make_dataset(b"\1" * 100, **uids)))
    third.write_bytes(encode(make_dataset(bytes(100))))
    try:
        gateway.start()
        for path, status in ((first, 0), (first, 0), (second, 0x0111), (second, 0x0111)):
            assert send_paths([path], gateway.options()).statuses == {status: 1}
        archive = open_archive(
            Settings(
                archive="s3://gateway-test/pacs", spool=str(tmp_path / "x"), s3_endpoint=endpoint
            )
        )
        keys = sorted(one.key for one in archive.list(""))
        assert len(keys) == 2 and keys[0] == "default/1.2/1.3/1.4.dcm"
        assert keys[1].startswith("quarantine/default/1.2/1.3/1.4.")
        for key, path in zip(keys, (first, second), strict=True):
            with archive.open(key) as file:
                assert data_set(file.read()) == data_set(path.read_bytes())
        server.stop()
        assert send_paths([third], gateway.options()).statuses == {0xA700: 1}
        assert not list((gateway.spool / "incoming").iterdir())
    finally:
        gateway.close()
        server.stop()
