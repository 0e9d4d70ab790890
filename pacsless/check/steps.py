"""The steps, in the order an instance takes them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pacsless.check.dicomweb import Dicomweb, Failed
from pacsless.check.instance import Instance
from pacsless.errors import PacslessError
from pacsless.reach import reach
from pacsless.send.association import VERIFICATION, Association
from pacsless.send.pdu import Context, Receiver
from pacsless.send.sending import code, meaning


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and how it went."""

    name: str
    ok: bool
    seconds: float
    detail: str
    """What was seen, or what is wrong."""


def steps(receiver: Receiver, dicomweb: Dicomweb, instance: Instance) -> Iterator[Step]:
    """Take one step after the other, up to the first that fails.

    Parameters
    ----------
    receiver
        Where to store.
    dicomweb
        Where to read.
    instance
        What.
    """
    todo: dict[str, Callable[[], str]] = {
        "C-ECHO": lambda: _echo(receiver),
        "C-STORE": lambda: _store(receiver, instance),
        "WADO-RS, the same bytes": lambda: dicomweb.same_bytes(instance),
        "QIDO-RS": lambda: dicomweb.found(instance),
        "metadata": lambda: dicomweb.described(instance),
    }
    for name, doing in todo.items():
        began = time.monotonic()
        try:
            ok, detail = True, doing()
        except PacslessError as error:
            ok, detail = False, error.message
        yield Step(name, ok, time.monotonic() - began, detail)
        if not ok:
            return


def _echo(receiver: Receiver) -> str:
    reach(receiver.host, receiver.port)
    try:
        with Association(receiver, [VERIFICATION]) as association:
            status = association.echo().status
    except PacslessError as error:
        raise _at(receiver, error) from None
    if status:
        raise Failed("status", f"C-ECHO is answered {code(status)}")
    return receiver.called_ae_title


def _store(receiver: Receiver, instance: Instance) -> str:
    context = Context(instance.sop_class_uid, instance.transfer_syntax)
    try:
        with Association(receiver, [context]) as association:
            answer = association.store_data_set(
                context, instance.sop_instance_uid, io.BytesIO(instance.data_set)
            )
    except PacslessError as error:
        raise _at(receiver, error) from None
    if answer.status:
        told = f"C-STORE is answered {code(answer.status)}, {meaning(answer.status)}"
        raise Failed("status", f"{told}: {answer.comment}" if answer.comment else told)
    return instance.sop_instance_uid


def _at(receiver: Receiver, error: PacslessError) -> Failed:
    where = f"{receiver.called_ae_title} at {receiver.host}:{receiver.port}"
    return Failed(error.code, f"{where}: {error.message}")
