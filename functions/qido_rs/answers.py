"""A row of a search as DICOM JSON: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from functions.qido_rs.attributes import IF_KNOWN, REQUIRED, STORED, Level
from functions.qido_rs.query import Query
from pacsless.events import Json
from pacsless.strict_json import loads

MODALITIES_IN_STUDY: Final = "00080061"
STUDY_SERIES: Final = "00201206"
STUDY_INSTANCES: Final = "00201208"
SERIES_INSTANCES: Final = "00201209"
_STUDY_COMPUTED: Final = frozenset({MODALITIES_IN_STUDY, STUDY_SERIES, STUDY_INSTANCES})
_UIDS: Final = {Level.STUDIES: "0020000D", Level.SERIES: "0020000E"}


def counts_studies(query: Query) -> bool:
    """Whether an answer says what is in its study.

    All Series and All Instances answer with their study's attributes (PS3.18
    §10.6.3.3.2, §10.6.3.3.3); below a study they come when asked for.
    """
    return bool(_of_study(query))


def _of_study(query: Query) -> frozenset[str]:
    if not query.study or query.level is Level.STUDIES:
        return _STUDY_COMPUTED
    return _STUDY_COMPUTED & query.shown


def counts_series(query: Query) -> bool:
    """Whether an answer says how many instances are in its series."""
    return query.level is Level.SERIES or (
        query.level is Level.INSTANCES and (not query.series or SERIES_INSTANCES in query.shown)
    )


def columns(query: Query) -> tuple[str, ...]:
    """Names of the columns an answer is made of."""
    return (
        "study_instance_uid",
        *(("series_instance_uid",) if query.level is not Level.STUDIES else ()),
        *(
            ("sop_instance_uid", "sop_class_uid", "instance_number")
            if query.level is Level.INSTANCES
            else ()
        ),
        "study_attributes",
        *(("series_attributes",) if query.level is not Level.STUDIES else ()),
        *(("modalities", "study_series", "study_instances") if counts_studies(query) else ()),
        *(("series_instances",) if counts_series(query) else ()),
    )


class Answers:
    """Makes the answers of one search.

    Parameters
    ----------
    query
        The search.
    base_url
        What RetrieveURL starts with.
    """

    def __init__(self, query: Query, base_url: str) -> None:
        self._query, self._base_url = query, base_url
        self._columns = columns(query)
        empty: dict[str, str] = dict(REQUIRED[query.level])
        shown = {level: {uid} | query.shown for level, uid in _UIDS.items()}
        if query.level is not Level.STUDIES and not query.study:
            empty |= REQUIRED[Level.STUDIES]
            shown[Level.STUDIES] |= set(REQUIRED[Level.STUDIES]) | set(IF_KNOWN[Level.STUDIES])
        if query.level is Level.INSTANCES and not query.series:
            empty |= REQUIRED[Level.SERIES]
            shown[Level.SERIES] |= set(REQUIRED[Level.SERIES]) | set(IF_KNOWN[Level.SERIES])
        if query.everything and query.level in shown:
            shown[query.level] |= STORED[query.level]
        self._shown = shown
        self._empty: Json = {tag: {"vr": vr} for tag, vr in empty.items()}
        self._read: dict[tuple[Level, str], Json] = {}

    def answer(self, row: Sequence[Any]) -> Json:
        """Make one, its attributes in no order."""
        of = dict(zip(self._columns, row, strict=True))
        found = dict(self._empty)
        for level, column in (
            (Level.STUDIES, "study_attributes"),
            (Level.SERIES, "series_attributes"),
        ):
            if column in of:
                found |= self._stated(level, of[column])
        return found | self._computed(of)

    def _stated(self, level: Level, attributes: str) -> Json:
        """What is shown of a study or series; of ten thousand instances it is the same."""
        known = self._read.get((level, attributes))
        if known is None:
            shown = self._shown[level]
            stated = loads(attributes.encode())
            known = {tag: one for tag, one in stated.items() if tag in shown}
            self._read[level, attributes] = known
        return known

    def _computed(self, of: Mapping[str, Any]) -> Json:
        path = f"/studies/{of['study_instance_uid']}"
        found = {"00080056": _element("CS", "ONLINE")}
        if "series_instance_uid" in of:
            path += f"/series/{of['series_instance_uid']}"
        if "sop_instance_uid" in of:
            path += f"/instances/{of['sop_instance_uid']}"
            found["00080016"] = _element("UI", of["sop_class_uid"])
            found["00080018"] = _element("UI", of["sop_instance_uid"])
            found["00200013"] = _element("IS", of["instance_number"])
        found["00081190"] = _element("UR", self._base_url + path)
        asked = _of_study(self._query)
        if STUDY_SERIES in asked:
            found[STUDY_SERIES] = _element("IS", of["study_series"])
        if STUDY_INSTANCES in asked:
            found[STUDY_INSTANCES] = _element("IS", of["study_instances"])
        # Left out rather than empty when no series states a modality: the study list
        # of OHIF 3.13 fails as a whole on one study with an element without a Value.
        if MODALITIES_IN_STUDY in asked and of["modalities"]:
            found[MODALITIES_IN_STUDY] = {"vr": "CS", "Value": of["modalities"].split("\\")}
        if "series_instances" in of:
            found[SERIES_INSTANCES] = _element("IS", of["series_instances"])
        return found


def _element(vr: str, value: object) -> Json:
    return {"vr": vr} if value is None else {"vr": vr, "Value": [value]}
