"""A stack that asks for access tokens, a real Keycloak that issues them, clients that sign in."""

from __future__ import annotations

from collections.abc import Iterator

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
from tests.looks import assert_looks_like, assert_reads, shown
from tests.services import require
from tests.viewer_studies import make_document, make_pdf, new_patient

# Keycloak and a stack start before the first of them.
pytestmark = [pytest.mark.keycloak, pytest.mark.timeout(1200)]
HTTP = urllib3.PoolManager(retries=False, timeout=120)
ANN = ("--user", "ann", "--password", "ann-password")


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


def client(stack: Stack, token: str) -> DICOMwebClient:
    session = create_session()
    session.headers["Authorization"] = f"Bearer {token}"
    return DICOMwebClient(f"{stack.url}/dicom-web", session=session)


def test_dicomweb_client_with_a_token(
    stack: Stack, provider: Keycloak, series: list[pydicom.Dataset]
) -> None:
    study, first = series[0].StudyInstanceUID, series[0]
    ann, bob = (client(stack, provider.token(user=user)) for user in ("ann", "bob"))
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


def test_ohif_signs_in(stack: Stack, provider: Keycloak, series: list[pydicom.Dataset]) -> None:
    patient, study = str(series[0].PatientID), str(series[0].StudyInstanceUID)
    listed = drive("study-list.mjs", stack, "--patient", patient, *ANN, provider=provider.url)
    assert listed["askedAt"] == provider.url
    [[row]] = listed["pages"]
    assert f"{patient}, CT" in row
    for mode in ("viewer", "segmentation"):
        seen = drive(
            "ohif.mjs", stack, "--study", study, "--mode", mode, *ANN, provider=provider.url
        )
        assert seen["askedAt"] == provider.url
        assert_looks_like(seen["looks"], shown(*series))


def test_ohif_reads_a_pdf_with_its_token(stack: Stack, provider: Keycloak) -> None:
    """Chromium's reader has none: OHIF gets the document, and gives it to the reader."""
    pdf = make_pdf("Report", 200_000)
    report = make_document(new_patient("Document"), pdf)
    client(stack, provider.token(scope="dicom.store")).store_instances([report])
    await_study(stack, report.StudyInstanceUID, 1, provider.token())
    [seen] = drive(
        "ohif.mjs", stack, "--study", report.StudyInstanceUID, *ANN, provider=provider.url
    )["looks"]
    assert seen["address"].startswith("blob:")
    assert_reads(seen, pdf)
