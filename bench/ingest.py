"""C-STORE rates of a running stack's gateway and of DCMTK's storescp, in one run.

The sender is DCMTK's ``storescu`` for both. storescp does not make files
durable; the gateway does, and journals the event of each. Start the stack first
(``make up``), then ``make bench``.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

STORESCU = "/usr/bin/storescu"
STORESCP = "/usr/bin/storescp"


def make_instances(folder: Path, count: int, side: int) -> list[Path]:
    """Write `count` CT instances of `side` × `side` 16-bit pixels, all of one series."""
    path = get_testdata_file("CT_small.dcm")
    assert isinstance(path, str)
    ds: Dataset = pydicom.dcmread(path)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.Rows = ds.Columns = side
    ds.PixelData = os.urandom(side * side * 2)
    paths = []
    for number in range(count):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.InstanceNumber = number + 1
        paths.append(folder / f"{number:05}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def rate(port: int, paths: list[Path], associations: int, nodelay: bool) -> float:
    """Instances acknowledged per second by `associations` parallel senders."""
    environ = os.environ | ({"TCP_NODELAY": "1"} if nodelay else {"TCP_NODELAY": "0"})

    def send(mine: list[Path]) -> None:
        subprocess.run(
            [STORESCU, "-aec", "PACSLESS", "127.0.0.1", str(port), *map(str, mine)],
            check=True, env=environ,
        )  # fmt: skip

    start = time.perf_counter()
    with ThreadPoolExecutor(associations) as pool:
        list(pool.map(send, [paths[n::associations] for n in range(associations)]))
    return len(paths) / (time.perf_counter() - start)


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """Run the peer on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    peer = subprocess.Popen([STORESCP, "--fork", "--bit-preserving", "-od", str(folder), str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except ConnectionRefusedError:
                if peer.poll() is not None:
                    raise SystemExit("storescp did not start") from None
        yield port
    finally:
        peer.terminate()
        peer.wait()


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=11112, help="DICOM port of the stack")
    parser.add_argument("--count", type=int, default=200, help="instances per row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for size, side in (("525 KB", 512), ("8 KB", 64)):
        for associations, nodelay in ((1, False), (4, True)):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "received").mkdir()
                with storescp(folder / "received") as port:
                    peer = rate(
                        port, make_instances(folder, options.count, side), associations, nodelay
                    )
                ours = rate(
                    options.port, make_instances(folder, options.count, side), associations, nodelay
                )
            rows.append(
                {"object": size, "associations": associations, "sender_nodelay": nodelay,
                 "pacsless_per_s": round(ours, 1), "storescp_per_s": round(peer, 1),
                 "ratio": round(ours / peer, 2)}
            )  # fmt: skip
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("  object assoc. nodelay  Pacsless/s  storescp/s  ratio")
    for row in rows:
        print(
            f"{row['object']:>8} {row['associations']:>6} {row['sender_nodelay']!s:>7} "
            f"{row['pacsless_per_s']:>11} {row['storescp_per_s']:>11} {row['ratio']:>6}"
        )


if __name__ == "__main__":
    main()
