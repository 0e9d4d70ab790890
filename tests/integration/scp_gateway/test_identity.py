"""Who may come in: AE titles, addresses, certificates and TLS (BCP 195, PS3.15 §B.12)."""

from __future__ import annotations

import ssl
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.presentation import build_context

from pacsless.events import InstanceStored
from tests.certificates import Authority, Pair
from tests.dimse import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    CALLED,
    ECHO,
    Instance,
    Pdu,
    Peer,
    associate_rq,
)
from tests.eventually import eventually
from tests.gateway import GatewayProcess, data_set
from tests.instances import encode, make_dataset
from tests.ports import free_ports
from tests.services import require

Start = Callable[..., GatewayProcess]

RULES: Final = """
[tenants.default]
called = ["PACSLESS"]
addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.9"]

[tenants.listed]
called = ["LISTED"]
calling = ["CT1", "CT2"]
addresses = ["127.0.0.1"]

[tenants.secure]
called = ["SECURE"]
certificates = ["ct.hospital.example"]
addresses = ["127.0.0.0/28"]

[tenants.other]
called = ["OTHER"]
certificates = ["mr.elsewhere.example"]
addresses = ["127.0.0.0/28"]
"""

NO_REASON: Final = Pdu(ASSOCIATE_RJ, b"\0\1\1\1")
CALLING: Final = Pdu(ASSOCIATE_RJ, b"\0\1\1\3")
NOT_RECOGNIZED: Final = Pdu(ASSOCIATE_RJ, b"\0\1\1\7")


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the gateway and its senders have."""

    authority: Authority
    foreign: Authority
    gateway: Pair
    ct: Pair
    mr: Pair
    nobody: Pair
    expired: Pair
    foreigner: Pair
    server_only: Pair

    def client(self, pair: Pair | None, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """How a sender speaks TLS that has this certificate."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.check_hostname = False
        if highest is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = highest
            context.set_ciphers("ALL:@SECLEVEL=0")
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    own = Authority(tmp_path_factory.mktemp("own"))
    foreign = Authority(tmp_path_factory.mktemp("foreign"), "Foreign CA")
    names = ["ct.hospital.example"]
    return Certificates(
        own,
        foreign,
        own.issue("localhost", ["localhost"]),
        own.issue("CT", names, usage="client"),
        own.issue("mr.elsewhere.example", usage="client"),
        own.issue("stranger.example", usage="client"),
        own.issue("CT", names, usage="client", expired=True),
        foreign.issue("CT", names, usage="client"),
        own.issue("CT", names, usage="server"),
    )


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def gateway(
    start: Start,
    tls_port: int,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> GatewayProcess:
    rules = tmp_path_factory.mktemp("rules") / "ae.toml"
    rules.write_text(RULES)
    return start(
        GATEWAY_AE_FILE=str(rules),
        GATEWAY_TLS_PORT=str(tls_port),
        GATEWAY_TLS_CERTIFICATE=str(certificates.gateway.certificate),
        GATEWAY_TLS_KEY=str(certificates.gateway.key),
        GATEWAY_TLS_CLIENT_CA=str(certificates.authority.certificate),
    )


def ended(gateway: GatewayProcess) -> int:
    return len(gateway.lines("association ended"))


def next_line(gateway: GatewayProcess, count: int) -> dict[str, object]:
    return eventually(lambda: gateway.lines("association ended")[count:])[0]


# -- without TLS


@pytest.mark.parametrize(
    ("called", "calling", "source", "answer", "why"),
    [
        ("PACSLESS", "ANY", "127.0.0.1", None, ""),
        ("PACSLESS", "ANY", "127.0.0.9", None, ""),
        (" PACSLESS ", " ANY", "127.0.0.1", None, ""),
        ("LISTED", "CT1", "127.0.0.1", None, ""),
        ("LISTED", "CT2 ", "127.0.0.1", None, ""),
        ("LISTED", "CT3", "127.0.0.1", CALLING, "calling-ae-title-not-listed"),
        ("LISTED", "ct1", "127.0.0.1", CALLING, "calling-ae-title-not-listed"),
        ("NOBODY", "CT1", "127.0.0.1", NOT_RECOGNIZED, "called-ae-title-unknown"),
        ("pacsless", "CT1", "127.0.0.1", NOT_RECOGNIZED, "called-ae-title-unknown"),
        ("default", "CT1", "127.0.0.1", NOT_RECOGNIZED, "called-ae-title-unknown"),
        ("LISTED", "CT1", "127.0.0.2", NOT_RECOGNIZED, "address-not-allowed"),
        ("SECURE", "CT1", "127.0.0.1", NOT_RECOGNIZED, "certificate-missing"),
        ("PACSLESS", "CT1", "127.0.0.5", NO_REASON, "address-not-allowed"),
        ("SECURE", "CT1", "127.0.0.5", NO_REASON, "certificate-missing"),
        ("NOBODY", "CT1", "127.0.0.5", NO_REASON, "called-ae-title-unknown"),
    ],
)
def test_titles_and_addresses(
    gateway: GatewayProcess,
    *,
    called: str,
    calling: str,
    source: str,
    answer: Pdu | None,
    why: str,
) -> None:
    count = ended(gateway)
    with Peer(gateway.port, source=source) as peer:
        peer.send(associate_rq(called=called, calling=calling))
        said = peer.read()
        if answer is None:
            assert said.kind == ASSOCIATE_AC
            assert peer.echo() == 0
            peer.release()
        else:
            assert said == answer
            assert peer.rest() == []
    line = next_line(gateway, count)
    assert line["why"] == why
    assert line["address"] == source
    assert line["end"] == ("rejected" if why else "released")
    assert (line["tenant"] == "") == bool(why)


def test_an_address_nobody_allows_is_not_heard(gateway: GatewayProcess) -> None:
    before = gateway.metric("refused_connections_total")
    with Peer(gateway.port, source="127.0.0.20") as peer:
        peer.push(associate_rq(called=CALLED))
        assert peer.rest() == []
    eventually(lambda: gateway.metric("refused_connections_total") == before + 1)
    assert gateway.lines("connections are refused")[-1]["address"] == "127.0.0.20"


@pytest.mark.parametrize(
    "title",
    [
        b"PACS\0LESS",
        b"PACSLESS\n",
        b"PACSLESS\x1b[31m",
        b"PACSLESS\\OTHER",
        b"P\xc3\x84CSLESS",
        b"\xff" * 16,
        b"\n" * 16,
        b"\0" * 16,
        b" " * 16,
        b"CT1\n",
        b"\tCT1",
        b"../../../etc/pas",
        b'","tenant":"x',
    ],
)
@pytest.mark.parametrize("which", ["called", "calling"])
def test_titles_that_are_none(gateway: GatewayProcess, title: bytes, which: str) -> None:
    called, calling = (title, b"CT1") if which == "called" else (b"LISTED", title)
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(called=called, calling=calling))
        assert peer.read().kind in {ASSOCIATE_RJ, ABORT}
    # Nothing of it is interpreted by whoever reads the log.
    log = gateway.log.read_bytes()
    assert not set(log) & (set(range(32)) - {0x0A}) and b"\x7f" not in log
    gateway.lines("")


