"""Storage commitment from end to end: pynetdicom asks, the gateway answers and reports."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, Association, evt
from pynetdicom.presentation import build_context, build_role

from functions.extract_tags.index import index
from pacsless.archive.files import FileArchive
from pacsless.events import InstanceStored
from pacsless.postgres import Database
from tests.eventually import eventually
from tests.gateway import GatewayProcess
from tests.instances import encode, make_dataset, new_tenant
from tests.ports import free_ports
from tests.services import PostgresServer

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
NO_SUCH_INSTANCE = 0x0112


@dataclass
class Reports:
    """What a sender was told."""

    found: dict[str, tuple[int, Dataset]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    """What to answer to the first ones; success after that."""
    arrived: threading.Event = field(default_factory=threading.Event)

    def take(self, event: evt.Event) -> tuple[int, None]:
        status = self.statuses.pop(0) if self.statuses else 0
        if status == 0:
            information = event.event_information
            self.found[information.TransactionUID] = event.request.EventTypeID, information
            self.arrived.set()
        return status, None


@dataclass
class Site:
    """A gateway, an index, and a sender that can be reached."""

    gateway: GatewayProcess
    postgres: PostgresServer
    tenant: str
    remote_port: int
    reports: Reports = field(default_factory=Reports)

    def associate(self) -> Association:
        contexts = [
            build_context(CTImageStorage, ExplicitVRLittleEndian),
            build_context(STORAGE_COMMITMENT, ExplicitVRLittleEndian),
        ]
        association = AE("CT1").associate(
            "127.0.0.1", self.gateway.port, contexts, ae_title="PACSLESS",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.reports.take)],
        )  # fmt: skip
        assert association.is_established
        return association

    def store(self, association: Association, count: int = 1) -> list[Dataset]:
        sent = [make_dataset(b"\0\1" * 4) for _ in range(count)]
        for ds in sent:
            encode(ds)  # gives it its file meta
            assert association.send_c_store(ds).Status == 0
        return sent

    def index(self) -> None:
        """Do what extract_tags does with what the gateway told."""
        database = Database.from_settings(self.postgres.settings)
        events = self.gateway.promised(InstanceStored)
        index(events, FileArchive(self.gateway.archive), database, self.postgres.settings)
        database.close()

    def ask(self, association: Association, *sop_instance_uids: str) -> str:
        request = Dataset()
        request.TransactionUID = generate_uid()
        request.ReferencedSOPSequence = []
        for uid in sop_instance_uids:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
            request.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(request, 1, STORAGE_COMMITMENT, INSTANCE)
        assert status.Status == 0
        return str(request.TransactionUID)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take reports on associations of the gateway."""
        ae = AE("CT1")
        context = build_context(STORAGE_COMMITMENT, ExplicitVRLittleEndian)
        ae.add_supported_context(
            context.abstract_syntax, context.transfer_syntax, scu_role=True, scp_role=True
        )
        server = ae.start_server(
            ("127.0.0.1", self.remote_port), block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.reports.take)],
        )  # fmt: skip
        try:
            yield
        finally:
            server.shutdown()

    def told(self, transaction: str) -> tuple[int, list[str], dict[str, int]]:
        """Event type, what is committed, and the reasons for what is not."""
        kind, information = eventually(lambda: self.reports.found.get(transaction))
        return (
            kind,
            [one.ReferencedSOPInstanceUID for one in information.get("ReferencedSOPSequence", [])],
            {
                one.ReferencedSOPInstanceUID: one.FailureReason
                for one in information.get("FailedSOPSequence", [])
            },
        )


@pytest.fixture
def site(
    request: pytest.FixtureRequest, postgres: PostgresServer, tmp_path: Path
) -> Iterator[Site]:
    """A gateway that waits for the index; how many seconds may be its parameter."""
    tenant, (remote_port,) = new_tenant(), free_ports(1)
    rules = tmp_path / "ae.toml"
    rules.write_text(
        f"[tenants.{tenant}]\n"
        'called = ["PACSLESS"]\n'
        f"[tenants.{tenant}.remotes.CT1]\n"
        'host = "127.0.0.1"\n'
        f"port = {remote_port}\n"
    )
    gateway = GatewayProcess(
        tmp_path,
        POSTGRES=postgres.settings.postgres,
        GATEWAY_AE_FILE=str(rules),
        GATEWAY_COMMITMENT_WAIT_SECONDS=getattr(request, "param", "300"),
    )
    gateway.start()
    yield Site(gateway, postgres, tenant, remote_port)
    gateway.close()


def test_committed_on_the_association_that_asked(site: Site) -> None:
    association = site.associate()
    sent = site.store(association, 3)
    site.index()
    uids = [str(ds.SOPInstanceUID) for ds in sent]
    transaction = site.ask(association, *uids)
    assert site.told(transaction) == (1, uids, {})
    assert association.is_established, "and it may go on"
    site.store(association)
    association.release()
    assert site.gateway.metric("commitments_total", outcome="committed") == 1
    eventually(lambda: site.gateway.metric("commitments_pending") == 0)


@pytest.mark.parametrize("site", ["2"], indirect=True)
def test_what_is_missing_is_not_committed(site: Site) -> None:
    association = site.associate()
    (ds,) = site.store(association)
    site.index()
    missing = generate_uid()
    transaction = site.ask(association, str(ds.SOPInstanceUID), missing)
    assert site.told(transaction) == (2, [ds.SOPInstanceUID], {missing: NO_SUCH_INSTANCE})
    association.release()


@pytest.mark.parametrize("end", ["release", "kill -9 of the gateway"])
def test_a_sender_that_has_left_is_told_on_a_new_association(site: Site, end: str) -> None:
    association = site.associate()
    (ds,) = site.store(association)
    # Nothing is indexed yet, so there is no result yet.
    transaction = site.ask(association, str(ds.SOPInstanceUID))
    if end == "release":
        association.release()
    else:
        site.gateway.kill()
        association.abort()
        site.gateway.start()
    site.index()
    site.reports.statuses = [0x0110, 0x0110]  # it is asked again
    with site.listening():
        assert site.told(transaction) == (1, [ds.SOPInstanceUID], {})
        eventually(lambda: site.gateway.metric("commitments_pending") == 0)
    assert "CT1" not in site.gateway.get("/metrics")[1]


def test_a_sender_that_releases_at_once_is_not_talked_to_meanwhile(site: Site) -> None:
    association = site.associate()
    sent = site.store(association, 3)
    site.index()
    # Everything is there, so the result is known at once.
    transaction = site.ask(association, *(str(ds.SOPInstanceUID) for ds in sent))
    association.release()
    assert association.is_released
    assert not site.reports.found
    with site.listening():
        assert site.told(transaction)[0] == 1
        eventually(lambda: site.gateway.metric("commitments_pending") == 0)


def test_role_selection_of_the_sender_is_answered(site: Site) -> None:
    ae = AE("CT1")
    ae.add_requested_context(STORAGE_COMMITMENT, ExplicitVRLittleEndian)
    role = build_role(STORAGE_COMMITMENT, scu_role=True, scp_role=True)
    association = ae.associate("127.0.0.1", site.gateway.port, ae_title="PACSLESS", ext_neg=[role])
    assert association.is_established
    (context,) = association.accepted_contexts
    assert context.as_scu and not context.as_scp
    association.release()
