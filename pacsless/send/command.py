"""The ``send`` command of the CLI."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any, Final

import click

from pacsless.send.sending import Options, Summary, code, meaning, send_paths

_DEFAULT: Final = Options()


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--host", default=_DEFAULT.host, show_default=True, help="Receiver's address.")
@click.option(
    "--port", default=_DEFAULT.port, type=click.IntRange(1, 65535),
    help="Receiver's DICOM port; the local stack's unless given.",
)  # fmt: skip
@click.option("--called", "called_ae_title", default=_DEFAULT.called_ae_title, show_default=True,
              help="Receiver's AE title.")  # fmt: skip
@click.option("--calling", "calling_ae_title", default=_DEFAULT.calling_ae_title, show_default=True,
              help="AE title to send as.")  # fmt: skip
@click.option("--jobs", default=_DEFAULT.jobs, show_default=True, type=click.IntRange(1, 64),
              help="Associations at a time.")  # fmt: skip
@click.option("--retries", default=_DEFAULT.retries, show_default=True,
              type=click.IntRange(0, 100),
              help="Tries after A7xx or a lost connection.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def send(paths: tuple[Path, ...], *, as_json: bool, **options: Any) -> None:
    """Send DICOM files and folders by C-STORE.

    Data sets go as they are; files that are not DICOM are skipped. The exit
    code is 0 if everything is stored.
    """
    if as_json or not sys.stderr.isatty():
        summary = send_paths(paths, Options(**options))
    else:
        summary = _with_bar(paths, Options(**options))
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=1))
    else:
        _print(summary)
    sys.exit(summary.exit_code)


def _with_bar(paths: tuple[Path, ...], options: Options) -> Summary:
    shown: list[Any] = []
    guard = threading.Lock()

    def progress(done: int, total: int) -> None:
        with guard:
            if not shown:
                shown.append(click.progressbar(length=total, label="Sending", file=sys.stderr))
                shown[0].render_progress()
            shown[0].update(done - shown[0].pos)

    summary = send_paths(paths, options, progress)
    for bar in shown:
        bar.render_finish()
    return summary


def _print(summary: Summary) -> None:
    for one in summary.failed:
        detail = f" ({one.detail})" if one.detail else ""
        click.echo(f"{code(one.status)}  {one.file.path}: {meaning(one.status)}{detail}", err=True)
    for skipped in summary.skipped:
        click.echo(f"skipped  {skipped.path}: {skipped.reason}", err=True)
    if not summary.files:
        click.echo("Nothing was sent: there is no DICOM file that holds an instance.")
        return
    click.echo(f"{'status':<8}{'files':>8}  meaning")
    for status, times in summary.statuses.most_common():
        click.echo(f"{code(status):<8}{times:>8}  {meaning(status)}")
    if summary.skipped:
        click.echo(f"{'skipped':<8}{len(summary.skipped):>8}  not DICOM, or no instance")
    seconds, count, sent = max(summary.seconds, 1e-9), len(summary.files), summary.bytes / 1e6
    click.echo(
        f"{count} file{'' if count == 1 else 's'}, {sent:.1f} MB in {summary.seconds:.1f} s: "
        f"{count / seconds:.0f} files/s, {sent / seconds:.1f} MB/s"
    )
