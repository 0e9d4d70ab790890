"""What kafka-python 3.0.12 does not tell a member of a group, or forgets."""

from __future__ import annotations

from typing import Any


def keep_unheard_joins(coordinator: Any) -> None:
    """Let a join that ends between two polls count.

    kafka-python 3.0.12 joins in its own thread but takes the answer only inside a
    poll; an answer that came before is dropped and the group asked again. If that
    member is the group's leader, all have to join again, and members that are
    polled at the same pace may go on so for minutes.
    """
    from kafka.structs import MemberState

    ask = coordinator._do_join_and_sync_async
    ended: tuple[Any, bytes] | None = None

    async def join() -> bytes:
        nonlocal ended
        # Taken answers leave it stable, lost memberships unjoined.
        unheard = coordinator.state is MemberState.REBALANCING
        if not (unheard and ended is not None and ended[0] is coordinator._generation):
            assignment = await ask()
            ended = coordinator._generation, assignment
        return ended[1]

    coordinator._do_join_and_sync_async = join


def rejoin_if_forgotten(coordinator: Any) -> None:
    """Let a poll that ended before the join did be followed by another join.

    After a change of metadata kafka-python 3.0.12 forgets then that it is joining:
    it would wait, with no partitions and every commit refused, for as long as it lives.
    """
    if coordinator.rejoining and not coordinator.need_rejoin():
        coordinator.request_rejoin()


def heed_fencing(coordinator: Any) -> list[Exception]:
    """Return a list that gets the error when a heartbeat finds this member fenced.

    kafka-python 3.0.12 logs it there and then stops its heartbeats; a member with
    nothing to commit would never know.
    """
    from kafka.errors import FencedInstanceIdError

    handle = coordinator._handle_heartbeat_response
    found: list[Exception] = []

    def handle_and_keep(*arguments: Any) -> Any:
        try:
            return handle(*arguments)
        except FencedInstanceIdError as error:
            found.append(error)
            raise

    coordinator._handle_heartbeat_response = handle_and_keep
    return found
