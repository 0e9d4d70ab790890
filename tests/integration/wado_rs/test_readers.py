"""Other people's readers, and every sample."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import (
    generate_uid,
)
from werkzeug.serving import make_server

from pacsless.identity import InstanceIdentity
from tests.dicom_files import SAMPLES
from tests.instances import store_bytes
from tests.wado import FRAMES, Pacs, document, uris


@pytest.fixture
def served(pacs: Pacs) -> Iterator[tuple[Pacs, DICOMwebClient]]:
    """The function behind a real socket, and a client by other people."""
    server = make_server("127.0.0.1", 0, pacs.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pacs, DICOMwebClient(f"http://127.0.0.1:{server.port}")
    finally:
        server.shutdown()
        thread.join(30)


def test_dicomweb_client_reads_us(served: tuple[Pacs, DICOMwebClient]) -> None:
    pacs, client = served
    identity, content = pacs.put("CT_small.dcm")
    j2k, _ = pacs.put("JPEG2000.dcm")
    study, series, sop = (
        identity.study_instance_uid,
        identity.series_instance_uid,
        identity.sop_instance_uid,
    )
    original = pydicom.dcmread(io.BytesIO(content))
    assert client.retrieve_instance(study, series, sop) == original
    assert client.retrieve_study(study) == [original]
    assert client.retrieve_series(study, series) == [original]
    [entry] = client.retrieve_series_metadata(study, series)
    assert pydicom.Dataset.from_json(entry).PatientName == original.PatientName
    assert client.retrieve_instance_metadata(study, series, sop) == entry
    assert client.retrieve_instance_frames(
        study, series, sop, [1], media_types=("application/octet-stream",)
    ) == [original.PixelData]
    [codestream] = client.retrieve_instance_frames(
        j2k.study_instance_uid,
        j2k.series_instance_uid,
        j2k.sop_instance_uid,
        [1],
        media_types=(("image/jp2", "1.2.840.10008.1.2.4.91"),),
    )
    assert codestream.startswith(b"\xff\x4f\xff\x51")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no sample files beside the repository")
@pytest.mark.parametrize(
    "folder", ["transfer-syntaxes", "multiframe", "wsi", "seg-pm-sr", "documents", "video", "odd"]
)
def test_every_sample_is_served(pacs: Pacs, folder: str) -> None:
    """No request for any part of any sample ends in a fault of ours."""
    for path in sorted((SAMPLES / folder).rglob("*.dcm")):
        # no_meta.dcm begins with a stray byte: it is not DICOM.
        if path.stat().st_size > 4 << 20 or path.name == "no_meta.dcm":
            continue
        identity = InstanceIdentity("default", "1.2", "1.2.3", generate_uid())
        content = path.read_bytes()
        store_bytes(pacs.archive, identity, content, "")
        assert pacs.get(identity.subject, "application/dicom").data == content
        metadata = pacs.get(f"{identity.subject}/metadata")
        assert metadata.status_code == 200, (path, metadata.text)
        for uri in uris(document(metadata)):
            bulk = pacs.get(uri.removeprefix("/dicom-web/"), "*/*")
            cut_off = bulk.status_code == 500 and "ends inside" in bulk.text
            assert bulk.status_code == 200 or cut_off, (path, uri, bulk.text)
        frame = pacs.get(f"{identity.subject}/frames/1", FRAMES)
        assert frame.status_code in (200, 404, 406), (path, frame.text)
