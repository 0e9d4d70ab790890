"""Metadata is never behind the files."""

from __future__ import annotations

import gzip

from pydicom.uid import (
    generate_uid,
)

from functions.build_metadata.build import store as store_document
from pacsless.dicom.document import join
from pacsless.identity import InstanceIdentity, study_metadata_key
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import Pacs, build, document, parts


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
    broken = pacs.get(f"{bad.subject}/metadata")
    assert broken.status_code == 500
    assert pacs.get(bad.subject, "application/dicom").status_code == 200
    assert len(parts(pacs.get(good.series.subject))) == 2


def test_a_damaged_document_is_not_believed(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    pacs.archive.replace(identity.series.metadata_key, b'[{"00080018": torn')
    assert len(document(pacs.get(f"{identity.series.subject}/metadata"))) == 1
    assert len(document(pacs.get(f"{identity.subject}/metadata"))) == 1
