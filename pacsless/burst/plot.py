"""The picture of a load: what was done, what waited, who worked, how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pacsless.burst.summary import MILESTONES
from pacsless.burst.timeline import Timeline
from pacsless.errors import PacslessError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {
    "acknowledged": "#222222",
    "answered": "#8c8c8c",
    "indexed": "#1b6ca8",
    "described": "#2a9d5c",
    "loaded": "#d1661b",
}
_MOST_POINTS: Final = 2000
"""Of a milestone's delays; more could not be told apart."""


class NoPlot(PacslessError):
    """A picture cannot be made."""


def require(file: Path) -> None:
    """See that a picture can be made, before a long run that is to end with one.

    Raises
    ------
    NoPlot
        If matplotlib is missing, or the file cannot be written.
    """
    _require_matplotlib()
    there = file.exists()
    try:
        with file.open("ab"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise _not_written(file, error) from None


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoPlot(
            "matplotlib",
            "--plot needs matplotlib: pip install 'pacsless[plot]', or make setup in a clone",
        ) from None


def _not_written(file: Path, error: OSError) -> NoPlot:
    return NoPlot("file", f"{file} cannot be written: {error.strerror}")


def plot(timeline: Timeline, title: str, file: Path) -> None:
    """Draw a PNG of a load.

    Raises
    ------
    NoPlot
        If matplotlib is missing, or the file cannot be written.
    """
    _require_matplotlib()
    # The object interface: pyplot would look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 11), layout="constrained")
    done, waiting, workers, delays = figure.subplots(
        4, 1, sharex=True, height_ratios=(3, 3, 1.5, 3)
    )
    figure.suptitle(title)
    _done(done, timeline)
    _waiting(waiting, timeline)
    _workers(workers, timeline)
    _delays(delays, timeline)
    delays.set_xlabel("seconds since the start")
    for axes in (done, waiting, workers, delays):
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
        axes.margins(x=0.01)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    try:
        figure.savefig(file, format="png", dpi=100)
    except OSError as error:
        raise _not_written(file, error) from None


def _done(axes: Axes, timeline: Timeline) -> None:
    axes.set_ylabel("instances")
    times = [one.at for one in timeline.samples]
    names = {"acknowledged": "acknowledged"} | MILESTONES
    for name, label in names.items():
        if name == "answered":
            continue
        values = [getattr(one, name) for one in timeline.samples]
        if any(one is not None for one in values):
            axes.plot(times, _gaps(values), label=label, color=_COLOURS[name])


def _waiting(axes: Axes, timeline: Timeline) -> None:
    axes.set_ylabel("events waiting")
    times = [one.at for one in timeline.samples]
    layers = {"outbox": [one.outbox or 0 for one in timeline.samples]}
    for function in sorted({name for one in timeline.samples for name in one.lag or ()}):
        layers[function] = [(one.lag or {}).get(function, 0) for one in timeline.samples]
    axes.stackplot(times, *layers.values(), labels=list(layers), alpha=0.8)


def _workers(axes: Axes, timeline: Timeline) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("workers")
    times = [one.at for one in timeline.samples]
    layers = {
        function: [(one.workers or {}).get(function, 0) for one in timeline.samples]
        for function in sorted({name for one in timeline.samples for name in one.workers or ()})
    }
    if layers:
        axes.stackplot(times, *layers.values(), labels=list(layers), alpha=0.8, step="post")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _delays(axes: Axes, timeline: Timeline) -> None:
    axes.set_ylabel("seconds from\nacknowledgement until")
    for name, found in timeline.delays().items():
        if found:
            thinned = found[:: len(found) // _MOST_POINTS + 1]
            axes.plot(
                *zip(*thinned, strict=True), ".", markersize=3, color=_COLOURS[name],
                label=MILESTONES[name],
            )  # fmt: skip


def _gaps(values: list[Any]) -> list[float]:
    return [float("nan") if one is None else float(one) for one in values]
