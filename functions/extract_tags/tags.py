"""From an instance's DICOM JSON to what the index keeps of it: pure.

A patient, study or series is described by one of its instances, as a whole: the
one that states most attributes of the level; of those that state equally many,
the one with the lowest SOP Instance UID. That order is total and knows no time,
so any order of arrival ends in the same rows, and no row mixes two data sets:
a name always stands beside the Patient ID it was sent with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pacsless.dicom import keys
from pacsless.dicom.levels import PATIENT, SERIES, STUDY, Attribute
from pacsless.events import Json
from pacsless.identity import InstanceIdentity
from pacsless.strict_json import dumps

_LARGEST_ATTRIBUTE: Final = 16 * 1024
"""Characters of JSON in ASCII; a sequence beyond it is in the metadata documents only."""
_MOST_PATIENT_IDS: Final = 64
_LONGEST_EVENT: Final = 4 * 1024 * 1024
"""Bytes of an instance's DICOM JSON in an event; `pacsless.bus` takes twice that."""


@dataclass(frozen=True, slots=True)
class Description:
    """One level as one instance states it."""

    described_by: str
    """Its SOP Instance UID."""
    stated: int
    """How many attributes of the level have a value there."""
    attributes: Json
    """DICOM JSON Model."""

    def beats(self, other: Description) -> bool:
        """Whether this one describes the level rather than `other`."""
        return (-self.stated, self.described_by) < (-other.stated, other.described_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What the index keeps of an instance, and its DICOM JSON."""

    identity: InstanceIdentity
    patient_id: str
    patient: Description
    study: Description
    """Patient and study attributes: a study is answered with its patient."""
    series: Description
    sop_class_uid: str
    instance_number: int | None
    dicom_json: Json
    warnings: tuple[str, ...] = ()
    """Keywords or tags of attributes that were changed or left out."""


def read_tags(identity: InstanceIdentity, document: Json) -> Tags:
    """Read what the index keeps from an instance's DICOM JSON."""
    warnings: list[str] = []
    patient = _level(document, PATIENT, warnings)
    study = _level(document, STUDY, warnings)
    patient_id = keys.text_key(first_text(patient, "00100020"))
    uid = identity.sop_instance_uid
    return Tags(
        identity=identity,
        patient_id=patient_id,
        # Nobody is described by an empty Patient ID: whoever sends one would
        # otherwise lend a name to all the unidentified.
        patient=_described(uid, patient) if patient_id else Description("", 0, {}),
        study=_described(uid, patient | study),
        series=_described(uid, _level(document, SERIES, warnings)),
        sop_class_uid=str(_clean(first_text(document, "00080016")))[:64],
        instance_number=keys.integer_key(first(document, "00200013")),
        dicom_json=_shortened(document, warnings),
        warnings=tuple(warnings),
    )


D = TypeVar("D")


def best(descriptions: Iterable[tuple[D, Description]]) -> dict[D, Description]:
    """The description that wins, for each key."""
    found: dict[D, Description] = {}
    for key, one in descriptions:
        if key not in found or one.beats(found[key]):
            found[key] = one
    return found


Level = tuple[str, str]
"""``("series", UID)``, ``("study", "")`` or ``("patient", Patient ID)``."""


def describe_levels(tags: Iterable[Tags]) -> dict[Level, Description]:
    """Say how instances of a study describe its levels; more is held of one at a time only."""
    return best(
        pair
        for one in tags
        for pair in (
            (("series", one.identity.series_instance_uid), one.series),
            (("study", ""), one.study),
            (("patient", one.patient_id), one.patient),
        )
    )


def merge_patient_ids(*lists: Iterable[str]) -> list[str]:
    """Every Patient ID a study's instances state, sorted; the lowest if there are very many."""
    return sorted({one for ids in lists for one in ids})[:_MOST_PATIENT_IDS]


def _level(document: Json, level: Mapping[str, Attribute], warnings: list[str]) -> Json:
    found = {tag: document[tag] for tag in level if tag in document}
    text = json.dumps(found)
    if len(text) <= _LARGEST_ATTRIBUTE and not _unfit(text):
        return found
    for tag, element in list(found.items()):
        text = json.dumps(element)
        if len(text) > _LARGEST_ATTRIBUTE:
            del found[tag]
            warnings.append(level[tag].keyword)
        elif _unfit(text):
            found[tag] = cleaned = _clean(element)
            if cleaned != element:
                warnings.append(level[tag].keyword)
    return found


def _unfit(text: str) -> bool:
    """Whether PostgreSQL cannot store a JSON text: neither NUL nor half a surrogate pair."""
    return "\\u0000" in text or "\\ud" in text


def _shortened(document: Json, warnings: list[str]) -> Json:
    """The document without its longest attributes, if it is too long for an event.

    Enhanced multi-frame objects of many thousand frames are: the metadata
    document still has it all, the warehouse everything but those sequences.
    """
    if _size(document) <= _LONGEST_EVENT:
        return document
    lengths = {tag: len(tag) + _size(element) + 4 for tag, element in document.items()}
    excess = sum(lengths.values()) - _LONGEST_EVENT
    left_out = set()
    for tag in sorted(lengths, key=lambda tag: lengths[tag], reverse=True):
        if excess <= 0:
            break
        excess -= lengths[tag]
        left_out.add(tag)
    warnings.extend(sorted(left_out))
    return {tag: one for tag, one in document.items() if tag not in left_out}


def _size(value: Any) -> int:
    return len(dumps(value))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    return value


def _described(uid: str, attributes: Json) -> Description:
    stated = sum(
        any(one not in (None, "", {}) for one in element.get("Value", ()))
        for element in attributes.values()
    )
    return Description(uid, stated, attributes)


def first(document: Json, tag: str) -> object:
    """First value of an attribute, None if there is none."""
    values = document.get(tag, {}).get("Value")
    return values[0] if values else None


def first_text(document: Json, tag: str) -> str:
    """First value of an attribute as text, empty if there is none."""
    value = first(document, tag)
    return "" if value is None or isinstance(value, dict) else str(value).strip(" \0")
