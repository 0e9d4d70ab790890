"""With the index that transcode makes, any frame is a few reads, on disk and on S3."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from struct import pack
from typing import Any, BinaryIO, cast

import pytest

from functions.transcode.main import transcode
from pacsless import resources
from pacsless.archive import Archive, Stat
from pacsless.archive.files import FileArchive
from pacsless.archive.s3 import S3Archive
from pacsless.cache import Cache
from pacsless.codec import Delivered
from pacsless.dicom.frame_index import HEADER_BYTES, is_whole_index, write_index
from pacsless.dicom.frames import locate_frames
from pacsless.errors import Busy
from pacsless.events import InstanceFrameIndexRequested
from pacsless.identity import InstanceIdentity
from pacsless.instances import find_instances, frame_table
from tests.dicom_files import element, fragments, identifiers, part10
from tests.instances import RECEIVED_NS, store_bytes
from tests.wado import FRAMES, Pacs, parts

JPEG = "1.2.840.10008.1.2.4.50"
IDENTITY = InstanceIdentity("default", "1.2.3", "1.2.3.4", "1.2.3.4.5")
COUNT = 2400
AT_MOST = 8
"""Reads of one frame by who knows nothing: what and where the original is, its header twice
(transfer syntax, number of frames), the index's header, a record, the frame."""


def frame(number: int, length: int = 8000) -> bytes:
    return (b"\xff\xd8\xff" + f"{number}|".encode()).ljust(length, b".")


def image(frames: int, *pieces: bytes, table: bytes = b"", before: bytes = b"") -> bytes:
    number = element(0x00280008, "IS", f"{frames}".encode().ljust(12))
    return part10(identifiers(5) + number + before + fragments(*pieces, table=table), JPEG)


def slide() -> bytes:
    """A long one, with much to say of its frames before they come, as slides have."""
    groups = element(0x52009230, "OB", bytes(300_000))
    return image(COUNT, *(frame(number + 1) for number in range(COUNT)), before=groups)


def in_pieces(frames: int, pieces: int) -> bytes:
    """An image of frames in several pieces each, told apart by its offset table."""
    all_ = [
        frame(number + 1, 20 * pieces)[20 * piece :][:20]
        for number in range(frames)
        for piece in range(pieces)
    ]
    offsets = accumulate((28 for _ in all_), initial=0)
    firsts = [offset for i, offset in enumerate(offsets) if i % pieces == 0][:-1]
    return image(frames, *all_, table=pack(f"<{frames}L", *firsts))


class CountingFiles(FileArchive):
    """A folder that counts what is read of its files."""

    reads = 0

    def open(self, key: str, known: Stat | None = None) -> BinaryIO:
        archive = self

        class Raw(io.FileIO):
            def readinto(self, buffer: Any) -> int | None:
                archive.reads += 1
                return super().readinto(buffer)

            def readall(self) -> bytes:
                archive.reads += 1
                return super().readall()

        super().open(key, known).close()  # or what it raises
        return cast(BinaryIO, io.BufferedReader(Raw(self.local_path(key))))


