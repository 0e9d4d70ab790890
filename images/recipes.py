"""What is in each image, and how it starts: the one place that says so.

The Dockerfiles say the same again for Docker; tests/contract/test_images.py compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from images.packages import (
    JAVA_WITHOUT,
    POSTGRES,
    POSTGRES_WITHOUT,
    PYTHON,
    REDIS,
    SHELL,
)
from pacsless import __version__
from pacsless.functions import load_functions

VERSION: Final = __version__
REGISTRY: Final = "dev.local/pacsless"
"""Before the name, unless another is given. Kubernetes asks no registry of that name."""

USER: Final = "10001:10001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An image."""

    name: str
    summary: str
    kind: str
    """``"python"`` or ``"shell"``: which layer is below."""
    entry_point: tuple[str, ...]
    environment: Mapping[str, str]
    ports: tuple[int, ...] = ()
    packages: tuple[str, ...] = ()
    """Debian's, beside those of its kind."""
    without: tuple[str, ...] = ()
    """What of them is left out."""
    requirements: str = ""
    """File of locked Python distributions."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Where what of the repository is: a file, a folder, or a pattern below a folder."""
    folders: tuple[str, ...] = ()
    """That the user may write into, if the root may be written to at all."""
    jars: bool = False
    """Whether Kafka's are in it, at /opt/kafka/lib."""
    dockerfile: str = ""
    folder: str = "/app"
    """Where it starts."""
    user: str = USER
    stop_signal: str = ""
    licences: str = "Apache-2.0"


_ANY: Final = {
    "HOME": "/tmp",  # noqa: S108 -- the one place that can be written to
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/usr/sbin",
}
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 -- a pod's own address
_SOURCES: Final = {"pacsless": "app/pacsless"}


