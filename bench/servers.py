"""Who answers: Pacsless, Orthanc, and nginx with the answers as files."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import urllib3

from bench.gateway import version
from bench.measure import say
from bench.peers import Orthanc
from bench.receivers import NotStarted, Process, Profile, free_ports, listens
from bench.results import OURS
from bench.retrieve_rows import ORTHANC, STATIC, Resource, complaint
from bench.stored import Stored
from pacsless.burst.templates import Identifiers
from pacsless.bus import lag_reader
from pacsless.dicom import document
from pacsless.functions import load_functions
from pacsless.identity import study_metadata_key
from pacsless.send import Options, send_paths
from pacsless.stack import lifecycle
from pacsless.stack.parts import executable
from pacsless.stack.settings import LOOPBACK, StackSettings

_HTTP = urllib3.PoolManager(retries=False, timeout=180)
_PATIENCE = 300.0
_FLUSH = 1.2
"""Seconds after which nginx has written what it has logged."""


class Server(ABC):
    """What is read from.

    Parameters
    ----------
    profile
        What it is.
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.sizes: dict[str, int] = {}
        """Bytes of an answer with its head, by resource; of those it can answer."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """URL before a path."""

    @abstractmethod
    def start(self, stored: Mapping[str, Stored]) -> None:
        """Start it, and have it store everything."""

    def paths(self, resource: Resource) -> Sequence[str]:
        """Paths of a resource here."""
        return [f"/dicom-web{one}" for one in resource.paths]

    def settle(self) -> None:
        """Wait until it has done what it does after answering."""
        return

    @abstractmethod
    def stop(self) -> None:
        """End it and remove what it wrote."""

    def ask(self, resource: Resource, path: str) -> urllib3.BaseHTTPResponse:
        """Ask once, as clients will."""
        headers = dict(resource.headers)
        headers.setdefault("Accept-Encoding", "identity")
        return _HTTP.request("GET", self.origin + path, headers=headers, decode_content=False)

    def check(self, resource: Resource) -> str:
        """See that it answers with what is stored, and note how long an answer is.

        Returns
        -------
        str
            What is wrong, or nothing.
        """
        paths = self.paths(resource)
        for path in (paths[0], paths[-1]):
            answer = self.ask(resource, path)
            body = answer.data
            if answer.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            elif "Accept-Encoding" in resource.headers:
                return "the answer is not compressed"
            decoded = json.loads(body) if answer.status == 200 and resource.entries else None
            if wrong := complaint(resource, answer.status, body, decoded):
                return wrong
            head = sum(len(name) + len(value) + 4 for name, value in answer.headers.items())
            self.sizes[resource.key] = len(answer.data) + head + 20
        return ""


class Pacsless(Server):
    """The local stack, as ``make up`` starts it.

    Parameters
    ----------
    stack
        In a folder of its own.
    source
        The tree it comes from.
    """

    def __init__(self, stack: StackSettings, source: Path) -> None:
        how = "the local stack, every access logged to Kafka and into the warehouse"
        super().__init__(Profile(OURS, "Pacsless", version(source), how, ""))
        self.stack = stack
        self._open = ExitStack()
        self._read_lag: Callable[[], Mapping[str, Mapping[str, int]]] | None = None

    @property
    def origin(self) -> str:
        return self.stack.url

    def start(self, stored: Mapping[str, Stored]) -> None:
        lifecycle.up(self.stack)
        _send(self.profile.title, stored, self.stack.ports.scp_gateway)
        archive, tenant = self.stack.archive_root, self.stack.client().tenant

        def described() -> bool:
            return all(
                _entries(archive / study_metadata_key(tenant, one.path.rpartition("/")[2]))
                == len(one.instances)
                for one in stored.values()
            )

        _wait("its metadata is not there", described)
        self.settle()

    def settle(self) -> None:
        """Wait until every event is handled, those about accesses too."""
        seen: list[tuple[float, int]] = []

        def quiet() -> bool:
            size, shipped = self._access_log()
            if not seen or seen[-1][1] != size:
                seen.append((time.monotonic(), size))
            written = time.monotonic() - seen[-1][0] > _FLUSH
            return written and shipped and not any(map(sum, self._lag()))

        _wait("its events are not handled", quiet)

    def _lag(self) -> Iterator[Iterable[int]]:
        subscriptions = {
            name: list(one.topics) for name, one in load_functions().items() if one.kind == "event"
        }
        if self._read_lag is None:
            self._read_lag = self._open.enter_context(
                lag_reader(self.stack.client(), subscriptions)
            )
        return (topics.values() for topics in self._read_lag().values())

    def _access_log(self) -> tuple[int, bool]:
        """Bytes of the log, and whether all of them are events."""
        try:
            status = self.stack.access_log.stat()
        except FileNotFoundError:
            return 0, True
        position = self.stack.data("access-log") / "position.json"
        known = json.loads(position.read_text()) if position.exists() else {}
        there = known.get(f"{status.st_dev}:{status.st_ino}", 0)
        return status.st_size, there == status.st_size

    def stop(self) -> None:
        self._open.close()
        lifecycle.down(self.stack, wipe=True)


class OrthancDicomweb(Server):
    """Orthanc with its DICOMweb plugin.

    Parameters
    ----------
    orthanc
        One that is not started.
    """

    def __init__(self, orthanc: Orthanc) -> None:
        how = (
            "DICOMweb plugin, SQLite, 50 HTTP threads, TCP_NODELAY, keep-alive, compression of "
            "answers on"
        )
        super().__init__(Profile(ORTHANC, "Orthanc", orthanc.profile.version, how, ""))
        self._orthanc = orthanc
        self._stored: list[Stored] = []
        orthanc.more = {
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            "HttpCompressionEnabled": True,
            "HttpThreadsCount": 50,
            "KeepAliveTimeout": 60,
            "SyncStorageArea": False,
        }

    @property
    def origin(self) -> str:
        return f"http://{LOOPBACK}:{self._orthanc.http_port}"

    def paths(self, resource: Resource) -> Sequence[str]:
        if resource.key != "instance":
            return super().paths(resource)
        # DICOMweb sends instances as multipart only; this is its quickest way of all.
        files = {path: one for study in self._stored for path, one in study.by_path()}
        return [f"/instances/{_orthanc_id(files[path])}/file" for path in resource.paths]

    def start(self, stored: Mapping[str, Stored]) -> None:
        self._stored = list(stored.values())
        self._orthanc.start()
        _send(self.profile.title, stored, self._orthanc.port)

    def stop(self) -> None:
        self._orthanc.remove()


def _orthanc_id(one: Identifiers) -> str:
    """The name Orthanc gives an instance."""
    said = "|".join(
        (one.patient_id, one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
    )
    digest = hashlib.sha1(said.encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


_NGINX = """
daemon off;
user root;
worker_processes auto;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port};
        root {folder}/files;
        gzip_static on;
        gzip_vary on;
    }}
}}
"""


class StaticNginx(Server):
    """nginx with another server's answers as files: what nobody who makes answers outdoes.

    Parameters
    ----------
    folder
        Its own.
    source
        Whose answers they are; it must run when this one starts.
    found
        What is read.
    """

    def __init__(self, folder: Path, source: Server, found: Sequence[Resource]) -> None:
        program = executable("nginx", "nginx")
        said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
        how = "the answers of Pacsless as files, sendfile, gzip_static, no access log"
        super().__init__(Profile(STATIC, "nginx", said.rpartition("/")[2].strip(), how, ""))
        self._program, self._folder, self._source = program, folder, source
        self._found = found
        (self._port,) = free_ports(1)
        folder.mkdir(parents=True)
        self._process = Process("nginx", folder / "log")

    @property
    def origin(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def paths(self, resource: Resource) -> Sequence[str]:
        key = resource.key.removesuffix("-gzip")
        return [f"/{key}/{number:04}" for number in range(len(resource.paths))]

    def start(self, stored: Mapping[str, Stored]) -> None:
        say(f"{self.profile.title}: the answers are saved")
        for resource in self._found:
            suffix = ".gz" if "Accept-Encoding" in resource.headers else ""
            there = self._source.paths(resource)
            for path, name in zip(there, self.paths(resource), strict=True):
                file = Path(f"{self._folder}/files{name}{suffix}")
                file.parent.mkdir(parents=True, exist_ok=True)
                answer = self._source.ask(resource, path)
                if answer.status == 200:
                    file.write_bytes(answer.data)
        text = _NGINX.format(folder=self._folder, host=LOOPBACK, port=self._port)
        (self._folder / "nginx.conf").write_text(text)
        self._process.start(
            [self._program, "-e", "stderr", "-p", str(self._folder), "-c",
             str(self._folder / "nginx.conf")],
            lambda: listens(self._port),
        )  # fmt: skip

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _send(title: str, stored: Mapping[str, Stored], port: int) -> None:
    files = [file for one in stored.values() for file in one.files]
    say(f"{title}: {len(files):,} instances are sent")
    summary = send_paths(files, Options(port=port, jobs=4))
    if len(summary.files) != len(files) or summary.failed:
        raise NotStarted(f"{title} has not stored everything")


def _entries(path: Path) -> int | None:
    try:
        return document.count(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _wait(complaint: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise NotStarted(f"Pacsless: {complaint}")
        time.sleep(0.2)
