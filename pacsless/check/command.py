"""The ``check`` command of the CLI."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from pacsless.check.dicomweb import Dicomweb
from pacsless.check.instance import new_instance
from pacsless.check.steps import Step, steps
from pacsless.reach import host_and_port
from pacsless.send.pdu import Receiver


@click.command()
@click.option("--dicomweb", required=True, metavar="URL", help="Root of DICOMweb.")
@click.option("--dicom", required=True, metavar="HOST:PORT", help="The Storage SCP.")
@click.option("--called", default="PACSLESS", show_default=True, help="Its AE title.")
@click.option("--calling", default="PACSLESS_CHECK", show_default=True,
              help="AE title to send as.")  # fmt: skip
@click.option("--timeout", default=60.0, show_default=True,
              type=click.FloatRange(0, min_open=True),
              help="Seconds a step may take.")  # fmt: skip
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File with an access token that may read.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    *, dicomweb: str, dicom: str, called: str, calling: str, timeout: float,
    token_file: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Store a small instance and find it everywhere; exit 1 at the first step that fails.

    C-ECHO, C-STORE, the same bytes by WADO-RS, then QIDO-RS and metadata. The
    instance stays, as a study of its own of the patient PACSLESS-CHECK.
    """
    host, port = host_and_port(dicom, "--dicom", 11112)
    token = token_file.read_text().strip() if token_file else ""
    instance = new_instance(datetime.now(UTC))
    taken: list[Step] = []
    for step in steps(
        Receiver(host, port, called, calling, timeout),
        Dicomweb(dicomweb, timeout, token),
        instance,
    ):
        taken.append(step)
        if not as_json:
            _print(step)
    ok = all(one.ok for one in taken)
    if as_json:
        told = {
            "ok": ok,
            "study_instance_uid": instance.study_instance_uid,
            "steps": [asdict(one) | {"seconds": round(one.seconds, 3)} for one in taken],
        }
        click.echo(json.dumps(told, indent=1))
    sys.exit(0 if ok else 1)


def _print(step: Step) -> None:
    if step.ok:
        click.echo(f"{step.name:<26}{step.seconds:7.3f} s  {step.detail}".rstrip())
    else:
        click.echo(f"pacsless: {step.name} failed: {step.detail}", err=True)
