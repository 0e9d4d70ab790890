"""Made-up studies in an index, as extract_tags would have written them, but by the million.

Names follow the shape of real ones: few are very common, most are rare, some are
written in other scripts and in several component groups. PostgreSQL makes the
rows: through the function and an index that is there already it takes an hour.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from pacsless.dicom import keys
from pacsless.postgres.address import Address
from pacsless.postgres.connection import Connection
from pacsless.settings import Settings

LAST_DAY: Final = "2026-11-27"
_NAMES: Final = 100_000
_CHUNK: Final = 50_000
_RECENT: Final = 500
"""Newest studies, which have as many instances as a CT or MR has; the others have few."""

_LISTS: Final = """
    S M B H W K R G F L D T P N V J Sch St Br Kr Ch Gr Th Wh Kn Pf Z C;
    a e o i u ei au ie ü ö ee oo ai ou y;
    n r l ck tt ll nn s st rt ng m ber mann son er ski ini ov ez;
    Maria Anna Hans Peter Thomas Ursula Karin Michael Sabine Wolfgang Jürgen Monika José Renée
    Søren Zoë Łukasz Mehmet Fatma Ivan Olga Giulia Marco Chloé Liam Emma Noah Olivia;
    Yamada^Tarou=山田^太郎=やまだ^たろう Suzuki^Hanako=鈴木^花子=すずき^はなこ
    Satou^Kenji=佐藤^健二=さとう^けんじ Wang^XiaoDong=王^小东 Li^Wei=李^伟 Zhang^XiuYing=张^秀英
    Hong^Gildong=洪^吉洞=홍^길동 Kim^Minjun=金^珉俊=김^민준 Διονυσίου^Ελένη قباني^لنزار
"""
_ONSETS, _VOWELS, _CODAS, _GIVEN, _ELSEWHERE = map(str.split, _LISTS.split(";"))


def name_of(number: int) -> str:
    """A person's name, by number."""
    random = Random(number)
    if random.random() < 0.1:
        return random.choice(_ELSEWHERE)
    family = _skewed(random, _ONSETS) + _skewed(random, _VOWELS) + _skewed(random, _CODAS)
    return f"{family}{random.choice(('', '', *_CODAS))}^{_skewed(random, _GIVEN)}"


def _skewed(random: Random, of: list[str]) -> str:
    return of[int(random.random() ** 2 * len(of))]


def fill(settings: Settings, studies: int) -> None:
    """Write studies, the oldest first as time would, with their series and instances."""
    connection = Connection(Address.parse(settings.postgres), patient=True)
    try:
        # Nobody else is there; and what these rows refer to is written beside them.
        connection.script("SET session_replication_role = replica; SELECT setseed(0.5)")
        connection.script("CREATE TEMPORARY TABLE name (number integer PRIMARY KEY, pn jsonb, "
                          "a text, i text, p text)")  # fmt: skip
        connection.script(_ELEMENT)
        connection.run(_NAME, {"rows": json.dumps([_name(one) for one in range(_NAMES)])})
        indexes = connection.run(_INDEXES, {})
        for name, _ in indexes:
            connection.script(f"DROP INDEX {name}")
        for first in range(0, studies, _CHUNK):
            last = min(first + _CHUNK, studies) - 1
            given: dict[str, object] = {"first": first, "last": last, "studies": studies}
            connection.run(_STUDIES, given | {"names": _NAMES, "day": LAST_DAY})
        connection.script(_SERIES + _PATIENTS)
        connection.run(_INSTANCES, {"recent": studies - _RECENT})
        connection.script(_COUNTS)
        for _, definition in indexes:
            connection.script(definition)
        connection.script("VACUUM ANALYZE")
    finally:
        connection.close()


def _name(number: int) -> dict[str, Any]:
    groups = name_of(number).split("=")
    pn = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False))
    a, i, p = (keys.name_key(one) for one in [*groups, "", ""][:3])
    return {"number": number, "pn": pn, "a": a, "i": i, "p": p}


_NAME: Final = "INSERT INTO name SELECT * FROM json_populate_recordset(NULL::name, :rows::json)"

_INDEXES: Final = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename IN ('study', 'series', 'instance')
  AND indexname NOT LIKE '%\\_pkey'
