"""Making the topics, and how far behind their readers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pacsless.settings import Settings


def group_id(function: str, prefix: str = "pacsless-") -> str:
    """Consumer group of a function: ``pacsless-extract-tags``."""
    return prefix + function.replace("_", "-")


def create_topics(
    settings: Settings, partitions: int = 4, replication: int = -1, timeout: float = 30.0
) -> list[str]:
    """Create every topic and its dead letters, unless they exist.

    Parameters
    ----------
    settings
        Where the brokers are.
    partitions
        Of each topic; dead letters have one.
    replication
        Copies of each; the broker's default unless given.
    timeout
        Seconds until `Unavailable`.

    Returns
    -------
    list of str
        The topics that were created now.
    """
    raise NotImplementedError


def function_lag(
    settings: Settings, subscriptions: Mapping[str, Iterable[str]], prefix: str = "pacsless-"
) -> dict[str, dict[str, int]]:
    """Count the events each function has not handled yet.

    Parameters
    ----------
    settings
        Where the brokers are.
    subscriptions
        Function name to the topics it reads (`pacsless.functions`).
    prefix
        Of the group ids.

    Returns
    -------
    dict
        Function to topic to events.
    """
    raise NotImplementedError


def dead_letter_counts(settings: Settings) -> dict[str, int]:
    """Count the dead letters of each topic."""
    raise NotImplementedError
