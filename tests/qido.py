"""qido_rs for tests: the function with an index behind it, and what is in its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from werkzeug.test import TestResponse

from functions.extract_tags.index import index
from pacsless.archive.files import FileArchive
from pacsless.postgres import Database
from pacsless.settings import Settings
from pacsless.web import TENANT_HEADER
from tests.instances import new_tenant, store
from tests.services import app_of


class Site:
    """A function with an index behind it."""

    def __init__(self, archive: FileArchive, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings)
        self.app = app_of("qido_rs")
        self.tenant, self.neighbour = new_tenant(), new_tenant()

    def add(self, *datasets: Dataset, tenant: str = "") -> None:
        events = [store(self.archive, tenant or self.tenant, one) for one in datasets]
        index(events, self.archive, self.database, self.settings)

    def get(self, path: str, tenant: str = "", **headers: str) -> TestResponse:
        headers = {TENANT_HEADER: tenant or self.tenant, **headers}
        return self.app.test_client().get(
            path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def found(self, path: str, tenant: str = "") -> list[dict[str, Any]]:
        answer = self.get(path, tenant)
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "application/dicom+json"
        return json.loads(answer.text)  # type: ignore[no-any-return]


def request(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def value(answer: dict[str, Any], tag: str) -> Any:
    return answer[tag]["Value"][0]


def uids(answers: Sequence[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [value(one, tag) for one in answers]
