# ruff: noqa: S608  every part is a constant of this package; values are parameters
"""What is asked of the index; pure. Input never becomes part of a statement, it is bound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from functions.orthanc.levels import Level
from pacsless.statement import Statement

_FROM: Final = {
    Level.PATIENT: "patient",
    Level.STUDY: "study",
    Level.SERIES: "series JOIN study USING (tenant_id, study_instance_uid)",
    Level.INSTANCE: "instance"
    " JOIN series USING (tenant_id, study_instance_uid, series_instance_uid)"
    " JOIN study USING (tenant_id, study_instance_uid)",
}
_OF_PATIENT: Final = "study.tenant_id = patient.tenant_id AND study.patient_id = patient.patient_id"
_OF_STUDY: Final = (
    "series.tenant_id = study.tenant_id AND series.study_instance_uid = study.study_instance_uid"
)
_SHOWN: Final = {
    # Who is not identified has no attributes here, and an empty Patient ID there.
    Level.PATIENT: f"""CAST('{{"00100020": {{"vr": "LO"}}}}' AS jsonb) || patient.attributes,
    ARRAY(SELECT study_instance_uid FROM study WHERE {_OF_PATIENT}),
    (SELECT max(updated_at) FROM study JOIN series USING (tenant_id, study_instance_uid)
     WHERE {_OF_PATIENT})""",
    # The institution is an attribute of series here, and of studies there.
    Level.STUDY: f"""study.attributes || COALESCE((
        SELECT jsonb_build_object('00080080', series.attributes -> '00080080')
        FROM series WHERE {_OF_STUDY} AND series.attributes ? '00080080'
        ORDER BY series_instance_uid LIMIT 1), '{{}}'),
    ARRAY(SELECT series_instance_uid FROM series WHERE {_OF_STUDY}),
    (SELECT max(updated_at) FROM series WHERE {_OF_STUDY})""",
    Level.SERIES: """series.attributes,
    ARRAY(SELECT sop_instance_uid FROM instance WHERE instance.tenant_id = series.tenant_id
        AND instance.study_instance_uid = series.study_instance_uid
        AND instance.series_instance_uid = series.series_instance_uid),
    series.updated_at""",
    Level.INSTANCE: "instance.instance_number, instance.file_size, instance.sha256",
}
_SUMS: Final = {
    Level.SERIES: "CAST(COALESCE(sum(series.instances), 0) AS bigint),"
    " CAST(COALESCE(sum(series.bytes), 0) AS bigint)",
    Level.INSTANCE: "count(*), CAST(COALESCE(sum(instance.file_size), 0) AS bigint)",
}
_UIDS: Final = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def _own(level: Level) -> list[str]:
    """Columns that tell a resource from others of its level, and in whose order they are."""
    if level is Level.PATIENT:
        return ["patient.patient_id"]
    return [f"{level.table}.{uid}" for uid in _UIDS[: level.depth]]


def _keys(level: Level) -> list[str]:
    """Columns of all that its id is made of."""
    return _own(level) if level is Level.PATIENT else ["study.patient_id", *_own(level)]


@dataclass(slots=True)
class Conditions:
    """What rows must be like, and the values that say it.

    Of patients they are about their studies, one of which has to fulfil them all.
    """

    tenant: str
    texts: list[str] = field(default_factory=list)
    statement: Statement = field(default_factory=Statement)

    def within(self, level: Level, keys: tuple[str, ...]) -> None:
        """Ask for a resource, or for what is below it.

        Parameters
        ----------
        level
            Whose rows are asked for.
        keys
            Patient ID and UIDs of the resource.
        """
        patient_id, *uids = keys
        if not uids:
            self.texts.append(f"study.patient_id = {self.statement.bind(patient_id)}")
        for column, uid in zip(_UIDS, uids, strict=False):
            self.texts.append(f"{level.table}.{column} = {self.statement.bind(uid)}")

    def of(self, level: Level) -> str:
        """Write what is after WHERE."""
        texts = list(self.texts)
        if level is Level.PATIENT:
            # A study may have been given to another patient since: nobody is listed without one.
            asked = " AND ".join([_OF_PATIENT, *texts])
            texts = [f"EXISTS (SELECT FROM study WHERE {asked})"]
        return " AND ".join([f"{level.table}.tenant_id = :tenant", *texts])

    def asking(self, text: str, **more: object) -> Statement:
        """Return a statement with their values."""
        return Statement(text, {"tenant": self.tenant, **self.statement.parameters, **more})


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a level, in the order of what is their own."""

    level: Level
    limit: int
    offset: int = 0
    after: tuple[str, ...] = ()
    """Keys of the row it begins after, if it is not the first."""
    shown: bool = False
    """Whether more than the keys is wanted."""

    def of(self, conditions: Conditions, *, matches_first: bool = False) -> Statement:
        """Write the statement, whose rows begin with the keys.

        Parameters
        ----------
        conditions
            What they must be like.
        matches_first
            Whether no index is to be walked in the order of the page.
        """
        own = _own(self.level)
        order = [f"{own[0]} || ''", *own[1:]] if matches_first else own
        columns = [*_keys(self.level), *([_SHOWN[self.level]] if self.shown else [])]
        where, given = conditions.of(self.level), {}
        if self.after:
            given = {f"after{place}": key for place, key in enumerate(self.after[-len(own) :])}
            where += f" AND ({', '.join(own)}) > ({', '.join(f':{name}' for name in given)})"
        text = (
            f"SELECT {', '.join(columns)} FROM {_FROM[self.level]} WHERE {where}"
            f" ORDER BY {', '.join(order)} LIMIT :limit OFFSET :offset"
        )
        return conditions.asking(text, **given, limit=self.limit, offset=self.offset)