"""

_ELEMENT: Final = """
CREATE FUNCTION pg_temp.element(tag text, vr text, value jsonb) RETURNS jsonb LANGUAGE sql
RETURN jsonb_build_object(tag, jsonb_build_object('vr', vr, 'Value', jsonb_build_array(value)))
"""

_STUDIES: Final = """
WITH drawn AS (
    SELECT n, '1.2.826.' || n AS uid, CAST(floor(random() * :studies * 0.4) AS bigint) AS patient,
        CAST(:day AS date) - CAST(3650 * (:studies - 1 - n) / :studies AS integer) AS day,
        to_char(floor(random() * 86399) * interval '1 second', 'HH24MISS') AS clock,
        'A' || lpad(CAST(n AS text), 9, '0') AS accession,
        (ARRAY['CT','CT','CT','CT','CT','CT','MR','MR','MR','MR','DX','DX','DX','DX','US','US',
               'CR','MG','PT',CASE WHEN random() < 0.05 THEN 'ES' ELSE 'XA' END])
            [1 + floor(random() * 20)] AS modality,
        (ARRAY['Thorax','Abdomen','Schaedel','Knie','Huefte','LWS','HWS','Becken','Schulter',
               'Herz','Mamma','Hand'])[1 + floor(power(random(), 2) * 12)]
        || (ARRAY['',' mit KM',' nativ',' Kontrolle',' ap',' 2 Ebenen',' Low Dose',' 3D'])
            [1 + floor(random() * 8)] AS part
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
), described AS (
    SELECT *, 'P' || lpad(CAST(patient AS text), 8, '0') AS id,
        date '1930-01-01' + CAST(patient * 7919 % 33000 AS integer) AS birth,
        modality || ' ' || part AS description
    FROM drawn
)
INSERT INTO study (tenant_id, study_instance_uid, modalities, patient_id, patient_ids,
    patient_name, patient_name_ideographic, patient_name_phonetic, patient_birth_date,
    patient_sex, study_date, study_time, accession_number, study_id, study_description,
    referring_physician_name, referring_physician_name_ideographic,
    referring_physician_name_phonetic, described_by, stated, attributes)
SELECT 'default', uid, ARRAY[modality], id, ARRAY[id], name.a, name.i, name.p, birth, 'F', day,
    clock || '.000000', accession, n % 100000, description, physician.a, physician.i, physician.p,
    uid || '.1.1', 11,
    pg_temp.element('00080020', 'DA', to_jsonb(to_char(day, 'YYYYMMDD')))
        || pg_temp.element('00080030', 'TM', to_jsonb(clock))
        || pg_temp.element('00080050', 'SH', to_jsonb(accession))
        || pg_temp.element('00080090', 'PN', physician.pn)
        || pg_temp.element('00080201', 'SH', '"+0100"')
        || pg_temp.element('00081030', 'LO', to_jsonb(description))
        || pg_temp.element('00100010', 'PN', name.pn)
        || pg_temp.element('00100020', 'LO', to_jsonb(id))
        || pg_temp.element('00100030', 'DA', to_jsonb(to_char(birth, 'YYYYMMDD')))
        || pg_temp.element('00100040', 'CS', '"F"')
        || pg_temp.element('0020000D', 'UI', to_jsonb(uid))
        || pg_temp.element('00200010', 'SH', to_jsonb(CAST(n % 100000 AS text)))
FROM described
JOIN name ON name.number = patient * 7919 % :names
JOIN name AS physician ON physician.number = n * 31 % 300
ORDER BY n
"""

_SERIES: Final = """
INSERT INTO series (tenant_id, study_instance_uid, series_instance_uid, modality, series_number,
    series_description, body_part_examined, described_by, stated, attributes, revision)
SELECT tenant_id, study_instance_uid, study_instance_uid || '.' || place, modalities[1], place,
    study_description, 'CHEST', study_instance_uid || '.' || place || '.1', 4,
    pg_temp.element('00080060', 'CS', to_jsonb(modalities[1]))
        || pg_temp.element('0008103E', 'LO', to_jsonb(study_description))
        || pg_temp.element('0020000E', 'UI', to_jsonb(study_instance_uid || '.' || place))
        || pg_temp.element('00200011', 'IS', to_jsonb(place)), 1
FROM study, generate_series(1, 2) AS place
ORDER BY length(study_instance_uid), study_instance_uid;
"""

_PATIENTS: Final = """
INSERT INTO patient (tenant_id, patient_id, described_by, stated, attributes)
SELECT DISTINCT tenant_id, patient_id, '', 0, jsonb '{}' FROM study;
"""

_INSTANCES: Final = """
INSERT INTO instance (tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid,
    sop_class_uid, instance_number, transfer_syntax_uid, sha256, file_size, revision,
    received_at, created_date)
SELECT tenant_id, study_instance_uid, series_instance_uid, series_instance_uid || '.' || n,
    '1.2.840.10008.5.1.4.1.1.2', n, '1.2.840.10008.1.2.1', '', 525000, 1, now(), current_date
FROM series, generate_series(1, CASE
    WHEN CAST(split_part(study_instance_uid, '.', 4) AS bigint) < :recent THEN 1
    ELSE 100 END) AS n
"""

_COUNTS: Final = """
UPDATE series SET instances = counted.instances, bytes = counted.bytes
FROM (
    SELECT tenant_id, study_instance_uid, series_instance_uid, count(*) AS instances,
        sum(file_size) AS bytes
    FROM instance GROUP BY tenant_id, study_instance_uid, series_instance_uid
) AS counted
WHERE series.tenant_id = counted.tenant_id
  AND series.study_instance_uid = counted.study_instance_uid
  AND series.series_instance_uid = counted.series_instance_uid;
"""
"""Triggers do it where there are others."""
