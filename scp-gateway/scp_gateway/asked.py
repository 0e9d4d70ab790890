"""What is asked of the gateway, and by whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a connection comes from, and how."""

    address: str
    port: int
    tls: bool
    over_limit: bool
    """Whether there are too many associations already."""


@dataclass(frozen=True, slots=True)
class Request:
    """The command set of a C-STORE-RQ, and the transfer syntax of its data set."""

    abstract_syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
