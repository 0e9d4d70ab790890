"""What a good token opens, and whose it is: through nginx, to the real functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.eventually import eventually
from tests.instances import make_dataset
from tests.integration.oauth2.conftest import ROUTES, TENANTS, Site, values
from tests.nginx import HTTP, run, write_files
from tests.ports import free_ports
from tests.tokens import jwk, rsa_key

ROOTS = ("/dicom-web", "/tenants/north/dicom-web")


@pytest.mark.parametrize("method", ["as it is", "HEAD"])
def test_a_good_token_opens_every_route(site: Site, method: str) -> None:
    good = site.good(scope="dicom.read dicom.store dicom.delete")
    for own, path, function in ROUTES:
        asked = "HEAD" if (method, own) == ("HEAD", "GET") else own
        # There is no such study, and nothing in the body: what matters is that the function looked.
        opened = (400, 415) if own == "POST" else (200, 204, 404)
        if own == "DELETE":
            opened = (404,)
        opened += (400,) if path == "/wado" else ()  # it names its instance in the query
        opened += (200,) if path == "/orthanc/tools/lookup" else ()  # of an empty Patient ID
        for root in ROOTS:
            answer = site.ask(good, root + path, asked)
            assert answer.status in opened, (asked, root + path, answer.data)
            assert "WWW-Authenticate" not in answer.headers
        if function != "nginx":
            past = site.ask(good, f"http://{site.functions[function]}{path}", asked)
            assert past.status in opened


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_a_client_reads_its_tenant(site: Site, key: str) -> None:
    algorithm = {"rsa": "RS256", "ec": "ES256"}[key]
    secret = {"rsa": site.issuer.key, "ec": site.issuer.other}[key]
    token = site.issuer.token(key=secret, algorithm=algorithm, header={"kid": key, "typ": "at+jwt"})
    session = create_session()
    session.headers["Authorization"] = f"bearer {token}"
    client = DICOMwebClient(f"{site.front.url}/dicom-web", session=session)
    study, series, sop = site.stored["north"].uids
    dataset = client.retrieve_instance(study, series, sop)
    assert dataset.SOPInstanceUID == sop
    (metadata,) = client.retrieve_series_metadata(study, series)
    assert metadata["00080018"]["Value"] == [sop]
    assert client.search_for_studies() == []  # nobody has indexed it


def test_the_token_names_the_tenant(site: Site) -> None:
    for mine, other in (TENANTS, TENANTS[::-1]):
        good = site.good(tenant=mine)
        own, others = (f"/{site.stored[one].subject}" for one in (mine, other))
        for root in ("/dicom-web", f"/tenants/{mine}/dicom-web"):
            assert site.ask(good, root + own).status == 200
            absent = site.ask(good, f"{root}{others}")
            nothing = site.ask(good, f"{root}/studies/1.2/series/1.3/instances/1.4")
            assert (absent.status, absent.data) == (nothing.status, nothing.data)
            assert absent.status == 404
        told = [
            site.ask(good, f"/tenants/{one}/dicom-web{own}") for one in (other, "nobody", "main")
        ]
        assert {one.status for one in told} == {403}
        assert len({one.data for one in told}) == 1, "which tenants there are is nobody's business"
        spoofed = site.ask(good, f"/dicom-web{others}", X_Pacsless_Tenant=other)
        assert spoofed.status == 404
        function = f"http://{site.functions['wado_rs']}"
        assert site.ask(good, function + own).status == 200
        assert site.ask(good, function + others).status == 404
        assert site.ask(good, function + others, X_Pacsless_Tenant=other).status == 403


def test_the_log_says_who_it_was(site: Site) -> None:
    path = f"/dicom-web/{site.stored['north'].subject}"
    answers = [
        site.ask(site.good(sub="ann@example.org"), path, X_Pacsless_User="eve"),
        site.ask(site.good(sub="ann", tenant="south"), "/dicom-web/", "OPTIONS"),
        site.ask(site.good(sub="ann"), "/tenants/south/dicom-web/studies"),
        site.ask(None, "/tenants/north/dicom-web/studies", X_Pacsless_User="eve"),
        site.ask(None, "/dicom-web/studies"),
    ]
    found = [(line["status"], line["tenant"], line["user"]) for line in site.front.logged(*answers)]
    assert found == [
        (200, "north", "ann@example.org"),
        (200, "south", "ann"),
        (403, "south", ""),
        (401, "north", ""),
        (401, "main", ""),
    ]


def test_the_resource_tells_who_issues_tokens(site: Site) -> None:
    """RFC 9728 §3.1: the well-known part stands before the resource's path."""
    for root in ROOTS:
        refused = site.ask(None, f"{root}/studies")
        url = refused.headers["WWW-Authenticate"].partition('resource_metadata="')[2].rstrip('"')
        assert url == f"{site.front.url}/.well-known/oauth-protected-resource{root}"
        answer = site.ask(None, url)
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == {
            "resource": site.front.url + root,
            "authorization_servers": [site.issuer.url],
            "bearer_methods_supported": ["header"],
        }
    assert site.ask(None, "/.well-known/oauth-protected-resource").status == 404


