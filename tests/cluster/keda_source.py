"""KEDA's source without the scalers that nothing here uses.

What is left, operator, metrics adapter, and the scalers for Kafka, cron, CPU and
memory, is as KEDA's authors wrote it. The others bring the libraries of every
cloud: without them it builds in half the time (README.md).
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from tests.cluster.errors import ClusterError

SCALERS: Final = frozenset({"kafka", "cron", "cpu", "memory"})
_FILES: Final = {"kafka_scaler.go", "cron_scaler.go", "cpu_memory_scaler.go"}
# Packages that only the others need.
_PACKAGES: Final = ("liiklus", "externalscaler", "openstack", "sumologic", "splunk", "gcp")


def copy_trimmed(module: Path, folder: Path) -> None:
    """Copy a module, and take out what is not wanted."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(module, folder, ignore=shutil.ignore_patterns("*_test.go"))
    # Go's module cache may be without write bits.
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    for unused in ("tests", "tools"):
        shutil.rmtree(folder / unused, ignore_errors=True)
    scalers = folder / "pkg" / "scalers"
    for file in scalers.glob("*_scaler.go"):
        if file.name not in _FILES:
            file.unlink()
    for package in _PACKAGES:
        shutil.rmtree(scalers / package)
    builder = folder / "pkg" / "scaling" / "scalers_builder.go"
    builder.write_text(with_few_scalers(builder.read_text()))


def with_few_scalers(builder: str) -> str:
    """Leave `SCALERS` in the switch that makes a scaler of a trigger's type.

    Raises
    ------
    ClusterError
        If it does not look as it did in the version this was written for.
    """
    head, switch, rest = builder.partition("\tswitch triggerType {\n")
    cases, default, tail = rest.partition("\tdefault:")
    kept = {
        found[1]: case
        for case in re.split(r"^(?=\tcase )", cases, flags=re.MULTILINE)
        if (found := re.match(r'\tcase "([^"]+)"', case)) and found[1] in SCALERS
    }
    if not switch or not default or set(kept) != SCALERS:
        raise ClusterError(
            "keda", "pkg/scaling/scalers_builder.go is not as expected: was KEDA's version changed?"
        )
    return head + switch + "".join(kept.values()) + default + tail