def _python(path: str = "/app", **more: str) -> dict[str, str]:
    return {
        **_ANY,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def _function(name: str, summary: str) -> Recipe:
    return Recipe(
        name=name.replace("_", "-"),
        summary=summary,
        kind=PYTHON,
        entry_point=("python3.11", "-m", "pacsless.serve"),
        environment=_python(
            FUNCTION_TARGET=name,
            FUNCTION_SOURCE=f"/app/functions/{name}/main.py",
            HOST=_EVERYWHERE,
            PORT="8080",
        ),
        ports=(8080,),
        requirements=f"{name}.txt",
        files={**_SOURCES, f"functions/{name}": f"app/functions/{name}"},
        dockerfile="functions/Dockerfile",
    )


def _others() -> list[Recipe]:
    return [
        Recipe(
            name="scp-gateway",
            summary="The Storage SCP of Pacsless: C-STORE in, CloudEvents out.",
            kind=PYTHON,
            entry_point=("python3.11", "-m", "scp_gateway"),
            environment=_python(
                "/app:/app/scp-gateway",
                PACSLESS_ARCHIVE="file:///data/archive",
                PACSLESS_GATEWAY_HOST=_EVERYWHERE,
                PACSLESS_SPOOL="/data/spool",
            ),
            ports=(11112, 8081),
            requirements="scp-gateway.txt",
            files={**_SOURCES, "scp-gateway": "app/scp-gateway"},
            folders=("data",),
            dockerfile="scp-gateway/Dockerfile",
        ),
        Recipe(
            name="pacsless",
            summary="The command pacsless: migrations, topics, checks, timers, repairs, load.",
            kind=PYTHON,
            entry_point=("python3.11", "-m", "pacsless"),
            environment=_python(),
            requirements="pacsless.txt",
            files={
                **_SOURCES,
                # Which functions there are, without their code.
                "functions/*/pyproject.toml": "app/functions",
                "schemas": "app/schemas",
            },
            dockerfile="images/pacsless/Dockerfile",
        ),
        Recipe(
            name="warehouse",
            summary="A Doris-compatible subset on DuckDB, for trials.",
            kind=PYTHON,
            entry_point=(
                "python3.11",
                "-m",
                "pacsless",
                "warehouse",
                "--data",
                "/data",
                "--host",
                _EVERYWHERE,
            ),
            environment=_python(),
            ports=(8030, 8040, 9030),
            packages=("tzdata",),
            requirements="warehouse.txt",
            files=_SOURCES,
            folders=("data",),
            dockerfile="images/warehouse/Dockerfile",
        ),
        Recipe(
            name="nginx",
            summary="nginx in front of the functions, with the viewer.",
            kind=SHELL,
            entry_point=("/usr/local/bin/start",),
            environment={
                **_ANY,
                "ACCESS_LOG": "/var/log/pacsless/access.log",
                "ARCHIVE_ROOT": "/data/archive",
                # Asked by nobody while AUTH_REQUEST is off.
                "AUTHORIZE": "127.0.0.1:9",
                "AUTH_REQUEST": "off",
                "CAPABILITIES": "/usr/share/pacsless/dicomweb",
                "DEFAULT_TENANT": "default",
                "DELETE": "off",
                "ERROR_LOG": "stderr",
                "LISTEN": "0.0.0.0:8080",
                "NGINX_USER": "pacsless",
                "OAUTH2_CLIENT": "",
                "OAUTH2_ISSUER": "",
                "OAUTH2_SCOPES": "",
                "STATE_DIR": "/tmp/nginx",  # noqa: S108
                "VIEWER_ROOT": "/usr/share/pacsless/viewer",
            },
            ports=(8080,),
            packages=("nginx", "nginx-common"),
            without=("etc/nginx", "usr/share/nginx", "var/www", "usr/share/vim"),
            files={
                "charts/pacsless/files/nginx.conf.template": "etc/pacsless/nginx.conf.template",
                "images/nginx/start": "usr/local/bin/start",
                "schemas/dicomweb": "usr/share/pacsless/dicomweb",
                "viewer/dist": "usr/share/pacsless/viewer",
            },
            folders=("data", "var/log/pacsless"),
            dockerfile="images/nginx/Dockerfile",
            folder="/",
            stop_signal="SIGQUIT",
            licences="Apache-2.0 AND BSD-2-Clause AND MIT",
        ),
        Recipe(
            name="kafka",
            summary="One Kafka broker, for trials.",
            kind=SHELL,
            entry_point=("/usr/local/bin/start",),
            environment={**_ANY, "PACSLESS_KAFKA_ADVERTISED": ""},
            ports=(9092,),
            packages=("libstdc++6", "openjdk-17-jre-headless"),
            # What is for pictures, sound, smart cards and certificates of its own.
            without=JAVA_WITHOUT,
            files={
                "images/kafka/start": "usr/local/bin/start",
                "images/kafka/server.properties": "opt/kafka/server.properties",
                "images/kafka/log4j2.xml": "opt/kafka/log4j2.xml",
            },
            folders=("data",),
            jars=True,
            dockerfile="images/kafka/Dockerfile",
            folder="/",
            licences="Apache-2.0 AND GPL-2.0-only WITH Classpath-exception-2.0",
        ),
        Recipe(
            name="postgres",
            summary="PostgreSQL with the database pacsless, for trials.",
            kind=SHELL,
            entry_point=("/usr/local/bin/start",),
            environment=_ANY,
            ports=(5432,),
            packages=POSTGRES,
            without=POSTGRES_WITHOUT,
            files={"images/postgres/start": "usr/local/bin/start"},
            folders=("data",),
            dockerfile="images/postgres/Dockerfile",
            folder="/",
            # SIGTERM would wait for clients to leave.
            stop_signal="SIGINT",
            licences="Apache-2.0 AND PostgreSQL",
        ),
        Recipe(
            name="redis",
            summary="Redis as a cache that keeps nothing, for trials.",
            kind=SHELL,
            entry_point=("/usr/local/bin/start",),
            environment={**_ANY, "PACSLESS_REDIS_MAXMEMORY": "128mb"},
            ports=(6379,),
            packages=REDIS,
            files={"images/redis/start": "usr/local/bin/start"},
            without=("etc/redis", "usr/bin/redis-benchmark"),
            dockerfile="images/redis/Dockerfile",
            folder="/",
            licences="Apache-2.0 AND BSD-3-Clause",
        ),
    ]


def recipes() -> dict[str, Recipe]:
    """Return all images by name: one a function, and the others."""
    functions = [_function(name, one.summary) for name, one in load_functions().items()]
    return {one.name: one for one in (*functions, *_others())}


FUNCTION_REQUIREMENTS: Final = tuple(f"{name}.txt" for name in load_functions())
"""What the images of functions share of these is one layer."""