def test_a_strange_host_is_not_repeated(site: Site) -> None:
    answer = site.ask(None, f"http://{site.functions['wado_rs']}/studies/1.2", Host='h", x="evil')
    assert answer.status == 401
    assert "evil" not in answer.headers["WWW-Authenticate"]


def test_the_viewer_is_public_and_knows_where_to_sign_in(site: Site) -> None:
    for path in ("/", "/viewer?StudyInstanceUIDs=1.2", "/app-config.js", "/pixels/", "/healthz"):
        assert site.ask(None, path).status == 200, path
    page = site.ask(None, "/")
    assert (
        f"connect-src 'self' blob: data: {site.issuer.url};"
        in (page.headers["Content-Security-Policy"])
    )
    script = site.ask(None, "/oidc.js").data.decode()
    told = json.loads(script.removeprefix("window.oidc = ").removesuffix(";\n"))
    assert told == {
        "authority": site.issuer.url,
        "client_id": "pacsless-viewer",
        "scope": "openid dicom.read dicom.store",
    }


def test_nothing_behind_nginx_is_reached_past_the_check(site: Site) -> None:
    for path in (
        "/authorize", "/internal/authorize", "/dicom-web/authorize", "/dicom-web/metrics",
        "/dicom-web/healthz", f"/internal/archive/{site.stored['north'].key}",
        "/internal/dicomweb/studies", "/internal/openapi/json", "/internal/capabilities/wadl",
    ):  # fmt: skip
        answer = site.ask(None, path)
        # Any other address is a page of the viewer.
        assert answer.status in (401, 404) or b"<title>viewer</title>" in answer.data, path


def test_a_new_key_is_known_as_soon_as_it_signs(site: Site) -> None:
    fresh = rsa_key()
    site.issuer.keys.append(jwk("fresh", fresh, alg="RS256"))
    path = f"/dicom-web/{site.stored['north'].subject}"
    eventually(lambda: site.ask(site.good(key=fresh, header={"kid": "fresh"}), path).status == 200)


def test_what_is_stored_is_the_tokens_tenants(site: Site) -> None:
    for tenant, root in (("north", "/dicom-web"), ("south", "/tenants/south/dicom-web")):
        dataset = make_dataset(pixels=bytes(1 << 20))
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        session = create_session()
        session.headers["Authorization"] = site.good(tenant=tenant, scope="dicom.store")
        client = DICOMwebClient(site.front.url + root, session=session)
        stored = client.store_instances([dataset])
        assert len(stored.ReferencedSOPSequence) == 1
        study, series, sop = (
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID,
        )  # fmt: skip
        (file,) = site.folder.rglob(f"{sop}.dcm")
        assert file.relative_to(site.folder / "archive").parts[0] == tenant
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{sop}"
        for reader in TENANTS:
            answer = site.ask(site.good(tenant=reader, scope="dicom.read"), path)
            assert answer.status == (200 if reader == tenant else 404)


def test_a_body_is_not_taken_for_the_next_request_to_check(site: Site) -> None:
    """The check has a connection that is kept, and must not be told of bodies it does not get."""
    path = f"/dicom-web/{site.stored['north'].subject}"
    for size in (1, 100, 500, 1000, 100_000) * 4:
        for body in (bytes(size), iter([bytes(size), b"x"])):
            headers = {"Content-Type": "application/dicom", "Authorization": site.good()}
            answer = HTTP.request(
                "POST", f"{site.front.url}/dicom-web/studies", headers=headers, body=body
            )
            assert answer.status == 409, answer.data
            assert site.ask(site.good(), path).status == 200
            assert site.ask(None, path).status == 401


def test_who_cannot_be_checked_is_told_to_come_again(site: Site, tmp_path: Path) -> None:
    write_files(tmp_path)
    (nowhere,) = free_ports(1)
    told = values(site.issuer, site.functions) | {"AUTHORIZE": f"127.0.0.1:{nowhere}"}
    process, front = run(tmp_path, told)
    try:
        for method, path, _ in ROUTES:
            answer = front.get(f"/dicom-web{path}", method, Authorization=site.good())
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), path
        (line,) = front.logged(answer)
        assert (line["status"], line["tenant"], line["user"]) == (503, "main", "")
    finally:
        process.terminate()
        process.wait(20)
