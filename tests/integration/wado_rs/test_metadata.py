"""Metadata is never behind the files."""

from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import replace

from pydicom.uid import generate_uid
from werkzeug.test import EnvironBuilder, run_wsgi_app

from pacsless.dicom.document import join
from pacsless.errors import PacslessError
from pacsless.identity import InstanceIdentity, study_metadata_key
from pacsless.metadata import store_document
from pacsless.strict_json import dumps
from tests.dicom_files import BUNDLED
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import XML, Pacs, build, document, native_models, parts


def test_metadata_at_three_levels(pacs: Pacs) -> None:
    study, series = generate_uid(), generate_uid()
    identities = [
        pacs.store(
            encode(make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=n))
        )
        for n in (3, 1, 2)
    ]
    pacs.store(encode(make_dataset(StudyInstanceUID=study)))
    assert len(document(pacs.get(f"studies/{study}/metadata"))) == 4
    found = document(
        pacs.get(f"studies/{study}/series/{series}/metadata", "application/dicom+json")
    )
    assert [one["00200013"]["Value"] for one in found] == [[1], [2], [3]]
    [one] = document(pacs.get(f"{identities[0].subject}/metadata", "application/json"))
    assert one == found[2]


def test_xml_says_what_json_says(pacs: Pacs) -> None:
    study = generate_uid()
    series = [generate_uid(), generate_uid()]
    identities = [
        pacs.store(
            encode(
                make_dataset(
                    StudyInstanceUID=study,
                    SeriesInstanceUID=series[n % 2],
                    InstanceNumber=n,
                    PatientName="Yamada^Tarou=山田^太郎",
                )
            )
        )
        for n in range(5)
    ]
    paths = [f"studies/{study}", identities[0].series.subject, identities[0].subject]

    def check() -> None:
        for path in paths:
            found = pacs.get(f"{path}/metadata", XML, X_Pacsless_Accel="1")
            assert native_models(found) == document(pacs.get(f"{path}/metadata"))
            assert "Content-Length" not in found.headers
            assert found.headers["Vary"] == "Accept"

    check()  # made now
    for one in identities[:2]:
        build(pacs, one)
    check()  # from the documents of the series
    contents = []
    for one in sorted(identities[:2]):
        with pacs.archive.open(one.series.metadata_key) as file:
            contents.append(file.read())
    store_document(pacs.archive, study_metadata_key("default", study), join(contents))
    check()  # from the study's


def test_every_file_is_the_same_in_xml(pacs: Pacs) -> None:
    compared = 0
    for name in BUNDLED:
        try:
            identity, _ = pacs.put(name)
        except (PacslessError, ValueError):
            continue  # it says no UIDs, or those of another file
        [told] = native_models(pacs.get(f"{identity.subject}/metadata", XML))
        [said] = document(pacs.get(f"{identity.subject}/metadata"))
        assert list(told) == list(said)
        compared += 1
        for tag, attribute in said.items():
            if attribute["vr"] not in ("PN", "SQ", "SV", "UV"):
                assert told[tag] == attribute
    assert compared > 30


