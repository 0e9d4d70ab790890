"""``pacsless demo``: real images in, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import urllib3

from pacsless.send import FileResult, Options, Summary, send_paths
from pacsless.send.files import DicomFile, look
from pacsless.stack.errors import StackError
from pacsless.stack.settings import LOOPBACK, StackSettings
from pacsless.stack.supervision import Supervisor
from pacsless.warehouse_sql import Answer, WarehouseSql

FILES: Final = (
    "CT_small.dcm",  # Explicit VR Little Endian
    "J2K_pixelrep_mismatch.dcm",  # CT, JPEG 2000
    "693_J2KI.dcm",  # CT, JPEG 2000, lossy
    "MR_small.dcm",
    "examples_overlay.dcm",  # MR with an overlay
    "examples_palette.dcm",  # US, palette colour
    "examples_rgb_color.dcm",  # US
    "examples_ybr_color.dcm",  # US, 30 frames, JPEG Baseline
    "ExplVR_BigEnd.dcm",  # US, Explicit VR Big Endian
    "JPGExtended.dcm",  # NM, JPEG Extended, 12 bits
    "SC_rgb_rle_2frame.dcm",  # RLE Lossless, 2 frames
    "image_dfl.dcm",  # Deflated Explicit VR Little Endian
    "liver_1frame.dcm",  # SEG
    "rtdose.dcm",  # RT Dose, Implicit VR Little Endian
)
"""Images pydicom brings with it: other modalities, other encodings."""

OPENED: Final = "CT_small.dcm"
"""Whose study the viewer's address is of."""

_PATIENCE: Final = 60.0
_QUESTION: Final = (
    "SELECT modality, count(*) AS instances, sum(size_bytes) AS bytes"
    " FROM dicom_image_meta GROUP BY modality ORDER BY instances DESC, modality"
)

_http: Final = urllib3.PoolManager(retries=False, timeout=10.0)


def bundled() -> list[Path]:
    """Files of `FILES`; pydicom carries them, so nothing is downloaded."""
    from pydicom.data import get_testdata_file

    return [Path(str(get_testdata_file(name, download=False))) for name in FILES]


def run(settings: StackSettings) -> None:
    """Show the main road of the archive, from C-STORE to the viewer.

    Raises
    ------
    StackError
        If the stack is not up, a file is refused, or an image does not appear.
    """
    if not Supervisor(settings).alive:
        raise StackError("down", f"no stack is up in {settings.home}: run make up")
    ports = settings.ports
    paths = bundled()
    _title(1, f"{len(paths)} images by C-STORE to {LOOPBACK}:{ports.scp_gateway}")
    known = bool(_sent_before(settings, paths))
    summary = _send(settings, paths)
    last = max(summary.files, key=lambda one: one.acknowledged_at)

    times = _times(settings, summary, last)
    studies = list(dict.fromkeys(one.file.study_instance_uid for one in summary.files))
    _title(2, f"The studies by QIDO-RS: GET {settings.url}/dicom-web/studies")
    _show_studies(_studies(settings, studies))
    _title(3, f"A question in SQL: mysql -h {LOOPBACK} -P {ports.warehouse_mysql} -u root pacsless")
    _show_answer(settings)
    _title(4, "From the last acknowledgement until the instance is")
    for what, seconds in times:
        click.echo(f"     {what:<44}{seconds:6.2f} s")
    if known:
        click.echo("     (they were there before: pacsless down --wipe, then make demo, times it)")
    _title(5, "The CT in the viewer")
    opened = next(one.file for one in summary.files if one.file.path.name == OPENED)
    click.echo(f"     {settings.url}/viewer?StudyInstanceUIDs={opened.study_instance_uid}\n")


def _title(number: int, text: str) -> None:
    click.secho(f"\n  {number}. {text}", bold=True)


def _send(settings: StackSettings, paths: Sequence[Path]) -> Summary:
    summary = send_paths(paths, Options(host=LOOPBACK, port=settings.ports.scp_gateway))
    for one in summary.failed:
        click.echo(f"     {one.file.path.name}: {one.status} {one.detail}", err=True)
    if summary.failed or len(summary.files) != len(paths):
        raise StackError("demo", "not every image was stored; see make logs")
    click.echo(
        f"     {len(summary.files)} stored and durable, {summary.bytes / 1e6:.1f} MB "
        f"in {summary.seconds:.2f} s"
    )
    return summary