class Reads:
    """How often an archive reads: system calls of a disk, requests to S3."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._requests = 0
        if isinstance(archive, S3Archive):
            archive._s3.meta.events.register("before-send.s3", self._sent)

    def _sent(self, **_: Any) -> None:
        self._requests += 1

    @property
    def count(self) -> int:
        if isinstance(self._archive, CountingFiles):
            return self._archive.reads
        return self._requests


@pytest.fixture(params=["disk", "s3"])
def site(request: pytest.FixtureRequest, pacs: Pacs, tmp_path: Path) -> Iterator[Pacs]:
    if request.param == "s3":
        yield request.getfixturevalue("s3")
        return
    archive = CountingFiles(tmp_path / "counted")
    with resources.override({Archive: archive}):
        yield Pacs(archive, pacs.client)


@contextmanager
def cold() -> Iterator[None]:
    """With a cache that knows nothing, as after FLUSHALL and in a new process."""
    with resources.override({Cache: Cache()}):
        yield


def put(site: Pacs, content: bytes, *, index: bool = True) -> str:
    """Store an original and have it indexed; return the digest it was stored with."""
    sha256 = store_bytes(site.archive, IDENTITY, content, JPEG).sha256
    if index:
        ask(site, sha256)
    return sha256


def ask(site: Pacs, sha256: str = "0" * 64) -> None:
    event = InstanceFrameIndexRequested(
        tenant_id=IDENTITY.tenant_id,
        study_instance_uid=IDENTITY.study_instance_uid,
        series_instance_uid=IDENTITY.series_instance_uid,
        sop_instance_uid=IDENTITY.sop_instance_uid,
        sha256=sha256,
    )
    batch = [Delivered(event, event.id, "")]
    assert list(transcode.__wrapped__(batch, site.archive)) == []  # type: ignore[attr-defined]


def frames(site: Pacs, numbers: str) -> list[bytes]:
    return [body for _, body in parts(site.get(f"{IDENTITY.subject}/frames/{numbers}", FRAMES))]


def looks(site: Pacs) -> int:
    """Requests that ask S3 what an object is, once to find it and once to open it."""
    return 2 if isinstance(site.archive, S3Archive) else 0


def cost(site: Pacs, reads: Reads, numbers: str, expected: list[bytes]) -> int:
    before = reads.count
    assert frames(site, numbers) == expected
    return reads.count - before


def test_the_last_frame_costs_what_the_first_does(site: Pacs) -> None:
    put(site, slide(), index=False)
    reads = Reads(site.archive)
    with cold():
        walked = cost(site, reads, f"{COUNT}", [frame(COUNT)])
    ask(site)
    first_middle_last = (1, 300, COUNT // 2, COUNT - 1, COUNT)
    costs = set()
    for number in first_middle_last:
        with cold():
            costs.add(cost(site, reads, f"{number}", [frame(number)]))
    [one] = costs
    assert one <= AT_MOST
    assert walked > 5 * one
    with cold():
        frames(site, "700")
        warm = {cost(site, reads, f"{number}", [frame(number)]) for number in (1, 1300, COUNT)}
        known = cost(site, reads, "701", [frame(701)])
    assert warm == {looks(site) + 2}, "the record and the frame"
    assert known == looks(site) + 1, "the frame, as its record came with that of 700"


def test_a_list_of_frames_reads_those_and_nothing_else(site: Pacs) -> None:
    put(site, slide())
    reads = Reads(site.archive)
    numbers = [COUNT, 1, 1500, 5]
    with cold():
        spent = cost(site, reads, ",".join(map(str, numbers)), [frame(one) for one in numbers])
        assert spent <= AT_MOST + 2 * (len(numbers) - 1)
    with cold():
        missing = site.get(f"{IDENTITY.subject}/frames/1,{COUNT + 1}", FRAMES)
        assert missing.status_code == 404


@pytest.mark.parametrize(("count", "pieces"), [(300, 2), (20, 700)])
def test_frames_in_pieces_cost_one_read_more(site: Pacs, count: int, pieces: int) -> None:
    put(site, in_pieces(count, pieces))
    reads = Reads(site.archive)
    costs = []
    for number in (1, count // 2, count):
        with cold():
            costs.append(cost(site, reads, f"{number}", [frame(number, 20 * pieces)]))
    assert max(costs) <= AT_MOST + 2, "the pieces, and a frame that is longer"
    assert max(costs) - min(costs) <= 1, "pieces may lie in what was read already"


def test_the_index_serves_instances_that_were_listed(site: Pacs) -> None:
    """A listing of S3 has not the times that objects have."""
    put(site, slide())
    reads = Reads(site.archive)
    [stored] = find_instances(site.archive, "default", IDENTITY.study_instance_uid)
    with site.archive.open(IDENTITY.key) as file:
        before = reads.count
        table = frame_table(site.archive, file, stored, JPEG, Cache())
        [(offset, _)] = table.ranges(COUNT)
        assert reads.count - before <= 4
        file.seek(offset)
        assert file.read(8000) == frame(COUNT)


def test_a_large_frame_is_one_read(site: Pacs) -> None:
    put(site, image(2, frame(1, 900_000), frame(2, 900_000)))
    reads = Reads(site.archive)
    with cold():
        frames(site, "1")
        assert cost(site, reads, "2", [frame(2, 900_000)]) <= looks(site) + 2


def test_what_has_no_index_yet_is_found_all_the_same(site: Pacs) -> None:
    put(site, in_pieces(5, 3), index=False)
    expected = [frame(number, 60) for number in (5, 1)]
    assert frames(site, "5,1") == expected
    assert frames(site, "5,1") == expected, "by what the cache has of it"
    ask(site)
    assert frames(site, "5,1") == expected
    with cold():
        assert frames(site, "5,1") == expected
        site.archive.remove(IDENTITY.frame_index_key)
        assert frames(site, "5,1") == expected
    with cold():
        assert frames(site, "5,1") == expected


def test_an_index_that_vanishes_costs_a_walk(site: Pacs) -> None:
    put(site, slide())
    with cold():
        assert frames(site, "1") == [frame(1)]
        site.archive.remove(IDENTITY.frame_index_key)
        # The header is known, the record of this frame is not.
        assert frames(site, f"{COUNT},2") == [frame(COUNT), frame(2)]


@pytest.mark.parametrize("same_size", [True, False])
def test_an_index_of_another_original_is_not_read(site: Pacs, same_size: bool) -> None:
    put(site, image(3, *(frame(number, 100) for number in (1, 2, 3))))
    index = site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20)
    site.archive.remove(IDENTITY.key)
    lengths = (50, 150, 100) if same_size else (50, 50, 50)
    with site.archive.incoming() as incoming:
        incoming.write(image(3, *(frame(i, length) for i, length in enumerate(lengths))))
        sealed = incoming.seal(RECEIVED_NS + 1_000_000_000)
    site.archive.keep(sealed, IDENTITY.key)
    expected = [frame(i, length) for i, length in enumerate(lengths)]
    with cold():
        assert frames(site, "1,2,3") == expected
    ask(site)
    assert site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20) != index
    with cold():
        assert frames(site, "1,2,3") == expected


@pytest.mark.parametrize(
    "records",
    [
        pack("<QLL", 1 << 40, 10, 1) * 2,
        pack("<QLL", 1, 0xFFFFFFFF, 1) * 2,
        pack("<QLL", (1 << 64) - 4, 8, 1) * 2,
        pack("<QLL", 1, 0, 0xFFFFFFFF) * 2,
        pack("<QLL", 1 << 60, 0, 2) * 2,
        pack("<QLL", 0, 0, 0) * 2,
        b"",
    ],
    ids=["beyond", "too long", "wraps", "too many pieces", "no such piece", "no piece", "none"],
)
def test_an_index_that_points_outside_is_not_followed(site: Pacs, records: bytes) -> None:
    put(site, image(2, frame(1, 100), frame(2, 100)))
    header = site.archive.read(IDENTITY.frame_index_key, 0, HEADER_BYTES)
    site.archive.replace(IDENTITY.frame_index_key, header + records)
    with cold():
        assert frames(site, "1,2") == [frame(1, 100), frame(2, 100)]
    ask(site)
    index = site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20)
    assert index[HEADER_BYTES:] != records, "it is made anew when it is asked for"


def test_asking_again_changes_nothing(site: Pacs) -> None:
    sha256 = put(site, in_pieces(5, 3))
    stat = site.archive.stat(IDENTITY.frame_index_key)
    index = site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20)
    ask(site, sha256)
    assert site.archive.stat(IDENTITY.frame_index_key) == stat
    site.archive.remove(IDENTITY.frame_index_key)
    ask(site, sha256)
    assert site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20) == index
    with site.archive.open(IDENTITY.key) as file:
        table = locate_frames(file)
    original = site.archive.stat(IDENTITY.key)
    assert original is not None
    assert index == write_index(table, original.size, original.modified)


@pytest.mark.parametrize(
    "content",
    [
        image(2, b"ab", b"cd", b"ef"),
        image(2, b"ab", b"cd")[:-10],
        image(2),
        image(9, *[b""] * 1_000_001),
        part10(identifiers(5) + element(0x7FE00010, "OB", bytes(16))),
        b"no DICOM, though somebody has stored it".ljust(200),
    ],
    ids=["apart", "torn", "nothing", "a million empty fragments", "native", "rubbish"],
)
def test_what_cannot_be_indexed_leaves_nothing_and_stops_nothing(
    pacs: Pacs, content: bytes
) -> None:
    put(pacs, content)
    assert list(pacs.archive.list("renditions/")) == []


def test_an_original_that_is_gone_gets_no_index(site: Pacs) -> None:
    ask(site)
    assert list(site.archive.list("renditions/")) == []


def test_an_original_that_goes_meanwhile_takes_its_index_along(
    site: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site, in_pieces(5, 3), index=False)
    replace = site.archive.replace

    def replaced(key: str, data: bytes) -> None:
        site.archive.remove(IDENTITY.key)
        replace(key, data)

    monkeypatch.setattr(site.archive, "replace", replaced)
    ask(site)
    assert list(site.archive.list("renditions/")) == []


def test_an_original_that_is_replaced_meanwhile_is_looked_through_again(
    site: Pacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site, in_pieces(5, 3), index=False)
    replace = site.archive.replace

    def replaced(key: str, data: bytes) -> None:
        site.archive.remove(IDENTITY.key)
        store_bytes(site.archive, IDENTITY, in_pieces(4, 2), JPEG)
        replace(key, data)

    with monkeypatch.context() as patch:
        patch.setattr(site.archive, "replace", replaced)
        with pytest.raises(Busy):
            ask(site)
    with cold():
        assert frames(site, "4,1") == [frame(4, 40), frame(1, 40)]
    ask(site)
    stat = site.archive.stat(IDENTITY.key)
    assert stat is not None
    index = site.archive.read(IDENTITY.frame_index_key, 0, 1 << 20)
    assert is_whole_index(index, stat.size, stat.modified)


def test_native_frames_beyond_four_gigabytes(pacs: Pacs) -> None:
    """Pixel Data of defined length ends at 4 GiB (PS3.5 §7.1.1): the last frame there is."""
    rows, columns, count = 1024, 1024, 4095
    attributes = b"".join(
        element(tag, vr, value)
        for tag, vr, value in (
            (0x00280002, "US", pack("<H", 1)),
            (0x00280008, "IS", f"{count}".encode()),
            (0x00280010, "US", pack("<H", rows)),
            (0x00280011, "US", pack("<H", columns)),
            (0x00280100, "US", pack("<H", 8)),
        )
    )
    length = rows * columns * count
    head = part10(identifiers(5) + attributes + element(0x7FE00010, "OB", b"", length=length))
    store_bytes(pacs.archive, IDENTITY, head, "1.2.840.10008.1.2.1")
    path = pacs.archive.local_path(IDENTITY.key)
    assert path is not None
    os.truncate(path, len(head) + length)  # sparse: it takes no space
    with path.open("r+b") as file:
        for number in (1, 2048, count):
            file.seek(len(head) + (number - 1) * rows * columns)
            file.write(f"frame {number}".encode())
    got = frames(pacs, f"{count},1,2048")
    assert [one.rstrip(b"\0").decode() for one in got] == [
        f"frame {number}" for number in (count, 1, 2048)
    ]
    assert [len(one) for one in got] == [rows * columns] * 3


def test_compressed_frames_beyond_four_gigabytes(pacs: Pacs) -> None:
    """Fragments are as many as they are; offsets in the file have 64 bits."""
    count, length = 5, 1 << 30
    head = image(count)[:-8]  # without the delimiter
    store_bytes(pacs.archive, IDENTITY, head, JPEG)
    path = pacs.archive.local_path(IDENTITY.key)
    assert path is not None
    with path.open("r+b") as file:
        for number in range(count):
            file.seek(len(head) + number * (8 + length))
            file.write(pack("<HHL", 0xFFFE, 0xE000, length) + f"frame {number + 1}".encode())
        file.truncate(len(head) + count * (8 + length))
    ask(pacs)
    response = pacs.get(
        f"{IDENTITY.subject}/frames/{count}",
        f"application/octet-stream; transfer-syntax={JPEG}",
        Range="bytes=0-19",
    )
    assert response.status_code == 206
    assert response.data == b"frame 5".ljust(20, b"\0")
    assert response.headers["Content-Range"] == f"bytes 0-19/{length}"
