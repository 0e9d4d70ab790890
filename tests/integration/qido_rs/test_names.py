"""Names are found: whole, by a part, in every script and component group, and fuzzily."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.qido_rs.attributes import KEYS
from functions.qido_rs.values import Semantics, matches_of
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.dicom import keys
from pacsless.person_names import name_condition, words_of
from pacsless.postgres import Database
from pacsless.resources import override
from pacsless.settings import Settings
from pacsless.statement import Statement
from tests.instances import make_dataset
from tests.qido import Site, uids
from tests.services import PostgresServer

NAMES = {
    "1": "Müller-Lüdenscheidt^Hans Peter^^Dr.",
    "2": "MUELLER^HANS",
    "3": "O'Brien^Seán",
    "4": "Wang^XiaoDong=王^小东",
    "5": "Yamada^Tarou=山田^太郎=ヤマダ^タロウ",
    "6": "Hong^Gildong=洪^吉洞=홍^길동",
    "7": "Διονυσίου^Ελένη",
    "8": "قبّاني^لنزار",
    "9": "Schmidt^Katherine",
    "10": "Smyth^Jon",
    "11": "山本^太",
    "12": "Łukasiewicz^Zoë",
    "13": "",
    "14": "Иванов^Пётр",
}


@pytest.fixture(scope="module")
def named(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    with override({Archive: made.archive, Database: made.database, Settings: made.settings}):
        made.add(
            *(
                make_dataset(
                    StudyInstanceUID=f"1.{number}",
                    StudyDate=f"2024{int(number):02}01",
                    PatientName=name,
                    ReferringPhysicianName=name,
                )
                for number, name in NAMES.items()
            )
        )
        yield made
    made.database.close()


def found(site: Site, name: str, keyword: str = "PatientName", more: str = "") -> set[str]:
    path = f"/dicom-web/studies?{keyword}={quote(name)}{more}"
    return {uid.removeprefix("1.") for uid in uids(site.found(path))}


@pytest.mark.parametrize("keyword", ["PatientName", "ReferringPhysicianName"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("müller-lüdenscheidt^hans peter^^dr.", {"1"}),
        ("MULLER*", {"1"}),
        ("m*ller*", {"1", "2"}),
        ("*lüdens*", {"1"}),
        ("*lu\u0308dens*", {"1"}),
        ("*hans*", {"1", "2"}),
        ("*h?ns*", {"1", "2"}),
        ("*brien*", {"3"}),
        ("o'brien^sean", {"3"}),
        ("lukasiewicz^zoe", {"12"}),
        ("王*", {"4"}),
        ("*小东", {"4"}),
        ("*小*", {"4"}),
        ("*东*", {"4"}),
        ("*田*", {"5"}),
        ("*田^太*", {"5"}),
        ("山*", {"5", "11"}),
        ("*太*", {"5", "11"}),
        ("やまだ^たろう", {"5"}),
        ("ﾔﾏﾀﾞ*", {"5"}),
        ("*マダ*", {"5"}),
        ("*また*", set()),
        ("*길*", {"6"}),
        ("홍^*", {"6"}),
        ("洪^吉洞", {"6"}),
        ("διονυσιου*", {"7"}),
        ("ΔΙΟΝΥΣΊΟΥ^ΕΛΈΝΗ", {"7"}),
        ("*σιου*", {"7"}),
        ("قباني*", {"8"}),
        ("*نزار", {"8"}),
        ("иванов^петр", {"14"}),
        ("*=山田*", {"5"}),
        ("wang*=山田*", set()),
        ("==홍*", {"6"}),
        ("*a*", {"3", "4", "5", "1", "2", "9", "12"}),
        ("nobody", set()),
        ("*^*", {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "14"}),
    ],
)
def test_literal_and_wild_card(named: Site, keyword: str, name: str, expected: set[str]) -> None:
    assert found(named, name, keyword) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("muller", {"1", "2"}),  # sounds like it
        ("Hans Müller", {"1", "2"}),  # in any order
        ("mueller^hans", {"1", "2"}),
        ("lüd", {"1"}),  # begins a word
        ("brien", {"3"}),
        ("schmitt, catherine", {"9"}),
        ("smith john", {"10"}),
        ("*myth*", {"10"}),  # what matches literally does so, too
        ("王小东", {"4"}),  # nobody types the caret
        ("山田太郎", {"5"}),
        ("山田 太郎", {"5"}),
        ("ヤマダ", {"5"}),
        ("홍길동", {"6"}),
        ("길동", {"6"}),
        ("ελενη", {"7"}),
        ("نزار", set()),
        ("لنزار", {"8"}),
        ("Петр Иванов", {"14"}),
        ("hans smith", set()),  # each word has to match
        ("nobody", set()),
    ],
)
def test_fuzzy(named: Site, name: str, expected: set[str]) -> None:
    assert found(named, name, more="&fuzzymatching=true") == expected


def test_fuzzy_matching_is_for_names_alone(named: Site) -> None:
    (none, one) = (
        named.get(f"/dicom-web/studies?StudyDescription={text}&fuzzymatching=true")
        for text in ("Chst", "Chest")
    )
    assert none.text == "[]" != one.text
    assert "Warning" not in none.headers


def test_no_name_is_found_as_empty(named: Site) -> None:
    assert found(named, '""', more="&emptyvaluematching=true") == {"13"}
    assert found(named, '""') == set()


LETTERS = st.text(alphabet="aeéßüñ山田太ヤマだ홍길동αλίИي'’ ^.-=\\,*?_%ﾔ", max_size=12)


@given(name=LETTERS, fuzzy=st.booleans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_part_of_a_name_finds_it(
    named: Site, name: str, fuzzy: bool, data: st.DataObject
) -> None:
    """The index never leaves out what the comparison of names would take."""
    folded = keys.name_key(name.replace("*", "").replace("?", "").replace("=", ""))
    first = data.draw(st.integers(0, len(folded)))
    last = data.draw(st.integers(first, len(folded)))
    pattern = ("*" if first else "") + folded[first:last] + ("*" if last < len(folded) else "")
    (match,) = matches_of(KEYS["00100010"], pattern, Semantics(fuzzy=fuzzy))
    statement = Statement()
    like = name_condition(match.key.column, match.groups, statement, match.words)
    text = f"""
        SELECT bool_and({like})
        FROM (VALUES (:name, '', ''), ('', :name, ''), ('', '', :name))
            AS one(patient_name, patient_name_ideographic, patient_name_phonetic),
            LATERAL name_words(patient_name, patient_name_ideographic, patient_name_phonetic)
            AS words(patient_name_words)
    """.replace("study.", "")
    rows = named.database.run(lambda t: t.run(text, name=folded, **statement.parameters))
    assert rows == [[True]] or not folded, (folded, pattern)
    assert all(len(word) <= 32 for word in words_of(match.groups))
