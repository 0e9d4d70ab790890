"""``pacsless dlq``: events that no retry could mend, for the person who can.

A dead letter is the record as it was, in ``<topic>.dlq``, with headers that say
why. `letter` is what it says, `selection` which are meant, `settling` sends
their events again or gives them up.
"""

from pacsless.dead_letters.letter import Letter, buried
from pacsless.dead_letters.selection import Group, Selection, Summary
from pacsless.dead_letters.settling import Outcome, letters, settle

__all__ = [
    "Group",
    "Letter",
    "Outcome",
    "Selection",
    "Summary",
    "buried",
    "letters",
    "settle",
]
