"""The function orthanc for tests: with an index behind it, and what is in its answers."""

from __future__ import annotations

import io
import json
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from werkzeug.test import TestResponse

from functions.extract_tags.index import index
from pacsless.archive.files import FileArchive
from pacsless.dicom.part10 import split_part10
from pacsless.identity import InstanceIdentity
from pacsless.postgres import Database
from pacsless.settings import Settings
from pacsless.web import TENANT_HEADER
from tests.dicom_files import BUNDLED
from tests.instances import new_tenant, store, store_bytes
from tests.services import app_of

FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "test-SR.dcm")

# Ids that Orthanc 1.12.7 gave to CT_small.dcm and what it is part of.
CT = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"
CT_SERIES = "93034833-163e42c3-bc9a428b-194620cf-2c5799e5"
CT_STUDY = "8a8cf898-ca27c490-d0c7058c-929d0581-2bbf104d"
CT_PATIENT = "fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718"
NOBODY = "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
"""Of an empty Patient ID."""


class Site:
    """The function with an index behind it."""

    def __init__(self, archive: FileArchive, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings)
        self.app = app_of("orthanc")
        self.tenant, self.neighbour = new_tenant(), new_tenant()

    def put(self, *names: str, tenant: str = "") -> None:
        """Store some of pydicom's files, byte for byte, and index them."""
        events = []
        for name in names:
            content = BUNDLED[name].read_bytes()
            ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
            identity = InstanceIdentity(tenant or self.tenant, *map(str, uids))
            syntax = split_part10(io.BytesIO(content)).transfer_syntax
            events.append(store_bytes(self.archive, identity, content, syntax))
        index(events, self.archive, self.database, self.settings)

    def add(self, *datasets: Dataset, tenant: str = "") -> None:
        """Store data sets and index them."""
        events = [store(self.archive, tenant or self.tenant, one) for one in datasets]
        index(events, self.archive, self.database, self.settings)

    def get(self, path: str, tenant: str = "", **headers: str) -> TestResponse:
        headers = {TENANT_HEADER: tenant or self.tenant, **headers}
        return self.app.test_client().get(f"/orthanc{path}", headers=headers)

    def post(self, path: str, body: object, tenant: str = "") -> TestResponse:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = {TENANT_HEADER: tenant or self.tenant}
        return self.app.test_client().post(f"/orthanc{path}", data=data, headers=headers)

    def json(self, path: str, tenant: str = "") -> Any:
        return told(self.get(path, tenant))

    def found(self, level: str, tenant: str = "", **asked: object) -> Any:
        body = {"Level": level, "Query": {}, **asked}
        return told(self.post("/tools/find", body, tenant))


def told(answer: TestResponse) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return json.loads(answer.data)
