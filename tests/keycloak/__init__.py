"""A real Keycloak: one realm, clients for the viewer and for programs, users of tenants."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from pacsless.stack import maven
from tests.eventually import eventually
from tests.ports import free_ports
from tests.services import REPOSITORY, running

_HERE = Path(__file__).parent
# Making a realm takes a busy machine a minute.
_HTTP = urllib3.PoolManager(retries=False, timeout=240)
# It serves one realm to one test.
_JAVA = "-XX:TieredStopAtLevel=1"


class Keycloak:
    """A running one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.issuer = f"{url}/realms/hospital"

    def import_realm(self, viewer: str) -> None:
        """Make the realm of ``realm.json``, whose viewer is at this origin."""
        realm = (_HERE / "realm.json").read_text().replace("VIEWER", viewer)
        signed = {"Authorization": f"Bearer {self.token_of_another_realm()}"}
        answer = _HTTP.request(
            "POST", f"{self.url}/admin/realms", body=realm,
            headers=signed | {"Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status == 201, answer.data

    def token(self, client: str = "program", scope: str = "dicom.read", user: str = "ann") -> str:
        """Get a user's access token, as a program does that was given the password."""
        asked = {
            "grant_type": "password", "client_id": client, "client_secret": f"{client}-secret",
            "username": user, "password": f"{user}-password", "scope": scope,
        }  # fmt: skip
        return self._token(self.issuer, asked)

    def token_of_another_realm(self) -> str:
        """Get one that the same Keycloak has issued for something else."""
        asked = {
            "grant_type": "password", "client_id": "admin-cli", "username": "admin",
            "password": "admin-password",
        }  # fmt: skip
        return self._token(f"{self.url}/realms/master", asked)

    def _token(self, issuer: str, asked: dict[str, str]) -> str:
        url = f"{issuer}/protocol/openid-connect/token"
        answer = _HTTP.request("POST", url, fields=asked, encode_multipart=False)
        assert answer.status == 200, answer.data
        token = answer.json()["access_token"]
        assert isinstance(token, str)
        return token


def fetch() -> Path:
    """Download the distribution, if that was not done yet."""
    cache = REPOSITORY / ".pacsless" / "cache" / "keycloak"
    (found,) = maven.fetched(cache, _HERE / "pom.xml", _HERE / "zip.sha256").glob("*.zip")
    return found


@contextmanager
def keycloak() -> Iterator[Keycloak]:
    """Run Keycloak."""
    archive, (port, management) = fetch(), free_ports(2)
    url = f"http://127.0.0.1:{port}"
    # Not pytest's own folder, of which some are kept: it is 200 MB.
    with tempfile.TemporaryDirectory(prefix="pacsless-keycloak-") as folder:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        (home,) = Path(folder).iterdir()
        command = [
            shutil.which("bash") or "bash", str(home / "bin" / "kc.sh"), "start-dev",
            "--db=dev-mem", "--http-host=127.0.0.1", f"--http-port={port}",
            f"--http-management-port={management}", "--cache=local",
        ]  # fmt: skip
        environ = os.environ | {
            "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m", "JAVA_OPTS_APPEND": _JAVA,
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": "admin-password",
        }  # fmt: skip
        log = Path(folder) / "log"
        with running(command, environ, log) as process:

            def ready() -> bool:
                if process.poll() is not None:
                    pytest.fail("Keycloak ended:\n" + log.read_text()[-4000:])
                try:
                    found = f"{url}/realms/master/.well-known/openid-configuration"
                    return _HTTP.request("GET", found, timeout=10).status == 200
                except urllib3.exceptions.HTTPError:
                    return False

            eventually(ready, within=400)
            yield Keycloak(url)