def count(level: Level, conditions: Conditions) -> Statement:
    """Write the statement that counts rows."""
    return conditions.asking(f"SELECT count(*) FROM {_FROM[level]} WHERE {conditions.of(level)}")


def noted(level: Level, tenant: str, digest: bytes) -> Statement:
    """Write the statement that finds all keys of what an id is noted to have been made of."""
    conditions = Conditions(tenant)
    keys = ", ".join(f"keys[{place}]" for place in range(1, len(_own(level)) + 1))
    text = (
        f"SELECT {', '.join(_keys(level))} FROM {_FROM[level]} WHERE {conditions.of(level)}"
        f" AND ({', '.join(_own(level))}) = (SELECT {keys} FROM orthanc_id"
        f" WHERE tenant_id = :tenant AND level = '{level.table}' AND orthanc_id = :digest)"
    )
    return conditions.asking(text, digest=digest)


def statistics(level: Level, conditions: Conditions) -> Statement:
    """Write the statement that counts what there is: of series, which know it, or an instance."""
    return conditions.asking(f"""
SELECT {_SUMS[level]}, count(*), count(DISTINCT {level.table}.study_instance_uid)
FROM {_FROM[level]} WHERE {conditions.of(level)}
""")


def files(conditions: Conditions, after: tuple[str, str, str], limit: int) -> Statement:
    """Write the statement of instances with the attributes of their studies and series."""
    uids = ", ".join(_own(Level.INSTANCE))
    text = f"""
SELECT {uids}, study.attributes, series.attributes
FROM {_FROM[Level.INSTANCE]}
WHERE {conditions.of(Level.INSTANCE)} AND ({uids}) > (:study, :series, :sop)
ORDER BY {uids} LIMIT :limit
"""
    study, series, sop = after
    return conditions.asking(text, study=study, series=series, sop=sop, limit=limit)


TOTALS: Final = f"""
SELECT {_SUMS[Level.SERIES]}, count(*),
    (SELECT count(*) FROM study WHERE tenant_id = :tenant),
    (SELECT count(*) FROM patient WHERE {Conditions("").of(Level.PATIENT)})
FROM series WHERE tenant_id = :tenant
"""


def _named(level: Level) -> str:
    keys = _keys(level)
    # Each has four columns: the rest is NULL.
    columns = [*keys, *(["CAST(NULL AS text)"] * (len(Level) - len(keys)))]
    return (
        f"SELECT {', '.join(columns)} FROM {_FROM[level]}"
        f" WHERE {Conditions('').of(level)} AND {_own(level)[-1]} = :name"
    )


LOOKUP: Final = f"{' UNION ALL '.join(map(_named, Level))} LIMIT :most"
"""Keys of what has a Patient ID or UID."""

INGESTED: Final = """
SELECT instance_number, received_at, transfer_syntax_uid, sop_class_uid FROM instance
WHERE tenant_id = :tenant AND study_instance_uid = :study AND series_instance_uid = :series
  AND sop_instance_uid = :sop
"""

PATIENTS_OF: Final = """
SELECT study_instance_uid, patient_id FROM study
WHERE tenant_id = :tenant AND study_instance_uid = ANY(CAST(:studies AS text[]))
"""

NEWEST: Final = """
SELECT last_sequence FROM change_feed WHERE tenant_id = :tenant
"""
