from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pacsless.policy import ScalePolicy
from pacsless.trigger.scaling import Scaling


def scaling(**policy: float) -> Scaling:
    chosen = {"min_workers": 0, "max_workers": 4, "lag_threshold": 10, "cooldown_s": 30.0}
    return Scaling(ScalePolicy(**(chosen | policy)))  # type: ignore[arg-type]


def test_counts_as_keda_does() -> None:
    for lag, workers in ((0, 0), (1, 1), (10, 1), (11, 2), (40, 4), (1_000_000, 4)):
        assert scaling().wanted(lag, 0) == workers


def test_comes_at_once_and_goes_after_the_cooldown() -> None:
    one = scaling()
    assert [one.wanted(lag, now) for lag, now in ((0, 0), (35, 1), (5, 2), (0, 31))] == [0, 4, 4, 4]
    # What was needed at 2 s still is wanted; what was at 1 s is not.
    assert one.wanted(0, 31.5) == 1
    assert one.wanted(0, 33) == 0


def test_a_need_that_comes_back_starts_the_cooldown_anew() -> None:
    one = scaling()
    one.wanted(20, 0)
    one.wanted(20, 29)
    assert one.wanted(0, 58) == 2
    assert one.wanted(0, 60) == 0


def test_keeps_the_fewest() -> None:
    one = scaling(min_workers=2)
    assert one.wanted(0, 0) == 2
    assert one.wanted(35, 1) == 4
    assert one.wanted(0, 100) == 2


def test_goes_at_once_without_a_cooldown() -> None:
    one = scaling(cooldown_s=0)
    assert [one.wanted(lag, now) for now, lag in enumerate((40, 20, 0))] == [4, 2, 0]


@given(
    steps=st.lists(st.tuples(st.integers(0, 60), st.floats(0.1, 20)), min_size=1, max_size=60),
    cooldown=st.floats(0, 40),
)
def test_wanted_is_the_most_that_was_needed_within_the_cooldown(
    steps: list[tuple[int, float]], cooldown: float
) -> None:
    one, now = scaling(cooldown_s=cooldown), 0.0
    history: list[tuple[float, int]] = []
    for lag, pause in steps:
        now += pause
        history.append((now, scaling().wanted(lag, 0)))
        recent = [needed for at, needed in history if now - at <= cooldown]
        assert one.wanted(lag, now) == max(recent)
