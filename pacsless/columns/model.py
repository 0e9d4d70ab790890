"""What a column and a table are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

SEQUENCE: Final = "event_seq"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Parameters
    ----------
    name
        Snake case of the DICOM keyword, where it holds an attribute.
    type
        Doris type.
    description
        What it holds; becomes the column's comment.
    nullable
        Whether it may be NULL.
    default
        Text of the default value, for rows that are written without the column.
    keyword, tag, vr
        The attribute it holds (PS3.6 §6): ``Rows``, ``00280010``, ``US``.
    """

    name: str
    type: str
    description: str
    nullable: bool = True
    default: str | None = None
    keyword: str = ""
    tag: str = ""
    vr: str = ""

    @property
    def base_type(self) -> str:
        """Type without its length."""
        return self.type.partition("(")[0]

    @property
    def length(self) -> int | None:
        """Bytes of a VARCHAR, digits of a DATETIME's fraction."""
        return _length(self.type)


@cache
def _length(type_: str) -> int | None:
    found = re.search(r"\((\d+)\)", type_)
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a unique key.

    Parameters
    ----------
    name, description
        Its name, and what a row is.
    key
        Names of the key columns: the first ones of `columns`.
    columns
        All columns, in order.
    distribution, buckets
        Key column rows are spread by, and over how many tablets.
    partition, partition_unit
        Key column of type DATE and the unit of the partitions, or None.
    sequence
        Column that decides which row of a key is newer. None where a key's row
        never changes, so that a replay writes what is there already.
    indexes
        Columns with an inverted index.
    properties
        Further Doris properties.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    distribution: str
    buckets: int
    partition: str | None = None
    partition_unit: str = "month"
    sequence: str | None = SEQUENCE
    indexes: tuple[str, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    def column(self, name: str) -> Column:
        """The column of that name; KeyError if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def snake_case(keyword: str) -> str:
    """Name of the column that holds the attribute with `keyword`.

    Examples
    --------
    >>> snake_case("SOPInstanceUID"), snake_case("NumberOfFrames"), snake_case("KVP")
    ('sop_instance_uid', 'number_of_frames', 'kvp')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()