def _sent_before(settings: StackSettings, paths: Sequence[Path]) -> list[dict[str, Any]]:
    found = (look(path) for path in paths)
    return _studies(
        settings, [one.study_instance_uid for one in found if isinstance(one, DicomFile)]
    )


def _times(settings: StackSettings, summary: Summary, last: FileResult) -> list[tuple[str, float]]:
    file = last.file
    of_series = (
        f"{settings.url}/dicom-web/studies/{file.study_instance_uid}"
        f"/series/{file.series_instance_uid}"
    )
    sop = file.sop_instance_uid
    acknowledged = datetime.fromisoformat(last.acknowledged_at)
    tenant = settings.client().tenant
    awaited: dict[str, Callable[[], bool]] = {
        "viewable (WADO-RS metadata of its series)": lambda: sop in _sops(f"{of_series}/metadata"),
        "found (QIDO-RS)": lambda: sop in _sops(f"{of_series}/instances?SOPInstanceUID={sop}"),
        "in the warehouse, with all the others": lambda: _in_warehouse(settings, tenant, summary),
    }
    times: list[tuple[str, float]] = []
    deadline = time.monotonic() + _PATIENCE
    while awaited:
        for what, there in list(awaited.items()):
            if there():
                del awaited[what]
                times.append((what, (datetime.now(UTC) - acknowledged).total_seconds()))
        if awaited and time.monotonic() > deadline:
            raise StackError(
                "demo",
                f"after {_PATIENCE:.0f} s the instance is not {', nor '.join(awaited)}; "
                "see make status and make logs",
            )
        time.sleep(0.01)
    return times


def _get(url: str) -> Any:
    answer = _http.request("GET", url, headers={"Accept": "application/dicom+json"})
    return answer.json() if answer.status == 200 else []


def _sops(url: str) -> set[str]:
    return {one["00080018"]["Value"][0] for one in _get(url)}


def _in_warehouse(settings: StackSettings, tenant: str, summary: Summary) -> bool:
    sops = sorted({one.file.sop_instance_uid for one in summary.files})
    marks = ", ".join(["%s"] * len(sops))
    sql = (
        "SELECT count(*) FROM dicom_image_meta"  # noqa: S608
        f" WHERE tenant_id = %s AND sop_instance_uid IN ({marks})"
    )
    # Another tenant may have the same instances.
    (row,) = _query(settings, sql, [tenant, *sops])[1]
    return int(row[0]) == len(sops)


def _query(settings: StackSettings, sql: str, values: Sequence[str] = ()) -> Answer:
    connection = WarehouseSql(f"{LOOPBACK}:{settings.ports.warehouse_mysql}")
    with closing(connection):
        return connection.ask(sql, *values)


def _studies(settings: StackSettings, uids: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for uid in uids:
        found += _get(f"{settings.url}/dicom-web/studies?StudyInstanceUID={uid}")
    return found


def _show_studies(studies: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            _value(one, "00100010", "Alphabetic"),
            _value(one, "00080020"),
            "/".join(one.get("00080061", {}).get("Value", [])),
            _value(one, "00201208"),
            _value(one, "0020000D"),
        )
        for one in studies
    ]
    _table(("patient", "date", "modality", "instances", "study"), rows)


def _value(attributes: dict[str, Any], tag: str, group: str = "") -> str:
    values = attributes.get(tag, {}).get("Value", [])
    if not values or values[0] is None:
        return ""
    return str(values[0].get(group, "") if group else values[0])


def _show_answer(settings: StackSettings) -> None:
    click.echo(f"     {_QUESTION}\n")
    names, rows = _query(settings, _QUESTION)
    _table(names, [tuple("" if one is None else str(one) for one in row) for row in rows])


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    cells = [list(names), *([cell[:64] for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(names))]
    for number, row in enumerate(cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.secho(f"     {line.rstrip()}", dim=number == 0)
