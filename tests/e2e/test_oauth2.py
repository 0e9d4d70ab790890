"""A stack that asks for access tokens, a real Keycloak that issues them, clients that sign in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import urllib3
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session

from tests.e2e.conftest import Stack, temporary_stack
from tests.e2e.test_viewer import SLICES, await_study, drive, send_series
from tests.eventually import eventually
from tests.integration.oauth2.conftest import ROUTES
from tests.keycloak import Keycloak, keycloak
from tests.services import require

# Keycloak and a stack start before the first of them.
pytestmark = [pytest.mark.keycloak, pytest.mark.timeout(1200)]
HTTP = urllib3.PoolManager(retries=False, timeout=120)


@pytest.fixture(scope="module")
def provider() -> Iterator[Keycloak]:
    require("java", "mvn", "bash")
    with keycloak() as running:
        yield running


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, provider: Keycloak) -> Iterator[Stack]:
    with temporary_stack(
        request, {"PACSLESS_OAUTH2_ISSUER": provider.issuer, "PACSLESS_DELETE": "yes"}
    ) as running:
        provider.import_realm(running.url)
        yield running


@pytest.fixture(scope="module")
def series(
    stack: Stack, provider: Keycloak, tmp_path_factory: pytest.TempPathFactory
) -> list[pydicom.Dataset]:
    slices = send_series(stack, tmp_path_factory.mktemp("ct"))
    await_study(stack, slices[0].StudyInstanceUID, SLICES, provider.token())
    return slices


def statuses(stack: Stack, token: str | None, *, deleting: bool | None = None) -> set[int]:
    """What the routes answer: all of them, those that delete, or those that do not."""
    signed = {} if token is None else {"Authorization": f"Bearer {token}"}
    return {
        HTTP.request(method, f"{stack.url}/dicom-web{path}", headers=signed).status
        for method, path, _ in ROUTES
        if deleting is None or deleting == (method == "DELETE")
    }


def test_what_keycloak_issues_for_us_opens_every_route(
    stack: Stack, provider: Keycloak, series: list[pydicom.Dataset]
) -> None:
    assert statuses(stack, None) == {401}
    # Its audience is a client of Keycloak's own, its issuer another realm of the same server.
    assert statuses(stack, provider.token_of_another_realm()) == {401}
    assert statuses(stack, provider.token("other-audience")) == {401}
    assert statuses(stack, provider.token(user="eve")) == {403}, "she is of no tenant"
    assert statuses(stack, provider.token(scope="dicom.delete"), deleting=False) == {403}
    assert statuses(stack, provider.token(scope="dicom.delete"), deleting=True) == {404}
    assert statuses(stack, provider.token(scope="openid")) == {403}
    token = provider.token(scope="openid dicom.read dicom.store")
    head, payload, signature = token.split(".")
    assert statuses(stack, f"{head}.{payload}.{signature[::-1]}") == {401}
    # What is stored is empty, which is bad, but not forbidden.
    assert statuses(stack, token, deleting=False) <= {200, 204, 400, 404, 415}
    assert statuses(stack, token, deleting=True) == {403}
    logs = "".join(file.read_text() for file in stack.log_folder.iterdir() if file.is_file())
    assert payload not in logs and signature not in logs


def test_dicomweb_client_with_a_token(
    stack: Stack, provider: Keycloak, series: list[pydicom.Dataset]
) -> None:
    study, first = series[0].StudyInstanceUID, series[0]

    def client(user: str) -> DICOMwebClient:
        session = create_session()
        session.headers["Authorization"] = f"Bearer {provider.token(user=user)}"
        return DICOMwebClient(f"{stack.url}/dicom-web", session=session)

    ann, bob = client("ann"), client("bob")
    assert len(ann.retrieve_study_metadata(study)) == SLICES
    assert len(ann.search_for_instances(study)) == SLICES
    found = ann.retrieve_instance(study, first.SeriesInstanceUID, first.SOPInstanceUID)
    assert found.PixelData == first.PixelData
    assert bob.search_for_studies() == [], "he is of another tenant"
    names = "SELECT DISTINCT tenant_id, user_id FROM wado_access_log WHERE user_id <> ''"

    def logged() -> bool:
        import pymysql

        with pymysql.connect(**stack.mysql) as connection, connection.cursor() as cursor:
            cursor.execute(names)
            return {tenant for tenant, _ in cursor.fetchall()} >= {"default", "south"}

    eventually(logged)


def test_ohif_signs_in(
    stack: Stack, provider: Keycloak, series: list[pydicom.Dataset], tmp_path: Path
) -> None:
    family = str(series[0].PatientID)
    seen = drive(
        "ohif.mjs", stack, "--study", series[0].StudyInstanceUID, "--patient", family,
        "--user", "ann", "--password", "ann-password", "--list", str(tmp_path / "list.png"),
        provider=provider.url,
    )  # fmt: skip
    assert seen["askedAt"] == provider.url
    assert f"{family}, CT" in seen["rowText"]
    assert seen["greyLevels"] > 16
    assert seen["greyLevelsSegmentation"] > 16
