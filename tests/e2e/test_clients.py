"""Clients of others on what the stack serves, each with a reader of its own.

Python's dicomweb-client and DCMTK are in test_roundtrip.py, Cornerstone3D in test_viewer.py.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomtrolley.core import Downloader, Query
from dicomtrolley.qido_rs import QidoRS
from dicomtrolley.trolley import Trolley
from dicomtrolley.wado_rs import WadoRS
from dicomtrolley.wado_uri import WadoURI
from PIL import Image
from pydicom.uid import generate_uid

from tests.dicom_files import BUNDLED
from tests.e2e.test_viewer import await_study, drive
from tests.gateway import data_set
from tests.instances import encode, make_dataset


def files_of(*names: str) -> list[bytes]:
    """pydicom's files as one study nobody has, a series each."""
    study, found = generate_uid(), []
    for name in names:
        ds = pydicom.dcmread(BUNDLED[name])
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, generate_uid()
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.save_as(file := io.BytesIO())
        found.append(file.getvalue())
    return found


@pytest.fixture(scope="module")
def study(stack: Any) -> dict[str, pydicom.Dataset]:
    """A study of several transfer syntaxes, by SOP Instance UID."""
    files = files_of("CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "test-SR.dcm")
    for file in files:
        answer = requests.post(
            f"{stack.url}/dicom-web/studies",
            data=file,
            headers={"Content-Type": "application/dicom"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
    found = [pydicom.dcmread(io.BytesIO(file)) for file in files]
    await_study(stack, found[0].StudyInstanceUID, len(found))
    return {one.SOPInstanceUID: one for one in found}


@pytest.mark.parametrize(("downloader", "root"), [(WadoRS, "/dicom-web"), (WadoURI, "/wado")])
def test_dicomtrolley_downloads_a_study(
    stack: Any, study: dict[str, pydicom.Dataset], downloader: type[Downloader], root: str
) -> None:
    session = requests.Session()
    trolley = Trolley(
        downloader=downloader(session, f"{stack.url}{root}"),
        searcher=QidoRS(session, f"{stack.url}/dicom-web"),
    )
    uid = next(iter(study.values())).StudyInstanceUID
    found = trolley.find_study(Query(StudyInstanceUID=uid))
    datasets = list(trolley.fetch_all_datasets([found]))
    assert len(datasets) == len(study)
    for one in datasets:
        sent = study[one.SOPInstanceUID]
        assert one == sent
        assert one.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID


def test_dicomweb_client_of_npm_in_chromium(stack: Any) -> None:
    rows, columns, frames = 16, 24, 3
    pixels = np.arange(frames * rows * columns, dtype="<u2") * 50
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    curve = bytes(range(256)) * 8
    datasets = [
        make_dataset(
            pixels.tobytes(),
            **uids,
            InstanceNumber=number,
            Rows=rows,
            Columns=columns,
            NumberOfFrames=frames,
            EncapsulatedDocument=curve,
        )
        for number in (1, 2)
    ]
    files = {one.SOPInstanceUID: encode(one) for one in datasets}
    first = datasets[0]
    seen = drive(
        "dicomweb-client.mjs",
        stack,
        wanted={
            "files": [base64.b64encode(one).decode() for one in files.values()],
            "study": first.StudyInstanceUID,
            "series": first.SeriesInstanceUID,
            "instance": first.SOPInstanceUID,
            "frames": [1, frames],
            "bulk": "00420011",
        },
    )

    stored = pydicom.Dataset.from_json(seen["outcome"])
    assert {one.ReferencedSOPInstanceUID for one in stored.ReferencedSOPSequence} == files.keys()
    for level, tag, wanted in (
        ("studies", "0020000D", {first.StudyInstanceUID}),
        ("series", "0020000E", {first.SeriesInstanceUID}),
        ("instances", "00080018", files.keys()),
    ):
        assert {one[tag]["Value"][0] for one in seen["searched"][level]} == wanted, level
    for level, count in (("study", 2), ("series", 2), ("instance", 1)):
        assert len(seen["metadata"][level]) == count
        for one in seen["metadata"][level]:
            assert one["00280008"]["Value"] == [frames]

    returned = {"instance": [seen["retrieved"]["instance"]]}
    for level in ("study", "series"):
        returned[level] = seen["retrieved"][level]
        assert len(returned[level]) == 2
    for one in (base64.b64decode(each) for level in returned.values() for each in level):
        uid = pydicom.dcmread(io.BytesIO(one)).SOPInstanceUID
        assert data_set(one) == data_set(files[uid])

    size = rows * columns * 2
    whole = pixels.tobytes()
    assert [base64.b64decode(one) for one in seen["frames"]] == [whole[:size], whole[-size:]]
    assert [base64.b64decode(one) for one in seen["bulk"]] == [curve]
    assert len(seen["rendered"]) == 2
    for one in seen["rendered"]:
        picture = Image.open(io.BytesIO(base64.b64decode(one)))
        assert (picture.format, picture.size) == ("PNG", (columns, rows))
        assert len(np.unique(np.asarray(picture))) > 16
