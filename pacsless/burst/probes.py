"""Asking an archive how far it is, in one cheap question for everything of a kind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final

import urllib3

from pacsless.burst.templates import Identifiers
from pacsless.burst.timeline import Counts
from pacsless.burst.workers import WorkersCommand
from pacsless.errors import PacslessError, Unavailable
from pacsless.events import AccessesLogged
from pacsless.functions import load_functions
from pacsless.settings import Settings
from pacsless.stack.scrape import scaled_workers, scrape
from pacsless.stack.settings import LOOPBACK, StackSettings
from pacsless.warehouse_sql import WarehouseSql

OUTBOX_METRIC: Final = "pacsless_gateway_outbox_depth"
MOST_STUDIES: Final = 1000
"""That one search counts."""

_DOCUMENTS: Final = """
SELECT series_instance_uid, instances FROM metadata_document
WHERE tenant_id = :tenant AND study_instance_uid LIKE :studies AND series_instance_uid <> ''
"""
_IMAGES: Final = (
    "SELECT study_instance_uid, count(*) FROM dicom_image_meta"
    " WHERE tenant_id = %s AND study_instance_uid LIKE %s GROUP BY study_instance_uid"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where an archive can be asked; what is empty is not asked."""

    tenant: str = "default"
    dicomweb: str = ""
    """Its root, ``http://127.0.0.1:8080/dicom-web``."""
    kafka: tuple[str, ...] = ()
    postgres: str = field(default="", repr=False)
    sql: str = ""
    """``host:port`` of the warehouse's MySQL protocol."""
    doris: Settings = field(default_factory=Settings)
    """Has user, password and database for that."""
    gateways: tuple[str, ...] = ()
    """Metrics of each gateway."""
    stack: StackSettings | None = None
    """Whose functions are counted."""
    workers: tuple[str, ...] = ()
    """Command that counts them, where there is no such stack."""

    @classmethod
    def of_stack(cls, stack: StackSettings, tenant: str = "") -> Addresses:
        """Where a local stack can be asked everything."""
        client, ports = stack.client(), stack.ports
        root = "/dicom-web" if tenant in ("", client.tenant) else f"/tenants/{tenant}/dicom-web"
        return cls(
            tenant=tenant or client.tenant,
            dicomweb=f"{stack.url}{root}",
            kafka=client.kafka,
            postgres=client.postgres,
            sql=f"{LOOPBACK}:{ports.warehouse_mysql}",
            doris=client,
            gateways=(f"http://{LOOPBACK}:{ports.scp_gateway_admin}/metrics",),
            stack=stack,
        )


