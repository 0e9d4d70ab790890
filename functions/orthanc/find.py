"""What is asked of /tools/find, as conditions on the index; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from functions.orthanc.levels import Level
from functions.orthanc.resources import Format
from functions.orthanc.sql import Conditions
from pacsless.dicom import keys
from pacsless.dicom.levels import PATIENT, SERIES, STUDY
from pacsless.errors import BadRequest
from pacsless.orthanc_ids import digest_of
from pacsless.person_names import name_condition
from pacsless.statement import Statement, is_text, like_pattern
from pacsless.strict_json import loads

_MOST_VALUES: Final = 500
_MOST_WILD_CARDS: Final = 16
_LONGEST: Final = 64 << 10
_LONGEST_VALUE: Final = 4 * keys.KEY_LENGTH
_TAG: Final = re.compile(r"([0-9A-Fa-f]{4})[,-]?([0-9A-Fa-f]{4})", re.ASCII)
_WILD: Final = re.compile(r"[*?]+")
_UNSUPPORTED: Final = ("RequestedTags", "ResponseContent", "OrderBy", "MetadataQuery")
_COLUMNS: Final = {
    "PatientID": "study.patient_id",
    "PatientName": "study.patient_name",
    "PatientBirthDate": "study.patient_birth_date",
    "PatientSex": "study.patient_sex",
    "StudyInstanceUID": "study.study_instance_uid",
    "StudyDate": "study.study_date",
    "AccessionNumber": "study.accession_number",
    "StudyID": "study.study_id",
    "StudyDescription": "study.study_description",
    "ReferringPhysicianName": "study.referring_physician_name",
    "SeriesInstanceUID": "series.series_instance_uid",
    "Modality": "series.modality",
    "SeriesNumber": "CAST(series.series_number AS text)",
    "SeriesDescription": "series.series_description",
    "BodyPartExamined": "series.body_part_examined",
    "SOPInstanceUID": "instance.sop_instance_uid",
    "SOPClassUID": "instance.sop_class_uid",
    "InstanceNumber": "CAST(instance.instance_number AS text)",
}
"""Where a keyword is kept as a key of its own; the others are read from the attributes."""
_DATES: Final = frozenset({"PatientBirthDate", "StudyDate"})
_FOLDED: Final = frozenset({"PatientName", "ReferringPhysicianName"})
_MODALITIES: Final = "ModalitiesInStudy"


@dataclass(frozen=True, slots=True)
class Find:
    """A search."""

    level: Level
    conditions: Conditions
    since: int
    limit: int | None
    form: Format | None
    """None for ids alone."""
    parents: tuple[tuple[Level, str], ...]
    """Resources that what is found is to be below, by their ids."""


def parse(body: bytes, tenant: str) -> Find:
    """Read the body of a request.

    Raises
    ------
    BadRequest
        If it is no search; says what is wrong.
    """
    asked = _object(body)
    for name in _UNSUPPORTED:
        if asked.get(name):
            raise BadRequest("unsupported", f"{name} is not supported here")
    level = Level.of_name(asked.get("Level"))
    query = asked.get("Query")
    if not isinstance(query, dict):
        raise BadRequest("query", "Query is an object of tags and values")
    conditions = Conditions(tenant)
    for name, value in query.items():
        if not isinstance(value, str):
            raise BadRequest("query", "each value of Query is a string")
        _match(conditions, level, name, value, exact=_boolean(asked, "CaseSensitive"))
    above = [one for one in Level if one.depth < level.depth]
    # Nothing here has labels.
    if asked.get("Labels") and asked.get("LabelsConstraint", "All") != "None":
        conditions.texts.append("false")
    return Find(
        level,
        conditions,
        _whole(asked, "Since"),
        _whole(asked, "Limit") or None,  # 0 is no limit
        Format.of({one.lower(): asked.get(one) for one in ("Short", "Full")})
        if _boolean(asked, "Expand")
        else None,
        tuple((one, _parent(asked, one)) for one in above if f"Parent{one.kind}" in asked),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = loads(body) if len(body) <= _LONGEST else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadRequest("body", f"the body is a JSON object of at most {_LONGEST >> 10} KiB")
    return found


def _boolean(asked: Mapping[str, Any], name: str) -> bool:
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest("boolean", f"{name} is true or false")
    return value


def _whole(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise BadRequest("number", f"{name} is a whole number from 0")
    return value


def _parent(asked: Mapping[str, Any], above: Level) -> str:
    parent = asked[f"Parent{above.kind}"]
    if not isinstance(parent, str) or digest_of(parent) is None:
        raise BadRequest("parent", f"Parent{above.kind} is the id of a resource")
    return parent


def _match(conditions: Conditions, level: Level, name: str, value: str, *, exact: bool) -> None:
    keyword, tag = _named(name)
    values = [one.strip(" ") for one in value.split("\\", _MOST_VALUES)]
    _check(values)
    if not all(one.strip("*") for one in values):
        values = []  # one that fits everything makes the others needless
    statement = conditions.statement
    if keyword == _MODALITIES and level is not Level.PATIENT:
        texts = [_modality(one, statement, exact=exact) for one in values]
    else:
        column, json = _place(level, keyword, tag)
        if keyword in _DATES and column:
            texts = [_date(column, one, statement) for one in values]
        elif keyword in _FOLDED and column:
            texts = [_name(column, json, one, statement, exact=exact) for one in values]
        else:
            texts = [_text(column or json, one, statement, exact=exact) for one in values]
    if texts:
        conditions.texts.append(f"({' OR '.join(texts)})")


def _check(values: Sequence[str]) -> None:
    """Bound what values cost: each ``*`` may go through the rest of a text again."""
    if len(values) > _MOST_VALUES:
        raise BadRequest("query", f"an attribute of Query has at most {_MOST_VALUES} values")
    for one in values:
        if len(one) > _LONGEST_VALUE or not is_text(one):
            raise BadRequest(
                "query", f"a value of Query is text of at most {_LONGEST_VALUE} characters"
            )
        if len(_WILD.findall(one)) > _MOST_WILD_CARDS:
            raise BadRequest("query", f"a value takes at most {_MOST_WILD_CARDS} wild cards")


def _named(name: str) -> tuple[str, str]:
    """Return keyword and tag of an attribute that is named by either."""
    if found := _TAG.fullmatch(name):
        tag = int(found[1] + found[2], 16)
        return keyword_for_tag(tag), f"{tag:08X}"
    known = tag_for_keyword(name)
    if known is None:
        raise BadRequest("query", "Query names attributes by keyword or tag, and one is neither")
    return name, f"{known:08X}"


def _place(level: Level, keyword: str, tag: str) -> tuple[str, str]:
    """Return the column of an attribute, if there is one, and where its text is else."""
    for owner, known in ((Level.PATIENT, PATIENT), (Level.STUDY, STUDY), (Level.SERIES, SERIES)):
        if tag in known and owner.depth <= level.depth:
            # Rows of studies have the attributes of their patients, too.
            table = "series" if owner is Level.SERIES else "study"
            group = ",Alphabetic" if known[tag].vr == "PN" else ""
            json = f"{table}.attributes #>> '{{{tag},Value,0{group}}}'"
            return _COLUMNS.get(keyword, ""), json
    if level is Level.INSTANCE and _COLUMNS.get(keyword, "").startswith(("instance.", "CAST(inst")):
        return _COLUMNS[keyword], ""
    raise BadRequest("query", f"{keyword or tag} is not searched for at this level")


def _spelt(value: str) -> list[str]:
    """Indexes know texts as they are written, and one of these is what nearly all are."""
    return list(dict.fromkeys((value, value.upper(), value.lower())))


def _text(column: str, value: str, statement: Statement, *, exact: bool) -> str:
    if _WILD.search(value):
        like = "LIKE" if exact else "ILIKE"
        return f"{column} {like} {statement.bind(like_pattern(value))}"
    if exact:
        return f"{column} = {statement.bind(value)}"
    return f"{column} IN ({', '.join(map(statement.bind, _spelt(value)))})"


def _modality(value: str, statement: Statement, *, exact: bool) -> str:
    if _WILD.search(value):
        inside = _text("one.modality", value, statement, exact=exact)
        return f"EXISTS (SELECT FROM unnest(study.modalities) AS one(modality) WHERE {inside})"
    spelt = statement.bind([value] if exact else _spelt(value))
    return f"study.modalities && CAST({spelt} AS text[])"


def _name(column: str, json: str, value: str, statement: Statement, *, exact: bool) -> str:
    # What is folded keeps * and ?, which are no letters.
    groups = [keys.name_key(one) for one in value.split("=")[:3]]
    text = name_condition(column, groups, statement)
    if not exact:
        return text
    return f"({text} AND {json} LIKE {statement.bind(like_pattern(value))})"


def _date(column: str, value: str, statement: Statement) -> str:
    first, dash, last = value.partition("-")
    texts = []
    for operator, text in ((">=" if dash else "=", first), ("<=", last)):
        day = keys.date_key(text)
        if text and day is None:
            raise BadRequest("date", "a date is YYYYMMDD, or two with - between them")
        if day is not None:
            texts.append(f"{column} {operator} {statement.bind(day)}")
    return " AND ".join(texts) or "true"
