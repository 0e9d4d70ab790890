"""Identifiers become paths only when they are harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsless.errors import InvalidIdentity
from pacsless.identity import (
    RESERVED_TENANTS,
    InstanceIdentity,
    SeriesIdentity,
    study_metadata_key,
    valid_tenant,
    valid_uid,
)

ONE = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")


def test_one_string_from_c_store_to_nginx() -> None:
    assert ONE.subject == "studies/1.2/series/1.2.3/instances/1.2.3.4"
    assert ONE.key == "default/1.2/1.2.3/1.2.3.4.dcm"
    assert ONE.partition_key == "default/1.2"
    assert ONE.series == SeriesIdentity("default", "1.2", "1.2.3")
    assert ONE.series.metadata_key == "metadata/default/1.2/1.2.3.json"
    assert study_metadata_key("default", "1.2") == "metadata/default/1.2.json"
    assert ONE.rendition_key("1.2.840.10008.1.2.1") == (
        "renditions/default/1.2/1.2.3/1.2.3.4/1.2.840.10008.1.2.1.dcm"
    )


def test_a_key_names_its_instance() -> None:
    assert InstanceIdentity.of_key(ONE.key) == ONE
    for key in ("default/1.2/1.2.3/1.2.3.4", "1.2/1.2.3/1.2.3.4.dcm", "a/b/1.2/1.2.3/1.4.dcm"):
        with pytest.raises(InvalidIdentity):
            InstanceIdentity.of_key(key)


@pytest.mark.parametrize("uid", ["1", "1.2.840", "0.0", "1.02.3", "1" * 64, "2.25." + "9" * 39])
def test_uids_devices_send_are_accepted(uid: str) -> None:
    assert valid_uid(uid) == uid


@pytest.mark.parametrize(
    "uid",
    ["", ".", "..", "1.", ".1", "1..2", "1" * 65, "1.2/3", "../1", "1.2\0", "1.2\n", "1.2 ", "1.a",
     "/1.2", "%2e%2e", "１.２", "1.2\\1.3"],
)  # fmt: skip
def test_what_is_no_uid_never_becomes_a_path(uid: str) -> None:
    with pytest.raises(InvalidIdentity) as caught:
        valid_uid(uid, "StudyInstanceUID")
    assert "StudyInstanceUID" in str(caught.value)
    assert not uid.strip(". 1") or uid not in str(caught.value)


@pytest.mark.parametrize("tenant", ["default", "hospital-b", "a", "0", "x" * 64, "a_b"])
def test_tenant_names(tenant: str) -> None:
    assert valid_tenant(tenant) == tenant


@pytest.mark.parametrize(
    "tenant",
    ["", "-a", "_a", "A", "a/b", "a.b", "..", "x" * 65, "ä", "a\n", *sorted(RESERVED_TENANTS)],
)
def test_what_is_no_tenant(tenant: str) -> None:
    with pytest.raises(InvalidIdentity):
        valid_tenant(tenant)


@given(st.text(max_size=80))
def test_a_valid_uid_is_one_path_component(text: str) -> None:
    try:
        uid = valid_uid(text)
    except InvalidIdentity:
        return
    assert set(uid) <= set("0123456789.") and uid not in (".", "..") and 1 <= len(uid) <= 64
