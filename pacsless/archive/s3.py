"""The archive on S3.

What is being received lies on a local disk until it is sealed; a conditional PUT
(``If-None-Match: *``) takes the place of the hard link, so here too a race has
one winner and nothing is replaced. S3 answers a PUT when it is durable.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pacsless.archive import AlreadyKept, ArchiveUnavailable, ArchiveUnfit, Sealed, Stat
from pacsless.archive.incoming import (
    IncomingFile,
    can_be_nameless,
    discard,
    path_of,
    sweep_folder,
)
from pacsless.archive.ranges import open_ranges
from pacsless.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_PART: Final = 16 << 20
"""Bytes of one part of a multipart upload, which is held in memory; objects up to
this go in one PUT. S3 takes 10,000 parts."""
_PRECONDITION_FAILED: Final = 412
_RANGE_NOT_SATISFIABLE: Final = 416
_RECEIVED: Final = "received-ns"
"""Metadata of an object: nanoseconds since the epoch. S3 keeps no time but its own."""
_log = logging.getLogger(__name__)


class S3Archive:
    """Archive below a prefix of a bucket (see `pacsless.archive.Archive`).

    Parameters
    ----------
    bucket, prefix
        Where the keys start.
    incoming
        Local, durable folder for what is being received.
    endpoint
        Another service than AWS.
    """

    def __init__(
        self, bucket: str, prefix: str, incoming: Path, endpoint: str | None = None
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._incoming = incoming
        incoming.mkdir(parents=True, exist_ok=True)
        self._nameless: bool | None = None
        self._s3: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            config=Config(retries={"mode": "standard", "max_attempts": 4}, max_pool_connections=64),
        )

    def _name(self, key: str) -> str:
        return self._prefix + key

    def incoming(self, owner: str = "") -> IncomingFile:
        """Open an incoming file."""
        if self._nameless is None:
            self._nameless = can_be_nameless(self._incoming, owner)
        return IncomingFile(self._incoming, owner, nameless=self._nameless)

    def probe(self) -> None:
        """See whether the store obeys If-None-Match: without that, an object could be replaced."""
        name = self._name(f".probe-{uuid.uuid4().hex}")
        try:
            self._s3.put_object(Bucket=self._bucket, Key=name, Body=b"1", IfNoneMatch="*")
            try:
                self._s3.put_object(Bucket=self._bucket, Key=name, Body=b"2", IfNoneMatch="*")
            except ClientError as error:
                if _status(error) == _PRECONDITION_FAILED:
                    return
                raise
            finally:
                self._s3.delete_object(Bucket=self._bucket, Key=name)
        except (ClientError, BotoCoreError) as error:
            raise _unavailable("try out", error) from None
        raise ArchiveUnfit(
            "archive", "this S3 service ignores If-None-Match, so objects would be replaced"
        )

    def sealed(self, name: str) -> Path | None:
        """Path of a sealed file that was left without a key."""
        path = self._incoming / name
        return path if path.is_file() else None

    def path_of(self, sealed: Sealed) -> Path:
        """Path to read a sealed file by."""
        return path_of(self._incoming, sealed)

    def keep(self, sealed: Sealed, key: str) -> None:
        """Upload under a key nobody has."""
        path = self.path_of(sealed)
        try:
            received = {_RECEIVED: str(path.stat().st_mtime_ns)}
            if sealed.size <= _PART:
                with open(path, "rb") as file:
                    self._s3.put_object(
                        Bucket=self._bucket,
                        Key=self._name(key),
                        Body=file,
                        IfNoneMatch="*",
                        # Of what was received: S3 refuses what the disk gives back wrong.
                        ChecksumSHA256=b64encode(bytes.fromhex(sealed.sha256)).decode(),
                        Metadata=received,
                    )
            else:
                self._upload_parts(path, self._name(key), sealed.sha256, received)
        except ClientError as error:
            # 409 says that another PUT is under way, and nothing of its end.
            if _status(error) == _PRECONDITION_FAILED:
                raise AlreadyKept("already-kept", "the key is taken") from None
            raise _unavailable("keep", error) from None
        except (BotoCoreError, OSError) as error:
            raise _unavailable("keep", error) from None
        self.discard(sealed)

    def _upload_parts(self, path: Path, name: str, sha256: str, metadata: dict[str, str]) -> None:
        upload = self._s3.create_multipart_upload(
            Bucket=self._bucket, Key=name, ChecksumAlgorithm="SHA256", Metadata=metadata
        )["UploadId"]
        try:
            parts: list[Any] = []
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while block := file.read(_PART):
                    digest.update(block)
                    part = self._s3.upload_part(
                        Bucket=self._bucket,
                        Key=name,
                        UploadId=upload,
                        PartNumber=len(parts) + 1,
                        Body=block,
                        ChecksumAlgorithm="SHA256",
                    )
                    parts.append(
                        {
                            "PartNumber": len(parts) + 1,
                            "ETag": part["ETag"],
                            "ChecksumSHA256": part.get("ChecksumSHA256", ""),
                        }
                    )
            if digest.hexdigest() != sha256:
                raise ArchiveUnavailable("archive", "the local file is not what was received")
            self._s3.complete_multipart_upload(
                Bucket=self._bucket,
                Key=name,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
        except BaseException:
            try:
                self._s3.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload)
            except (ClientError, BotoCoreError):
                _log.warning("an upload could not be given up; its parts stay in the bucket")
            raise

    def discard(self, sealed: Sealed) -> None:
        """Be done with a sealed file."""
        discard(self._incoming, sealed)

    def sweep(self, older_than: float, owner: str = "") -> int:
        """Remove forgotten incoming files."""
        return sweep_folder(self._incoming, older_than, owner)

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        """Open an object for reading by ranges."""
        found = known or self.stat(key)
        if found is None:
            raise NotFound("no-such-key", "no such file in the archive")
        return open_ranges(lambda offset, length: self._get(key, offset, length), found.size)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Read a piece of an object by one ranged GET."""
        return self._get(key, offset, length) if length else b""

    def _get(self, key: str, offset: int, length: int) -> bytes:
        try:
            return self._s3.get_object(
                Bucket=self._bucket,
                Key=self._name(key),
                Range=f"bytes={offset}-{offset + length - 1}",
            )["Body"].read()
        except ClientError as error:
            if _status(error) == _RANGE_NOT_SATISFIABLE:
                return b""
            if _status(error) == 404:
                raise NotFound("no-such-key", "no such file in the archive") from None
            raise _unavailable("read", error) from None
        except BotoCoreError as error:
            raise _unavailable("read", error) from None

    def stat(self, key: str) -> Stat | None:
        """Size and age of an object, or None."""
        try:
            head = self._s3.head_object(Bucket=self._bucket, Key=self._name(key))
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise _unavailable("look at", error) from None
        except BotoCoreError as error:
            raise _unavailable("look at", error) from None
        received = head["Metadata"].get(_RECEIVED, "")
        kept = _seconds(head["LastModified"])
        modified = int(received) / 1e9 if received.isdecimal() else kept
        return Stat(key, head["ContentLength"], modified, kept)

    def replace(self, key: str, data: bytes) -> None:
        """Write or replace a derived object; S3's PUT is atomic."""
        try:
            self._s3.put_object(
                Bucket=self._bucket, Key=self._name(key), Body=data, ChecksumAlgorithm="SHA256"
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable("write", error) from None

    def list(self, prefix: str) -> Iterator[Stat]:
        """Objects below a folder; a listing knows no times but those of the uploads."""
        start = self._name(prefix.rstrip("/") + "/" if prefix else "")
        for page in self._pages(Prefix=start):
            for found in page.get("Contents", []):
                key = found["Key"].removeprefix(self._prefix)
                kept = _seconds(found["LastModified"])
                yield Stat(key, found["Size"], kept, kept)

    def folders(self, prefix: str) -> Iterator[str]:
        """Names of the folders directly below a folder."""
        start = self._name(prefix.rstrip("/") + "/" if prefix else "")
        for page in self._pages(Prefix=start, Delimiter="/"):
            for found in page.get("CommonPrefixes", []):
                yield found["Prefix"].removeprefix(start).rstrip("/")

    def _pages(self, **how: str) -> Iterator[Any]:
        try:
            yield from self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket,
                **how,  # type: ignore[arg-type]
            )
        except (ClientError, BotoCoreError) as error:
            raise _unavailable("list", error) from None

    def remove(self, key: str) -> None:
        """Remove an object."""
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=self._name(key))
        except (ClientError, BotoCoreError) as error:
            raise _unavailable("remove", error) from None

    @property
    def is_local(self) -> bool:
        """They are not."""
        return False

    def local_path(self, key: str) -> None:
        """Nothing lies on this disk."""
        return


def _seconds(moment: datetime) -> float:
    # A header has no fractions, and a listing must not differ from it.
    return float(int(moment.timestamp()))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _unavailable(what: str, error: Exception) -> ArchiveUnavailable:
    # botocore's messages quote keys and endpoints; the code says enough.
    code = (
        str(error.response.get("Error", {}).get("Code", ""))
        if isinstance(error, ClientError)
        else type(error).__name__
    )
    return ArchiveUnavailable("archive", f"cannot {what} an object on S3: {code}")
