"""Transactions that outlive crashes, whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scp_gateway.storage_commitment import (
    Reference,
    Transactions,
)
from scp_gateway.storage_commitment.commitment import Damaged
from scp_gateway.storage_commitment.limits import Limit, Limits
from scp_gateway.storage_commitment.request import Declined
from scp_gateway.storage_commitment.transactions import Held

from pacsless.errors import Unavailable
from pacsless.storage import Sender
from tests.eventually import eventually
from tests.services import REPOSITORY
from tests.unit.storage_commitment.parts import (
    SENDER,
    TRANSACTION,
    add,
    anew,
    decided,
    references,
)


def test_a_transaction_outlives_its_process_at_every_step(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    assert anew(transactions).hold(name) is None, "it is at once in the hands of who added it"
    held.release()  # the end of the process before it was checked
    held = anew(transactions).hold(name)
    assert held is not None
    commitment = held.load()
    assert (commitment.tenant_id, commitment.calling_ae_title) == ("default", "CT_SCANNER")
    assert commitment.called_ae_title == "PACSLESS"
    assert (commitment.transaction_uid, commitment.references) == (TRANSACTION, references(3))
    assert held.result(commitment) is None
    held.decide(commitment, {1: 0x0112})
    held.release()  # before it was sent
    assert decided(transactions, name) == {1: 0x0112}
    held = anew(transactions).hold(name)
    assert held is not None
    held.done()
    assert anew(transactions).pending() == []
    assert not list(transactions.folder.glob("*.re*"))
    held.release()  # twice is harmless


def test_the_kernel_takes_the_lock_from_a_killed_process(transactions: Transactions) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pacsless.storage import Sender\n"
        "from scp_gateway.storage_commitment import Transactions\n"
        "from scp_gateway.storage_commitment.request import Reference, Request\n"
        "name, held = Transactions(Path(sys.argv[1])).add("
        "Sender('default', 'A', 'B', ''), Request('1.2', (Reference('1.3', '1.4'),)))\n"
        "print(name, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(transactions.folder.parent)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'scp-gateway'}"},
    )
    try:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert transactions.pending() == [name]
        assert transactions.hold(name) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]
    held = eventually(lambda: transactions.hold(name))
    assert held is not None
    assert held.load().references == (Reference("1.3", "1.4"),)
    held.release()


def test_the_same_request_again_is_the_same_transaction(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    assert add(anew(transactions)) == (name, None)
    assert transactions.pending() == [name]
    held.done()
    again, held = add(transactions)
    assert again == name and held is not None, "a finished one is asked for anew"
    held.release()


def test_a_transaction_uid_with_other_references_is_a_duplicate(
    transactions: Transactions,
) -> None:
    first, held = add(transactions)
    assert held is not None
    name, duplicate = add(transactions, references(2))
    assert name != first and duplicate is not None
    duplicate.release()
    assert decided(transactions, name) == {0: 0x0131, 1: 0x0131}
    held.release()
    assert decided(transactions, first) is None
    for other in (
        Sender("default", "MR_SCANNER", "PACSLESS", "127.0.0.1"),
        Sender("elsewhere", "CT_SCANNER", "PACSLESS", "127.0.0.1"),
    ):
        name, held = add(transactions, references(2), other)
        assert held is not None
        held.release()
        assert decided(transactions, name) is None, "another sender's UIDs are its own"
    name, held = add(transactions, references(2), transaction="1.2.3.4.5.7")
    assert held is not None
    held.release()
    assert decided(transactions, name) is None


def test_the_order_of_references_is_part_of_a_request(transactions: Transactions) -> None:
    _, held = add(transactions)
    _, duplicate = add(transactions, references(3)[::-1])
    assert held is not None and duplicate is not None
    assert duplicate.load().references == references(3)[::-1]
    assert duplicate.result(duplicate.load()) is not None
    held.release()
    duplicate.release()


def test_a_result_is_never_taken_for_another_requests(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    held.decide(held.load(), {0: 0x0110})
    # A crash after the request was removed, before its result was.
    (transactions.folder / f"{name}.request").unlink()
    held.release()
    again, held = add(transactions)
    assert again == name and held is not None
    assert held.result(held.load()) is None
    held.release()


def test_a_damaged_request_is_noticed(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    path = transactions.folder / f"{name}.request"
    content = bytearray(path.read_bytes())
    for position in (0, 20, len(content) // 2, len(content) - 2):
        wrong = bytearray(content)
        wrong[position] ^= 1
        path.write_bytes(wrong)
        try:
            commitment = held.load()
        except Damaged:
            continue
        assert commitment.references == references(3)
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        with pytest.raises(Damaged):
            held.load()
    held.release()


def test_a_torn_result_is_none(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    commitment = held.load()
    held.decide(commitment, {0: 0x0110})
    path = transactions.folder / f"{name}.result"
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert held.result(commitment) is None
    held.release()


def left(
    transactions: Transactions, sender: Sender = SENDER, count: int = 1, first: int = 0
) -> int:
    """Ask for `count` transactions at most, until one is declined; return how many were not."""
    for number in range(count):
        try:
            _, held = add(transactions, sender=sender, transaction=f"1.2.{first + number}")
        except Declined as declined:
            reply = declined.reply
        else:
            assert held is not None
            held.release()
            continue
        assert (reply.status, "pending" in reply.comment) == (0x0213, True)
        return number
    return count


LIMIT = Limit(10_000, 1 << 30)
OTHER_AE_TITLE = Sender("default", "MR_SCANNER", "PACSLESS", "127.0.0.1")
OTHER_TENANT = Sender("elsewhere", "CT_SCANNER", "PACSLESS", "127.0.0.1")


def test_one_sender_takes_no_room_of_others(tmp_path: Path) -> None:
    some = Transactions(tmp_path, Limits(sender=Limit(2, 1 << 30), tenant=LIMIT, overall=LIMIT))
    assert left(some, count=3) == 2
    assert left(some, OTHER_AE_TITLE, 3) == 2
    assert left(some, OTHER_TENANT, 3) == 2
    assert add(some, transaction="1.2.1")[1] is None, "one that is there is there"
    held = some.hold(add(some, transaction="1.2.1")[0])
    assert held is not None
    held.done()
    assert left(some, count=2, first=7) == 1, "there is room again"


def test_one_tenant_takes_no_room_of_others(tmp_path: Path) -> None:
    some = Transactions(tmp_path, Limits(sender=Limit(2, 1 << 30), tenant=Limit(3, 1 << 30)))
    assert left(some, count=3) == 2
    assert left(some, OTHER_AE_TITLE, 3) == 1
    assert left(some, OTHER_TENANT, 3) == 2


def test_there_is_an_end_to_all_together(tmp_path: Path) -> None:
    some = Transactions(tmp_path, Limits(overall=Limit(3, 1 << 30)))
    assert left(some, count=2) == 2
    assert left(some, OTHER_TENANT, 3) == 1


@pytest.mark.parametrize("whose", ["sender", "tenant", "overall"])
def test_what_is_too_large_is_declined(tmp_path: Path, whose: str) -> None:
    small = Transactions(tmp_path, Limits(**{whose: Limit(100, 1_000)}))
    with pytest.raises(Declined):
        add(small, references(100))
    assert small.pending() == []
    assert left(small) == 1


@pytest.mark.parametrize(("call", "nth"), [("write", 1), ("fsync", 1), ("link", 1), ("fsync", 2)])
def test_what_is_not_durable_is_not_promised(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    real: Callable[..., Any] = getattr(os, call)
    calls = []

    def failing(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(Unavailable, match="No space left"):
            add(transactions)
    assert transactions.pending() == []
    assert [one.name for one in transactions.folder.iterdir() if one.name != ".lock"] == [
        "undelivered"
    ]
    _, held = add(transactions)
    assert held is not None
    held.release()


def test_sweeping_removes_what_crashes_left(transactions: Transactions) -> None:
    name, held = add(transactions)
    assert held is not None
    held.decide(held.load(), {})
    held.release()
    (transactions.folder / ".0123").write_bytes(b"x")
    (transactions.folder / "a-b-c.result").write_bytes(b"x")
    assert transactions.sweep() == 0, "they may be somebody's"
    assert transactions.sweep(older_than=0) == 2
    assert transactions.pending() == [name]
    assert decided(transactions, name) == {}


def given_up(transactions: Transactions, count: int) -> list[Path]:
    for number in range(count):
        _, held = add(transactions, transaction=f"1.2.{number}")
        assert held is not None
        held.decide(held.load(), {})
        held.give_up()
    return sorted((transactions.folder / "undelivered").iterdir())


def test_what_was_given_up_is_kept_for_a_time(transactions: Transactions) -> None:
    assert len(given_up(transactions, 3)) == 6
    assert transactions.prune() == 0
    assert transactions.prune(seconds=0) == 6
    assert not list((transactions.folder / "undelivered").iterdir())


def test_the_oldest_of_too_much_that_was_given_up_goes(transactions: Transactions) -> None:
    first = given_up(transactions, 1)
    # The clock of file systems is coarse.
    marker = transactions.folder / ".marker"

    def later() -> bool:
        marker.touch()
        return marker.stat().st_ctime > max(one.stat().st_ctime for one in first)

    eventually(later)
    add(transactions, transaction="1.2.9")[1].give_up()  # type: ignore[union-attr]
    assert transactions.prune(files=1) == 2
    (kept,) = (transactions.folder / "undelivered").iterdir()
    assert kept not in first


def test_threads_that_ask_the_same_make_one_transaction(transactions: Transactions) -> None:
    found: list[tuple[str, Held | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append(add(anew(transactions)))) for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({name for name, _ in found}) == 1
    assert [held is not None for _, held in found].count(True) == 1
    for _, held in found:
        if held is not None:
            held.release()
