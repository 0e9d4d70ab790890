"""The same answers from an archive on S3, where nginx has no file to send."""

from __future__ import annotations

import json

import pydicom

from functions.transcode.rendition import make_rendition
from pacsless.events import InstanceConversionRequested, InstanceConverted
from tests.dicom_files import BUNDLED
from tests.wado import FRAMES, Pacs, build, document, parts

EXPLICIT = "1.2.840.10008.1.2.1"


def test_files_metadata_and_frames_come_from_s3(s3: Pacs) -> None:
    identity, content = s3.put("CT_small.dcm")
    assert s3.get(identity.subject, "application/dicom", X_Pacsless_Accel="1").data == content
    [(_, body)] = parts(s3.get(f"studies/{identity.study_instance_uid}"))
    assert body == content
    before = document(s3.get(f"{identity.series.subject}/metadata", X_Pacsless_Accel="1"))
    build(s3, identity)
    stored = s3.get(f"{identity.series.subject}/metadata", X_Pacsless_Accel="1")
    assert json.loads(stored.data) == before
    pixels = pydicom.dcmread(BUNDLED["CT_small.dcm"]).PixelData
    [(_, body)] = parts(s3.get(f"{identity.subject}/frames/1", FRAMES))
    assert body == pixels
    bulk = f"{identity.subject}/bulkdata/7FE00010"
    assert s3.get(bulk, "application/octet-stream", Range="bytes=5-9").data == pixels[5:10]
    assert s3.get("studies/1.2.3/metadata").status_code == 404


def test_renditions_are_made_and_read_on_s3(s3: Pacs) -> None:
    identity, _ = s3.put("MR_small_bigendian.dcm")
    on_the_fly = parts(s3.get(f"{identity.subject}/frames/1", FRAMES))[0][1]
    event = make_rendition(
        InstanceConversionRequested(
            tenant_id="default",
            study_instance_uid=identity.study_instance_uid,
            series_instance_uid=identity.series_instance_uid,
            sop_instance_uid=identity.sop_instance_uid,
            sha256="0" * 64,
            transfer_syntax="1.2.840.10008.1.2.2",
            target_transfer_syntax=EXPLICIT,
            reason="big-endian",
        ),
        s3.archive,
    )
    assert isinstance(event, InstanceConverted), event
    assert s3.archive.stat(event.rendition_path) is not None
    assert parts(s3.get(f"{identity.subject}/frames/1", FRAMES))[0][1] == on_the_fly
