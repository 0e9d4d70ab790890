"""Where events go that a function will never take."""

from __future__ import annotations

from collections.abc import Callable

from pacsless.bus import Message, Producer
from pacsless.codec import now
from pacsless.dead_letters import buried
from pacsless.errors import PacslessError
from pacsless.events import dead_letter_topic
from pacsless.trigger.actions import Bury, Fate
from pacsless.trigger.dispatch import Outcome


class DeadLetters:
    """The dead letters of a function.

    Parameters
    ----------
    producer
        Sends them.
    function
        Whose.
    time
        Says when; ISO 8601.
    """

    def __init__(self, producer: Producer, function: str, time: Callable[[], str] = now) -> None:
        self._producer = producer
        self._function = function
        self._time = time

    def bury(self, action: Bury) -> Outcome:
        """Send one event to the dead letters of its topic; DOWN if that cannot be done now."""
        message: Message = action.item.message
        headers = buried(message, action.code, action.attempts, self._function, self._time())
        try:
            self._producer.copy(message, dead_letter_topic(message.partition.topic), headers)
        except PacslessError as error:
            return Outcome(Fate.DOWN, error.code)
        return Outcome(Fate.DONE, "")