def test_xml_is_revalidated(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    path = f"{identity.series.subject}/metadata"
    for _ in ("made now", "stored"):
        first, json_tag = pacs.get(path, XML), pacs.get(path).headers["ETag"]
        tag = first.headers["ETag"]
        assert tag.startswith("W/") and json_tag not in tag
        again = pacs.get(path, XML, If_None_Match=tag)
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        assert pacs.get(path, XML, If_None_Match=json_tag).status_code == 200
        assert pacs.get(path, If_None_Match=tag).status_code == 200
        head = pacs.client.head(f"/{path}", headers={"Accept": XML})
        assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
        build(pacs, identity)


def test_xml_of_a_large_document_is_sent_entry_by_entry(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    [entry] = document(pacs.get(f"{identity.subject}/metadata"))
    for n in range(1, 400):
        other = replace(identity, sop_instance_uid=f"{identity.sop_instance_uid}.{n}")
        store_bytes(pacs.archive, other, b"any", "")
    # As many lines as originals there are make a document current.
    content = b"[" + b",\n".join([dumps(entry)] * 400) + b"\n]"
    pacs.archive.replace(identity.series.metadata_key, content)
    path = f"/{identity.series.subject}/metadata"
    sending, status, _ = run_wsgi_app(
        pacs.client.application,
        EnvironBuilder(path, headers=[("Accept", XML)]).get_environ(),
        buffered=False,
    )
    assert status == "200 OK"
    tracemalloc.start()
    sent = sum(map(len, sending))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent > 2 * len(content) > 8 << 20
    assert peak < 1 << 20


def test_a_stored_document_is_sent_while_it_is_current_and_never_after(pacs: Pacs) -> None:
    study, series = generate_uid(), generate_uid()

    def add(number: int) -> InstanceIdentity:
        ds = make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number)
        return pacs.store(encode(ds))

    path = f"studies/{study}/series/{series}/metadata"
    first = add(1)
    build(pacs, first)
    behind = pacs.get(path, X_Pacsless_Accel="1")
    assert behind.headers["X-Accel-Redirect"] == f"/internal/archive/{first.series.metadata_key}"
    assert behind.headers["Content-Type"] == "application/dicom+json"
    add(2)
    fallen_back = pacs.get(path, X_Pacsless_Accel="1")
    assert "X-Accel-Redirect" not in fallen_back.headers
    assert len(document(fallen_back)) == 2
    assert len(document(pacs.get(f"studies/{study}/metadata"))) == 2
    build(pacs, first)
    assert "X-Accel-Redirect" in pacs.get(path, X_Pacsless_Accel="1").headers


def test_a_studys_document_is_sent_while_it_is_current(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    build(pacs, identity)
    key = study_metadata_key("default", identity.study_instance_uid)
    with pacs.archive.open(identity.series.metadata_key) as file:
        store_document(pacs.archive, key, join([file.read()]))
    path = f"studies/{identity.study_instance_uid}/metadata"
    current = pacs.get(path, X_Pacsless_Accel="1")
    assert current.headers["X-Accel-Redirect"] == f"/internal/archive/{key}"
    ds = make_dataset(StudyInstanceUID=identity.study_instance_uid)
    pacs.store(encode(ds))
    assert len(document(pacs.get(path, X_Pacsless_Accel="1"))) == 2


def test_metadata_is_compressed_and_revalidated(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    path = f"{identity.series.subject}/metadata"
    made_now = pacs.get(path)
    assert pacs.get(path, If_None_Match=made_now.headers["ETag"]).status_code == 304
    build(pacs, identity)
    plain = pacs.get(path)
    packed = pacs.get(path, Accept_Encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data == made_now.data
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in packed.headers["Vary"]
    for response in (plain, packed):
        again = pacs.get(
            path,
            If_None_Match=response.headers["ETag"],
            Accept_Encoding=response.headers.get("Content-Encoding", "identity"),
        )
        assert again.status_code == 304
        assert again.data == b""
    assert "Content-Encoding" not in pacs.get(path, Accept_Encoding="gzip;q=0").headers


def test_a_file_that_cannot_be_read_does_not_hide_its_series(pacs: Pacs) -> None:
    good, _ = pacs.put("CT_small.dcm")
    bad = InstanceIdentity("default", good.study_instance_uid, good.series_instance_uid, "1.9.9")
    store_bytes(pacs.archive, bad, b"\0" * 128 + b"DICM" + b"\xff" * 500, "")
    path = f"{good.series.subject}/metadata"
    assert len(document(pacs.get(path))) == 1
    build(pacs, good)
    # The document accounts for both files, so it is current.
    assert "X-Accel-Redirect" in pacs.get(path, X_Pacsless_Accel="1").headers
    assert len(native_models(pacs.get(path, XML))) == 1
    for accept in (None, XML):
        assert pacs.get(f"{bad.subject}/metadata", accept).status_code == 500
    assert pacs.get(bad.subject, "application/dicom").status_code == 200
    assert len(parts(pacs.get(good.series.subject))) == 2


def test_a_damaged_document_is_not_believed(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    pacs.archive.replace(identity.series.metadata_key, b'[{"00080018": torn')
    assert len(document(pacs.get(f"{identity.series.subject}/metadata"))) == 1
    assert len(document(pacs.get(f"{identity.subject}/metadata"))) == 1
    assert len(native_models(pacs.get(f"{identity.series.subject}/metadata", XML))) == 1


def test_xml_of_nothing_that_can_be_read_is_refused(pacs: Pacs) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, b"\0" * 200, "")
    for path in ("studies/1.2/metadata", "studies/1.2/series/1.2.3/metadata"):
        assert document(pacs.get(path)) == []
        refused = pacs.get(path, XML)
        assert (refused.status_code, refused.mimetype) == (500, "text/plain")
