"""What senders were told is stored, and whether all of it is there."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pacsless.dicom.part10 import split_part10
from pacsless.send import FileResult, Options, Summary, send_paths
from tests.cluster.kubectl import Refused
from tests.cluster.release import Release
from tests.eventually import eventually
from tests.instances import write_studies


@dataclass
class Sent:
    """What has been acknowledged so far, by every test."""

    files: list[FileResult] = field(default_factory=list)

    def studies(self) -> Counter[str]:
        files = [one.file for one in self.files]
        unique = {
            (one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid) for one in files
        }
        return Counter(study for study, *_ in unique)


def send(release: Release, sent: Sent, paths: Sequence[Path], *, jobs: int = 2) -> Summary:
    host, port = release.dicom
    options = Options(host=host, port=port, jobs=jobs, retries=60)
    summary = send_paths(paths, options)
    sent.files += [one for one in summary.files if one.stored]
    return summary


def read_instance(release: Release, one: FileResult) -> bytes:
    file = one.file
    return release.read(
        f"/studies/{file.study_instance_uid}/series/{file.series_instance_uid}"
        f"/instances/{file.sop_instance_uid}",
        "application/dicom; transfer-syntax=*",
    )


def data_set(content: bytes) -> bytes:
    """What goes over the wire: a file without its preamble and meta information."""
    return content[split_part10(BytesIO(content)).dataset_offset :]


def not_as_sent(release: Release, files: Sequence[FileResult]) -> list[str]:
    """Names of the files that do not come back byte for byte, each in the syntax it was sent in."""
    return [
        one.file.path.name
        for one in files
        if data_set(read_instance(release, one)) != data_set(one.file.path.read_bytes())
    ]


def everything_is_found(release: Release, sent: Sent) -> None:
    """All that was acknowledged is counted by the index, and described by the metadata."""

    def counted() -> bool:
        for study, instances in sent.studies().items():
            found = release.search(f"/studies?StudyInstanceUID={study}")
            assert found, f"a study of {instances} is not found"
            assert found[0]["00201208"]["Value"] == [instances]
        return True

    eventually(counted, within=240)
    for study, instances in sent.studies().items():

        def described(study: str = study, instances: int = instances) -> bool:
            return len(json.loads(release.read(f"/studies/{study}/metadata"))) == instances

        assert eventually(described)


def reconciled(release: Release, settle: float = 60) -> None:
    """Files, index, metadata and warehouse agree, as `pacsless reconcile` tells.

    Parameters
    ----------
    release
        Whose.
    settle
        Seconds for which what differs may be on its way.
    """

    def agree() -> bool:
        try:
            release.cluster.kubectl(
                "exec", "deployment/pacsless-reconcile", "--",
                "python3.11", "-m", "pacsless", "reconcile", f"--settle={settle:g}",
            )  # fmt: skip
        except Refused as refused:
            raise AssertionError(str(refused)) from None
        return True

    eventually(agree, within=240)


@contextmanager
def under_load(
    release: Release, sent: Sent, folder: Path, series: int, instances: int
) -> Iterator[Callable[[], bool]]:
    """Send while something else is done; all is stored in the end, however often it is tried."""
    paths = write_studies(folder, series, instances)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send, release, sent, paths, jobs=3)
        yield running.running
        summary = running.result()
    assert len(summary.files) == len(paths)
    assert not summary.failed, {one.detail for one in summary.failed}


@contextmanager
def while_sending(release: Release, sent: Sent, folder: Path) -> Iterator[Callable[[], int]]:
    """Send study after study until something else is done; yields how many instances are stored.

    All are stored in the end, however often each is tried.
    """
    stop = threading.Event()
    failed: list[str] = []
    before = len(sent.files)

    def work() -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            summary = send(release, sent, write_studies(folder / str(number), 3, 20), jobs=3)
            failed.extend(one.detail for one in summary.failed)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            yield lambda: len(sent.files) - before
        finally:
            stop.set()
        running.result()
    assert not failed, set(failed)


def until_more_are_stored(stored: Callable[[], int]) -> None:
    """Wait for the next instances of `while_sending`."""
    before = stored()
    eventually(lambda: stored() > before)
