"""The receiver's part, on a stand-in for the index; the real one is in tests/integration."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from scp_gateway.storage_commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Reference,
    Transactions,
)

from pacsless.errors import Unavailable
from tests.eventually import eventually
from tests.unit.storage_commitment.parts import (
    CT,
    MR,
    SENDER,
    SYNTAXES,
    TRANSACTION,
    Association,
    Index,
    Scu,
    ask,
    checker,
    delivering,
    pairs,
    references,
    serving,
)


@pytest.mark.parametrize("transfer_syntax", SYNTAXES)
def test_the_asking_association_gets_the_result(
    transactions: Transactions, index: Index, transfer_syntax: str
) -> None:
    asked = references(4)
    for one in (asked[0], asked[1], asked[3]):
        index.store(one)
    index.store(Reference(CT, "1.2.3.1000"))
    asked = (*asked, Reference(MR, "1.2.3.1000"))
    index.archive.root.joinpath(index.rows["1.2.3.2"][3]).write_bytes(b"DICN")
    association = Association(0, transfer_syntax=transfer_syntax)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: transactions.pending() == [])
        eventually(lambda: service.counts()["delivered"])
        assert service.counts() == {"committed": 0, "failed": 1, "delivered": 1}
    ((event_type, told),) = association.reports
    assert event_type == 2 and told.TransactionUID == TRANSACTION
    assert pairs(told, "ReferencedSOPSequence") == [asked[0], asked[3]]
    assert pairs(told, "FailedSOPSequence") == [asked[1], asked[2], asked[4]]
    reasons = [one.FailureReason for one in told.FailedSOPSequence]
    assert reasons == [0x0110, 0x0112, 0x0119]


def test_a_warning_of_the_scu_is_an_answer_and_a_failure_is_none(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.store(asked[0])
    association = Association(0x0110, 0x0107)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: transactions.pending() == [])
    assert [event_type for event_type, _ in association.reports] == [1, 1]


def test_a_request_that_cannot_be_kept_is_answered_so(
    transactions: Transactions, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(transactions, checker(index)) as service:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert ask(service, Association(0), references(1)) == 0x0213
        assert transactions.pending() == []
        reply = service.request(
            SENDER, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, 1, b"?",
            ImplicitVRLittleEndian, Association(),
        )  # fmt: skip
        assert reply.status == 0x0115 and 0 < len(reply.comment) <= 64


def test_the_same_request_twice_is_answered_once(transactions: Transactions, index: Index) -> None:
    asked = references(1)
    with serving(transactions, checker(index, 600)) as service:
        first, second = Association(0), Association(0)
        assert ask(service, first, asked) == 0
        assert ask(service, second, asked) == 0
        index.store(asked[0])
        eventually(lambda: transactions.pending() == [])
    assert len(first.reports) + len(second.reports) == 1


def test_a_repeated_request_brings_a_new_association(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.store(asked[0])
    with serving(transactions, checker(index)) as service:
        gone = Association()
        assert ask(service, gone, asked) == 0
        eventually(lambda: gone.reports)
        assert len(transactions.pending()) == 1
        second = Association(0)
        assert ask(service, second, asked) == 0
        eventually(lambda: transactions.pending() == [])
    assert len(second.reports) == 1


def test_a_duplicate_is_told_and_the_first_goes_on(
    transactions: Transactions, index: Index
) -> None:
    with serving(transactions, checker(index, 600)) as service:
        first, second = Association(0), Association(0)
        assert ask(service, first, references(1)) == 0
        assert ask(service, second, references(2)) == 0
        eventually(lambda: second.reports)
        ((event_type, told),) = second.reports
        assert event_type == 2 and "ReferencedSOPSequence" not in told
        assert [one.FailureReason for one in told.FailedSOPSequence] == [0x0131] * 2
        index.store(references(1)[0])
        eventually(lambda: first.reports)
    assert first.reports[0][0] == 1


def test_what_is_not_indexed_is_waited_for(transactions: Transactions, index: Index) -> None:
    asked = references(2)
    index.store(asked[0])
    association = Association(0)
    with serving(transactions, checker(index, 600)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: index.asked.count(asked[1].sop_instance_uid) >= 3)
        assert index.asked.count(asked[0].sop_instance_uid) == 1, "it was judged before"
        assert not association.reports
        index.store(asked[1])
        eventually(lambda: association.reports)
    assert association.reports[0][0] == 1


def test_an_index_that_is_down_is_no_reason_to_fail(
    transactions: Transactions, index: Index
) -> None:
    asked = references(1)
    index.error = Unavailable("postgres", "down")
    association = Association(0)
    with serving(transactions, checker(index)) as service:
        assert ask(service, association, asked) == 0
        held = transactions.hold(transactions.pending()[0])
        assert held is None
        index.store(asked[0])
        index.error = None
        eventually(lambda: association.reports)
    assert association.reports[0][0] == 1


def test_a_large_request_is_looked_at_in_pieces(transactions: Transactions, index: Index) -> None:
    asked = references(1_203)
    for one in asked[:-1]:
        index.store(one)
    association = Association(0)
    with serving(transactions, checker(index, look_seconds=0.005)) as service:
        assert ask(service, association, asked) == 0
        eventually(lambda: association.reports)
    told = association.reports[0][1]
    assert pairs(told, "ReferencedSOPSequence") == list(asked[:-1])
    assert pairs(told, "FailedSOPSequence") == [asked[-1]]


def test_a_service_full_of_requests_leaves_the_next_to_the_deliverer(
    transactions: Transactions, index: Index
) -> None:
    with serving(transactions, checker(index, 600), max_active=1) as service:
        assert ask(service, Association(0), references(1), "1.2.1") == 0
        assert ask(service, Association(0), references(1), "1.2.2") == 0
        free = [one for one in map(transactions.hold, transactions.pending()) if one is not None]
        assert [one.load().transaction_uid for one in free] == ["1.2.2"]
        for one in free:
            one.release()


def test_a_stopped_service_lets_go(transactions: Transactions, index: Index) -> None:
    with serving(transactions, checker(index, 600)) as service:
        assert ask(service, Association(0), references(1)) == 0
        assert transactions.hold(transactions.pending()[0]) is None
    held = transactions.hold(transactions.pending()[0])
    assert held is not None
    held.release()


def test_the_response_is_a_while_ahead_of_the_report(
    transactions: Transactions, index: Index
) -> None:
    index.store(references(1)[0])
    association = Association(0)
    with serving(transactions, checker(index), report_after_seconds=0.5) as service:
        assert ask(service, association, references(1)) == 0
        answered_at = time.monotonic()
        eventually(lambda: transactions.pending() == [])
    assert association.reported_at >= answered_at + 0.45


def test_a_large_report_is_not_for_the_association_that_asks(
    transactions: Transactions, index: Index, scu: Callable[..., Scu]
) -> None:
    few, many = references(10), references(5_000)
    asking, listening = Association(0, 0), scu()
    with serving(transactions, checker(index)) as service:
        assert ask(service, asking, few, "1.2.1") == 0
        assert ask(service, asking, many, "1.2.2") == 0
        eventually(lambda: asking.reports)
        # It lets go of what it cannot report.
        with delivering(transactions, index, listening.remote):
            eventually(lambda: transactions.pending() == [])
    assert [told.TransactionUID for _, told in asking.reports] == ["1.2.1"]
    assert [told.TransactionUID for _, told in listening.reports] == ["1.2.2"]


def test_slow_associations_stop_no_check(transactions: Transactions, index: Index) -> None:
    asked, go_on = threading.Semaphore(0), threading.Event()

    class Slow(Association):
        def report(self, event_type_id: int, information: bytes, seconds: float) -> int | None:
            asked.release()
            go_on.wait(30)
            return super().report(event_type_id, information, seconds)

    with serving(transactions, checker(index), threads=2) as service:
        for number in range(2):
            assert ask(service, Slow(0), references(1), f"1.2.{number}") == 0
            assert asked.acquire(timeout=30)
        assert ask(service, Slow(0), references(1), "1.2.9") == 0
        eventually(lambda: service.counts()["failed"] == 3)
        go_on.set()
        eventually(lambda: transactions.pending() == [])