class Probes:
    """Questions about the instances of one run; every answer is None if there is none.

    Parameters
    ----------
    addresses
        Where to ask.
    patients
        What the Patient IDs of the run start with.
    studies
        What its Study Instance UIDs start with.
    """

    def __init__(self, addresses: Addresses, patients: str, studies: str) -> None:
        self.addresses, self._patients, self._studies = addresses, patients, studies
        self._http = urllib3.PoolManager(retries=False, timeout=10.0)
        self._open = ExitStack()
        self._read_lag: Callable[[], dict[str, dict[str, int]]] | None = None
        self._database: Any = None
        self._warehouse: WarehouseSql | None = None
        self._command = (
            WorkersCommand(addresses.workers, _subscriptions()) if addresses.workers else None
        )
        self.problems: dict[str, str] = {}
        """What could not be asked, and why; the last reason."""

    def outbox(self) -> int | None:
        """Events the gateway still owes Kafka."""
        return self._asked("gateway", self._outbox) if self.addresses.gateways else None

    def lag(self) -> dict[str, int] | None:
        """Events each function has not handled; what asking causes is not counted."""
        return self._asked("kafka", self._lag) if self.addresses.kafka else None

    def workers(self) -> dict[str, int] | None:
        """Workers of each function that takes events."""
        if self._command is not None:
            found: dict[str, int] | None = self._asked("workers", self._command.look)
            return found
        return self._asked("workers", self._workers) if self.addresses.stack else None

    def indexed(self) -> Counts | None:
        """Instances of each study by QIDO-RS."""
        return self._asked("dicomweb", self._indexed) if self.addresses.dicomweb else None

    def described(self) -> Counts | None:
        """Instances in the stored metadata document of each series."""
        return self._asked("postgres", self._described) if self.addresses.postgres else None

    def loaded(self) -> Counts | None:
        """Instances of each study in the warehouse."""
        return self._asked("sql", self._loaded) if self.addresses.sql else None

    def answers(self, instance: Identifiers) -> bool:
        """Whether WADO-RS has the metadata of an instance."""
        path = (
            f"studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
            f"/instances/{instance.sop_instance_uid}/metadata"
        )
        return bool(self._asked("dicomweb", lambda: self._json(path)))

    def close(self) -> None:
        """Hang up."""
        self._http.clear()
        self._open.close()
        self._read_lag = None
        for one in (self._database, self._warehouse, self._command):
            if one is not None:
                one.close()
        self._database = self._warehouse = None

    def _asked(self, what: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except PacslessError as error:
            self.problems[what] = error.message
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.problems[what] = f"{what} does not answer: {type(error).__name__}"
        return None

    def _outbox(self) -> int:
        return sum(int(scrape(one, OUTBOX_METRIC)) for one in self.addresses.gateways)

    def _lag(self) -> dict[str, int]:
        from pacsless.bus import lag_reader

        if self._read_lag is None:
            subscriptions = _subscriptions()
            if not subscriptions:
                raise Unavailable("functions", "no function is declared here: no backlog is known")
            settings = Settings(kafka=self.addresses.kafka)
            self._read_lag = self._open.enter_context(lag_reader(settings, subscriptions))
        return {name: sum(topics.values()) for name, topics in self._read_lag().items()}

    def _workers(self) -> dict[str, int]:
        from pacsless.stack.supervision import Supervisor

        stack = self.addresses.stack
        assert stack is not None
        running = {one.name: int(one.running) for one in Supervisor(stack).states()}
        # One that is no part of the stack has as many as its trigger runs.
        return {
            name: running[name] if name in running else scaled_workers(name, stack.ports)
            for name, spec in load_functions().items()
            if spec.kind == "event"
        }

    def _indexed(self) -> Counts:
        found = self._json(f"studies?PatientID={self._patients}*&limit={MOST_STUDIES}")
        return {
            one["0020000D"]["Value"][0]: int(one["00201208"]["Value"][0])
            for one in found
            if "00201208" in one
        }

    def _json(self, path: str) -> list[dict[str, Any]]:
        url = f"{self.addresses.dicomweb}/{path}"
        answer = self._http.request("GET", url, headers={"Accept": "application/dicom+json"})
        if answer.status in (204, 404):
            return []
        if answer.status != 200:
            raise Unavailable(
                "dicomweb", f"{self.addresses.dicomweb} answers {answer.status} to a search"
            )
        told = answer.json()
        return told if isinstance(told, list) else []

    def _described(self) -> Counts:
        from pacsless.postgres import Address, Database

        if self._database is None:
            self._database = Database(Address.parse(self.addresses.postgres), size=1)
        pattern = f"{self._studies}%"
        rows = self._database.run(
            lambda transaction: transaction.run(
                _DOCUMENTS, tenant=self.addresses.tenant, studies=pattern
            )
        )
        return {series: int(count) for series, count in rows}

    def _loaded(self) -> Counts:
        if self._warehouse is None:
            settings = replace(self.addresses.doris, doris_mysql=self.addresses.sql)
            self._warehouse = WarehouseSql.from_settings(settings)
        rows = self._warehouse.ask(_IMAGES, self.addresses.tenant, f"{self._studies}%").rows
        return {study: int(count) for study, count in rows}


def _subscriptions() -> dict[str, list[str]]:
    """Topics of each function that takes events, without those that asking fills."""
    return {
        name: [topic for topic in spec.topics if topic != AccessesLogged.TOPIC]
        for name, spec in load_functions().items()
        if spec.kind == "event"
    }
