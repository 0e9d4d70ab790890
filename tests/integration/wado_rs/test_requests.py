"""Requests that are wrong, foreign or hostile."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from pacsless import resources
from pacsless.cache import Cache
from pacsless.identity import InstanceIdentity
from tests.dicom_files import BUNDLED, SAMPLES, part10
from tests.instances import store_bytes
from tests.wado import FRAMES, XML, Pacs, build, document, native_models, parts, uris


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("studies/1.2.3", None, 404),
        ("studies/1.2.3/metadata", None, 404),
        ("studies/{study}/series/1.2.3", None, 404),
        ("studies/{study}/series/1.2.3/metadata", None, 404),
        ("studies/{study}/series/{series}/instances/1.2.3", None, 404),
        ("studies/{study}/series/{series}/instances/1.2.3/frames/1", FRAMES, 404),
        ("studies/{study}/series/{series}/instances/1.2.3/bulkdata/7FE00010", None, 404),
        ("studies/abc", None, 400),
        ("studies/..%2f..%2fetc/metadata", None, 404),
        ("studies/%2e%2e/metadata", None, 400),
        ("studies/1..2", None, 400),
        ("studies/" + "1" * 65, None, 400),
        ("studies/{study}", "image/png", 406),
        ("studies/{study}/metadata", "application/dicom+xml", 406),
        ("studies/1.2.3/metadata", 'multipart/related; type="application/dicom+xml"', 404),
        ("studies/{study}/series/{series}/instances/{sop}", "text/html", 406),
        ("nothing", None, 404),
    ],
)
def test_refusals_are_short_and_plain(
    pacs: Pacs, path: str, accept: str | None, status: int
) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    path = path.format(
        study=identity.study_instance_uid,
        series=identity.series_instance_uid,
        sop=identity.sop_instance_uid,
    )
    response = pacs.get(path, accept)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"].startswith("text/plain")
    assert 5 < len(response.text) < 400
    assert "CompressedSamples" not in response.text  # the patient's name


def test_only_reading(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    assert pacs.client.delete(f"/{identity.subject}").status_code == 405


def test_head_says_what_get_would(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    for path, accept in (
        (identity.subject, "application/dicom"),
        (identity.subject, None),
        (f"{identity.subject}/frames/1", FRAMES),
        (f"{identity.subject}/bulkdata/7FE00010", "application/octet-stream"),
        (f"{identity.series.subject}/metadata", None),
    ):
        headers = {"Accept": accept} if accept else {}
        got = pacs.client.get(f"/{path}", headers=headers)
        head = pacs.client.head(f"/{path}", headers=headers)
        assert head.status_code == 200
        assert head.data == b""
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_another_tenants_objects_do_not_exist(pacs: Pacs) -> None:
    north, _ = pacs.put("CT_small.dcm", "north")
    build(pacs, north)
    unknown = north.subject.replace(north.study_instance_uid, "1.2.3.4.5")
    for suffix in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010"):
        theirs = pacs.get(north.subject + suffix, "*/*", X_Pacsless_Tenant="south")
        nobodys = pacs.get(unknown + suffix, "*/*", X_Pacsless_Tenant="south")
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.data == nobodys.data
        own = pacs.get(north.subject + suffix, "*/*", X_Pacsless_Tenant="north")
        assert own.status_code == 200
    for resource in (north.series.subject, f"studies/{north.study_instance_uid}"):
        for suffix in ("", "/metadata"):
            assert pacs.get(resource + suffix, X_Pacsless_Tenant="south").status_code == 404
    [entry] = document(pacs.get(f"{north.subject}/metadata", X_Pacsless_Tenant="north"))
    assert all(uri.startswith("/tenants/north/dicom-web/") for uri in uris(entry))


def test_a_transfer_syntax_cannot_forge_headers(pacs: Pacs) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    forged = part10(b"\x08\0\x18\0UI\x06\x001.2.3\0", "1.2\r\nX-Forged: 1")
    store_bytes(pacs.archive, identity, forged, "")
    response = pacs.get(identity.subject, "application/dicom")
    assert response.data == forged
    assert response.headers["Content-Type"] == "application/dicom"
    [(headers, body)] = parts(pacs.get(identity.subject))
    assert body == forged
    assert headers["Content-Type"] == "application/dicom"


def test_a_cache_filled_by_another_version_is_not_believed(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    stat = pacs.archive.stat(identity.key)
    assert stat is not None
    cache = resources.get(Cache)
    cache.put("default", "frames", f"{identity.key}:{stat.size}:{stat.modified}", {"rows": 1})
    [(_, body)] = parts(pacs.get(f"{identity.subject}/frames/1", FRAMES))
    assert body == pydicom.dcmread(io.BytesIO(content)).PixelData


HOSTILE = sorted((SAMPLES / "hostile").glob("*.dcm")) if SAMPLES.is_dir() else []


@pytest.mark.skipif(not HOSTILE, reason="no sample files beside the repository")
@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_hostile_files_are_answered_for(pacs: Pacs, path: Path) -> None:
    """Stored is stored: the file comes back, and everything else gets a short answer."""
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, path.read_bytes(), "")
    neighbour = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.5")
    store_bytes(pacs.archive, neighbour, BUNDLED["CT_small.dcm"].read_bytes(), "")
    assert pacs.get(identity.subject, "application/dicom").data == path.read_bytes()
    assert len(parts(pacs.get("studies/1.2"))) == 2
    series = document(pacs.get("studies/1.2/series/1.2.3/metadata"))
    assert "1.2.3.5" in [one["00080018"]["Value"][0] for one in series]
    models = native_models(pacs.get("studies/1.2/series/1.2.3/metadata", XML))
    assert [one["00080018"] for one in models] == [one["00080018"] for one in series]
    explicit = f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}"
    for suffix, accept in (
        ("/metadata", None),
        ("/metadata", XML),
        ("/frames/1", FRAMES),
        ("/frames/999999999", FRAMES),
        ("/bulkdata/7FE00010", None),
        ("", explicit),
    ):
        response = pacs.get(identity.subject + suffix, accept)
        assert response.status_code in (200, 404, 406, 500)
        if response.status_code != 200:
            assert len(response.text) < 500
            assert "log says what" not in response.text, (suffix, "an error nobody thought of")