@pytest.mark.parametrize("calling", [b"\n" * 16, b"A\x1b[31m", b"\xff\xfe", b"A\\B", b"\0" * 16])
def test_calling_titles_that_are_none_where_any_is_taken(
    gateway: GatewayProcess, calling: bytes
) -> None:
    """Either the association is refused, or what it tells Kafka is a text."""
    with Peer(gateway.port) as peer:
        peer.send(associate_rq(calling=calling))
        if peer.read().kind == ASSOCIATE_AC:
            assert peer.store(Instance("1.2.3.4.77")) == 0
            event = gateway.promised(InstanceStored)[-1]
            assert isinstance(event, InstanceStored)
            assert event.calling_ae_title.isprintable()
    assert not set(gateway.log.read_bytes()) & (set(range(32)) - {0x0A})


# -- TLS


@pytest.mark.parametrize(
    ("pair", "called", "answer", "why"),
    [
        ("ct", "SECURE", None, ""),
        ("mr", "OTHER", None, ""),
        ("ct", "OTHER", NOT_RECOGNIZED, "certificate-of-another-tenant"),
        ("mr", "SECURE", NOT_RECOGNIZED, "certificate-of-another-tenant"),
        ("ct", "PACSLESS", NOT_RECOGNIZED, "certificate-of-another-tenant"),
        ("nobody", "SECURE", NOT_RECOGNIZED, "certificate-not-listed"),
        ("nobody", "PACSLESS", None, ""),
    ],
)
def test_a_certificate_opens_its_own_tenant(
    gateway: GatewayProcess,
    tls_port: int,
    certificates: Certificates,
    *,
    pair: str,
    called: str,
    answer: Pdu | None,
    why: str,
) -> None:
    count = ended(gateway)
    with Peer(tls_port, tls=certificates.client(getattr(certificates, pair))) as peer:
        peer.send(associate_rq(called=called))
        said = peer.read()
        if answer is None:
            assert said.kind == ASSOCIATE_AC
            assert peer.echo() == 0
            peer.release()
        else:
            assert said == answer
    line = next_line(gateway, count)
    assert (line["why"], line["tls"]) == (why, True)


def _nothing_comes(port: int, context: ssl.SSLContext) -> None:
    """In TLS 1.3 a client learns only when it reads that its certificate was not taken."""
    try:
        with Peer(port, tls=context) as peer:
            peer.push(associate_rq(called="SECURE"))
            assert peer.rest() == []
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return


