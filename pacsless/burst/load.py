"""What is sent: studies of several series, and who is next to send one: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacsless.burst.templates import Identifiers, Template, new_run


@dataclass(frozen=True, slots=True)
class Load:
    """Instances to send.

    Attributes
    ----------
    templates
        What they are made from; a series is made from one.
    instances
        In all.
    studies
        They share the instances as evenly as possible.
    series
        Of each study, if it has as many instances.
    run
        Number that tells the instances from those of other loads.
    """

    templates: Sequence[Template]
    instances: int
    studies: int
    series: int
    run: int

    @classmethod
    def new(cls, templates: Sequence[Template], instances: int, studies: int, series: int) -> Load:
        """A load nobody has sent before."""
        return cls(templates, instances, min(studies, instances), series, new_run())

    def study(self, number: int) -> Iterator[tuple[Identifiers, Template]]:
        """Instances of a study, numbered from 0, in the order they are sent in."""
        whole, rest = divmod(self.instances, self.studies)
        count = whole + (number < rest)
        series = min(self.series, count)
        for index in range(series):
            template = self.templates[(number * self.series + index) % len(self.templates)]
            for instance in range(count * index // series, count * (index + 1) // series):
                yield Identifiers.of(self.run, number + 1, index + 1, instance + 1), template
