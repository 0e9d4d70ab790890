"""The Conformance Statement is up to date, and what it says can be looked up in the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydicom._uid_dict import UID_dictionary
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import _QR_CLASSES, _STORAGE_CLASSES
from scp_gateway import messages, negotiation
from scp_gateway.application_entities import ApplicationEntities, NotAdmitted
from scp_gateway.conformance import SECTIONS, filled
from scp_gateway.presentation import STORAGE, Offer, supported
from scp_gateway.settings import GatewaySettings
from scp_gateway.storage_commitment import ActionStatus, deliver
from scp_gateway.storage_commitment.report import FailureReason

from functions.stow_rs.storing import StowSettings
from pacsless.capabilities import STATUSES
from pacsless.dicom.header import Limits
from pacsless.dicom.part10 import IMPLEMENTATION_CLASS_UID
from pacsless.dicom.text import DEFAULT, encoding_of
from pacsless.dicom.transfer_syntaxes import PRIVATE_HTJ2K, STORABLE
from pacsless.settings import FromEnviron, Settings
from pacsless.storage import Status

DOCUMENT = Path(__file__).parents[2] / "docs/conformance.md"
TEXT = DOCUMENT.read_text()
PROSE = re.sub(r"<!-- (\S+): made.*?<!-- /\1 -->", "", TEXT, flags=re.DOTALL)
OFFER = Offer(max_pdu=16384, any_sop_class=False, storage_commitment=True)


def section(name: str) -> str:
    found = re.search(rf"<!-- {name}: made.*?<!-- /{name} -->", TEXT, re.DOTALL)
    assert found is not None
    return found[0]


def test_the_tables_are_up_to_date() -> None:
    assert filled(TEXT) == TEXT, "run `make docs`"
    assert set(re.findall(r"<!-- (\S+): made", TEXT)) == set(SECTIONS)


def test_every_code_exists_and_is_told() -> None:
    codes = {*Status, *ActionStatus, *FailureReason, messages._UNRECOGNIZED_OPERATION}
    assert {int(one, 16) for one in re.findall(r"0x([0-9A-F]{4})", TEXT)} == codes


def test_every_http_status_of_the_prose_is_described() -> None:
    named = {int(one) for one in re.findall(r"(?<![\w§.,-])([2-5]\d\d)(?![\w-])", PROSE)}
    of_oauth2 = {401, 403}
    assert named <= set(STATUSES) | of_oauth2
    assert {200, 406, 409, 503} <= named, "the expression finds none"


def test_every_setting_exists() -> None:
    kinds: tuple[type[FromEnviron], ...] = (Settings, GatewaySettings, StowSettings)
    known = {f"{kind.PREFIX}{one.name.upper()}" for kind in kinds for one in fields(kind)}  # type: ignore[arg-type]
    named = set(re.findall(r"PACSLESS_[A-Z]\w+", TEXT))
    assert named, "the expression finds none"
    assert named <= known


def test_every_uid_is_registered() -> None:
    named = set(re.findall(r"`(\d+(?:\.\d+){3,})`", TEXT))
    of_others = {*_STORAGE_CLASSES.values(), IMPLEMENTATION_CLASS_UID, PRIVATE_HTJ2K}
    assert named - set(UID_dictionary) <= of_others
    assert named >= STORAGE | set(STORABLE)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)[)#]", TEXT)
    assert links
    for link in links:
        assert (DOCUMENT.parent / link).is_file(), link


def test_every_sop_class_is_accepted_in_every_transfer_syntax() -> None:
    syntaxes = re.findall(r"`(\d[\d.]+)`", section("transfer-syntaxes"))
    classes = re.findall(r"`([\d.]+)`", section("sop-classes"))
    for accepted in supported([build_context(uid, syntaxes) for uid in classes], OFFER):
        assert [str(one) for one in accepted.transfer_syntax] == syntaxes
        classes.remove(str(accepted.abstract_syntax))
    assert classes == []


def test_what_is_not_supported_is_not() -> None:
    for name in ("C-FIND", "C-MOVE", "C-GET"):
        assert name in PROSE
    assert supported([build_context(uid) for uid in _QR_CLASSES.values()], OFFER) == []


def test_the_rejections_are_those_there_are() -> None:
    told = {
        tuple(map(int, row))
        for row in re.findall(r"^\| (\d) \| (\d) \| (\d) \|", PROSE, re.MULTILINE)
    }
    entities = ApplicationEntities.from_toml(
        '[tenants.a]\ncalled = ["A"]\ncalling = ["X"]\naddresses = ["10.0.0.0/8"]'
    )
    met = {
        negotiation.LOCAL_LIMIT_EXCEEDED,
        negotiation._CONTEXT_NOT_SUPPORTED,
        negotiation._VERSION_NOT_SUPPORTED,
    }
    for called, calling, address in (
        ("A", "X", "192.0.2.1"), ("NOBODY", "X", "10.0.0.1"), ("A", "Y", "10.0.0.1"),
    ):  # fmt: skip
        with pytest.raises(NotAdmitted) as error:
            entities.admit(called, calling, address, None)
        met.add((error.value.result, error.value.source, error.value.reason))
    assert told == met


def test_the_levels_of_storage_are_those_negotiated() -> None:
    assert "Level 2 (Full), Digital Signature Level 3" in re.sub(r"\s+", " ", PROSE)
    assert bytes((2, 0, 3, 0, 0, 0)) == negotiation._STORAGE_INFORMATION


def test_the_numbers_of_the_prose_are_those_of_the_code() -> None:
    assert f"Binary values above {Limits().inline_bytes:,} bytes" in PROSE
    first, last = deliver._BACKOFF
    assert f"pauses from {first:.0f} s to {last / 60:.0f} minutes" in PROSE


def test_every_character_set_is_read() -> None:
    terms = re.findall(r"`([^`]+)`", section("character-sets").split("\n")[1])
    assert {one for one in terms if encoding_of(one.encode()) == DEFAULT} == {
        "ISO_IR 6", "ISO 2022 IR 6",
    }  # fmt: skip
