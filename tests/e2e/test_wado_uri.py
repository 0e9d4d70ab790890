"""WADO-URI of what was sent by C-STORE, and the stack's own key for pseudonyms."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import urllib3
from pydicom.uid import generate_uid

from tests.dicom_files import BUNDLED
from tests.e2e.test_samples import send
from tests.eventually import eventually

HTTP = urllib3.PoolManager()


def ask(stack: Any, ds: pydicom.Dataset, **query: str) -> urllib3.BaseHTTPResponse:
    uids = {"studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID}
    fields = {"requestType": "WADO", **uids, "objectUID": ds.SOPInstanceUID, **query}
    return HTTP.request("GET", f"{stack.url}/wado", fields=fields)


def test_a_series_comes_back_under_other_names(stack: Any, tmp_path: Path) -> None:
    study, series = generate_uid(), generate_uid()
    sent = []
    for number in (1, 2):
        ds = pydicom.dcmread(BUNDLED["CT_small.dcm"])
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.PatientName, ds.InstanceNumber = "Anonymize^Me", number
        ds.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        sent.append(ds)
    summary = send(stack, *sorted(tmp_path.iterdir()))
    assert {one["status"] for one in summary["files"]} == {0}

    for ds in sent:
        eventually(lambda ds=ds: ask(stack, ds, contentType="image/jpeg").status == 200)
    found = []
    for ds in sent:
        answer = ask(stack, ds, contentType="application/dicom", anonymize="yes")
        assert answer.status == 200, answer.data
        assert b"Anonymize^Me" not in answer.data
        found.append(pydicom.dcmread(io.BytesIO(answer.data)))
        assert np.array_equal(found[-1].pixel_array, ds.pixel_array)
    first, second = found
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != series
    assert first.StudyInstanceUID == second.StudyInstanceUID != study
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.PatientID == second.PatientID != sent[0].PatientID
    key = stack.settings.pseudonym_key
    assert len(key.read_bytes()) >= 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
