"""Every topic handled again from its start: nothing may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.uid import ExplicitVRBigEndian

from tests.crash.checks import Violations
from tests.e2e.test_samples import send
from tests.faults.replay import compare, replay, take
from tests.faults.system import System
from tests.instances import encode, make_dataset, write_series

WITHIN = 180.0


def test_handling_every_topic_again_changes_nothing(stack: Any, tmp_path: Path) -> None:
    _, paths = write_series(tmp_path, 20)
    converted = tmp_path / "converted.dcm"
    converted.write_bytes(encode(make_dataset(pixels=bytes(8)), ExplicitVRBigEndian))
    send(stack, *paths, converted)
    send(stack, paths[0])
    system = System(stack.settings)
    assert not system.quiet(WITHIN).problem

    before = take(system)
    assert sum(key.startswith("instance ") for key in before) >= len(paths) + 1
    assert not replay(system, WITHIN).problem
    violations = Violations()
    compare(before, take(system), violations)
    assert not violations, violations.shown
