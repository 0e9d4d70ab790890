"""Transfer syntaxes: pydicom is taught the newer ones, and each means what PS3.5 says."""

from __future__ import annotations

import pytest
from pydicom.uid import UID, AllTransferSyntaxes

from pacsless.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    PRIVATE_HTJ2K,
    STORABLE,
    is_storable,
    lookup,
    name,
)

JPEG_2000 = "1.2.840.10008.1.2.4."


@pytest.mark.parametrize("suffix", ["4.110", "4.111", "4.112", "8.1"])
def test_pydicom_is_taught_the_newer_syntaxes(suffix: str) -> None:
    uid = UID(f"1.2.840.10008.1.2.{suffix}")
    assert uid.is_transfer_syntax
    assert uid.is_encapsulated
    assert not uid.is_implicit_VR
    assert name(uid) != uid


def test_all_syntaxes_of_stored_instances_are_accepted() -> None:
    real_time = {uid for uid in AllTransferSyntaxes if uid.startswith("1.2.840.10008.1.2.7.")}
    assert {str(uid) for uid in AllTransferSyntaxes} - real_time <= set(STORABLE)
    assert len(STORABLE) == len(set(STORABLE)) == 59
    assert PRIVATE_HTJ2K in STORABLE
    assert not any(is_storable(uid) for uid in real_time)
    assert not is_storable("1.2.3.4.5.6.1")


@pytest.mark.parametrize("uid", [uid for uid in STORABLE if not uid.startswith("3.")])
def test_lookup_agrees_with_pydicom(uid: str) -> None:
    syntax, known = lookup(uid), UID(uid)
    if uid.endswith(".1.20"):
        assert syntax.implicit_vr  # Papyrus 3, which pydicom takes for explicit VR
        return
    assert syntax.implicit_vr == known.is_implicit_VR
    assert syntax.little_endian == known.is_little_endian
    assert (syntax.encapsulated or syntax.referenced) == known.is_encapsulated


@pytest.mark.parametrize(
    ("uid", "media_type"),
    [
        ("1.2.840.10008.1.2", "application/octet-stream"),
        ("1.2.840.10008.1.2.1.98", "application/octet-stream"),
        ("1.2.840.10008.1.2.4.50", "image/jpeg"),
        ("1.2.840.10008.1.2.4.70", "image/jpeg"),
        ("1.2.840.10008.1.2.4.81", "image/jls"),
        ("1.2.840.10008.1.2.4.91", "image/jp2"),
        ("1.2.840.10008.1.2.4.93", "image/jpx"),
        ("1.2.840.10008.1.2.4.100.1", "video/mpeg"),
        ("1.2.840.10008.1.2.4.106", "video/mp4"),
        ("1.2.840.10008.1.2.4.108", "video/H265"),
        ("1.2.840.10008.1.2.4.112", "image/jxl"),
        ("1.2.840.10008.1.2.4.202", "image/jphc"),
        ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ("1.2.840.10008.1.2.8.1", "application/octet-stream"),
        (PRIVATE_HTJ2K, "image/jphc"),
    ],
)
def test_media_types_are_those_of_the_table(uid: str, media_type: str) -> None:
    assert lookup(uid).media_type == media_type
    assert lookup(uid).is_video == media_type.startswith("video/")


def test_banned_syntaxes_are_relabelled_for_the_web() -> None:
    for native in ("", ".1", ".1.99", ".2"):
        assert lookup(f"1.2.840.10008.1.2{native}").web_uid == EXPLICIT_VR_LITTLE_ENDIAN
    assert lookup("1.2.840.10008.1.2.5").web_uid == "1.2.840.10008.1.2.5"


def test_whole_data_sets_are_deflated_in_three_syntaxes_only() -> None:
    deflated = {uid for uid in STORABLE if lookup(uid).deflated}
    assert deflated == {"1.2.840.10008.1.2.1.99", f"{JPEG_2000}95", f"{JPEG_2000}205"}