@pytest.mark.parametrize("pair", [None, "expired", "foreigner", "server_only"])
@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates_that_open_nothing(
    gateway: GatewayProcess,
    tls_port: int,
    certificates: Certificates,
    pair: str | None,
    highest: ssl.TLSVersion,
) -> None:
    count = ended(gateway)
    client = certificates.client(getattr(certificates, pair) if pair else None, highest)
    _nothing_comes(tls_port, client)
    line = next_line(gateway, count)
    assert (line["end"], line["why"], line["bytes"]) == ("aborted", "tls", 0)


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls(
    gateway: GatewayProcess,
    tls_port: int,
    certificates: Certificates,
    highest: ssl.TLSVersion,
) -> None:
    count = ended(gateway)
    _nothing_comes(tls_port, certificates.client(certificates.ct, highest))
    assert next_line(gateway, count)["why"] == "tls"


@pytest.mark.parametrize(
    "sent", [associate_rq(), b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\4oops", bytes(2000)]
)
def test_plaintext_on_the_tls_port(gateway: GatewayProcess, tls_port: int, sent: bytes) -> None:
    count = ended(gateway)
    with Peer(tls_port) as peer:
        peer.push(sent)
        # A TLS alert may come, and no PDU.
        assert b"PACSLESS" not in _raw(peer)
    assert next_line(gateway, count)["why"] == "tls"


def _raw(peer: Peer) -> bytes:
    said = b""
    try:
        while more := peer.socket.recv(4096):
            said += more
    except ConnectionResetError:
        return said
    return said


def test_tls_on_the_port_without(gateway: GatewayProcess, certificates: Certificates) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        Peer(gateway.port, tls=certificates.client(certificates.ct))


def test_the_end_of_tls_is_said(
    gateway: GatewayProcess, tls_port: int, certificates: Certificates
) -> None:
    """RFC 8446 §6.1: close_notify before the connection closes, or the end may be an attack."""
    with Peer(tls_port, tls=certificates.client(certificates.ct)) as peer:
        peer.associate(called="SECURE")
        peer.release()
        assert peer.rest() == []


def test_an_abort_over_tls_arrives(
    gateway: GatewayProcess, tls_port: int, certificates: Certificates
) -> None:
    with Peer(tls_port, tls=certificates.client(certificates.ct)) as peer:
        peer.associate(called="SECURE")
        peer.send(b"\x09\0\0\0\0\0")
        assert peer.read().kind == ABORT


def test_dcmtk_sends_a_file_over_tls(
    gateway: GatewayProcess, tls_port: int, certificates: Certificates, tmp_path: Path
) -> None:
    require("storescu")
    path = tmp_path / "one.dcm"
    path.write_bytes(encode(make_dataset(b"\1\2" * 300_000)))
    done = subprocess.run(
        [
            "/usr/bin/storescu", "-v", "-xe", "-aec", "SECURE",
            "+tls", certificates.ct.key, certificates.ct.certificate,
            "+cf", certificates.authority.certificate,
            "127.0.0.1", str(tls_port), path,
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Received Store Response (Success)" in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert data_set(path.read_bytes()) in {
        data_set(one) for key, one in gateway.stored().items() if key.startswith("secure/")
    }


def test_pynetdicom_sends_a_file_over_tls(
    gateway: GatewayProcess, tls_port: int, certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(encode(make_dataset(b"\3\4" * 300_000)))
    association = AE().associate(
        "127.0.0.1", tls_port, [build_context(CTImageStorage, ExplicitVRLittleEndian)],
        ae_title="SECURE", tls_args=(certificates.client(certificates.ct), "localhost"),
    )  # fmt: skip
    assert association.is_established
    assert association.send_c_store(dcmread(path)).Status == 0
    association.release()
    assert data_set(path.read_bytes()) in {
        data_set(one) for key, one in gateway.stored().items() if key.startswith("secure/")
    }


def test_many_over_tls_at_once(
    gateway: GatewayProcess, tls_port: int, certificates: Certificates
) -> None:
    """Records and PDUs do not end together: several PDUs in a record, and a PDU in several."""
    instances = [Instance(f"1.20.{one}", pixels=bytes(one * 9_999)) for one in range(20)]
    with Peer(tls_port, tls=certificates.client(certificates.ct)) as peer:
        peer.associate(called="SECURE")
        peer.send(b"".join(one.message() for one in instances) + ECHO)
        assert [peer.status() for _ in range(21)] == [0] * 21
        peer.release()
    kept = gateway.stored()
    for one in instances:
        key = f"secure/1.2.3/1.2.3.4/{one.sop!s}.dcm"
        assert data_set(kept[key]) == one.encoded
