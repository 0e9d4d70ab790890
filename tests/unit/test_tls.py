"""TLS between real sockets: who gets through a handshake, and who does not."""

from __future__ import annotations

import hashlib
import socket
import ssl
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from scp_gateway.application_entities import Certificate
from scp_gateway.tls import certificate_of, client_context, server_context

from pacsless.settings import InvalidSetting
from tests.certificates import Authority, Pair

LIMIT = 20.0
EXPIRED, NO_ISSUER, WRONG_USAGE = 10, 20, 26
"""X509_V_ERR_… of OpenSSL."""
ASSOCIATE_RQ = b"\x01\x00\x00\x00\x00\xcd\x00\x01" + bytes(199)

Client = Callable[[socket.socket], object]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def gateway(authority: Authority) -> Pair:
    return authority.issue("gateway", ["localhost"], usage="server")


@pytest.fixture(scope="module")
def sender(authority: Authority) -> Pair:
    return authority.issue("CT1", ["CT1.Hospital-B.example"], usage="client")


@pytest.fixture
def mutual(authority: Authority, gateway: Pair) -> ssl.SSLContext:
    """The gateway's context where clients need a certificate."""
    return server_context(gateway.certificate, gateway.key, authority.certificate)


@pytest.fixture
def own(authority: Authority, sender: Pair) -> ssl.SSLContext:
    """The context of a sender that has the right certificate."""
    return client_context(authority.certificate, sender.certificate, sender.key)


def meet(
    server: ssl.SSLContext, client: Client
) -> tuple[Certificate | OSError | None, object | OSError]:
    """Let a client connect: what the server learns of it, or fails with, and the same of it."""

    def connect(port: int) -> object | OSError:
        with socket.create_connection(("127.0.0.1", port), LIMIT) as raw:
            try:
                return client(raw)
            except OSError as error:
                return error

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(LIMIT)
        future = pool.submit(connect, listener.getsockname()[1])
        raw, _ = listener.accept()
        raw.settimeout(LIMIT)
        learned: Certificate | OSError | None
        try:
            with server.wrap_socket(raw, server_side=True) as connection:
                learned = certificate_of(connection)
                connection.sendall(b"!")
                # Both say goodbye, so that no reset overtakes the byte.
                connection.unwrap().close()
        except OSError as error:
            learned = error
            raw.close()
        return learned, future.result()


def speak(context: ssl.SSLContext, name: str = "localhost") -> Client:
    """A client that does the handshake, waits for a byte and says what was agreed on."""

    def client(raw: socket.socket) -> object:
        with context.wrap_socket(raw, server_hostname=name) as connection:
            # In TLS 1.3 the client is done before the server has judged its certificate.
            if connection.recv(1) != b"!":
                raise ConnectionResetError
            suite = connection.cipher()
            assert suite is not None
            agreed = connection.version(), suite[0]
            connection.unwrap()
            return agreed

    return client


def say(data: bytes) -> Client:
    """A client that knows nothing of TLS."""

    def client(raw: socket.socket) -> object:
        raw.sendall(data)
        return raw.recv(1 << 16)

    return client


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a context speak TLS 1.1 and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    # OpenSSL signs the handshakes of TLS 1.1 at no higher level.
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def only(suites: str, context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a client offer these suites of TLS 1.2 alone."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(suites)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_right_one_passes_and_is_known(
    mutual: ssl.SSLContext, own: ssl.SSLContext, sender: Pair, version: ssl.TLSVersion
) -> None:
    own.minimum_version = own.maximum_version = version
    learned, agreed = meet(mutual, speak(own))
    der = ssl.PEM_cert_to_DER_cert(sender.certificate.read_text())
    names = frozenset({"ct1", "ct1.hospital-b.example"})
    assert learned == Certificate(names, hashlib.sha256(der).hexdigest())
    assert isinstance(agreed, tuple)
    assert agreed[0] == version.name.replace("v1_", "v1.")


def test_a_name_is_taken_whole(authority: Authority, mutual: ssl.SSLContext) -> None:
    other = authority.issue("CT1/CN=CT2, DNS:ct3", ["*.example"])
    context = client_context(authority.certificate, other.certificate, other.key)
    learned, _ = meet(mutual, speak(context))
    assert isinstance(learned, Certificate)
    assert learned.names == {"ct1/cn=ct2, dns:ct3", "*.example"}


def test_a_certificate_with_no_names(authority: Authority, mutual: ssl.SSLContext) -> None:
    other = authority.issue("", addresses=["10.2.0.7"])
    context = client_context(authority.certificate, other.certificate, other.key)
    learned, _ = meet(mutual, speak(context))
    assert isinstance(learned, Certificate)
    assert learned.names == frozenset()


def test_without_client_authorities_nobody_is_known(
    authority: Authority, gateway: Pair, own: ssl.SSLContext
) -> None:
    server = server_context(gateway.certificate, gateway.key, None)
    for context in (own, client_context(authority.certificate, None, None)):
        learned, agreed = meet(server, speak(context))
        assert learned is None
        assert isinstance(agreed, tuple)


def test_a_certificate_that_was_not_verified_is_none(gateway: Pair, authority: Authority) -> None:
    context = client_context(authority.certificate, None, None)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found: list[object] = []

    def client(raw: socket.socket) -> object:
        with context.wrap_socket(raw) as connection:
            found.extend((connection.getpeercert(True), certificate_of(connection)))
            return connection.unwrap()

    meet(server_context(gateway.certificate, gateway.key, None), client)
    assert found[0] and found[1] is None


def test_no_certificate(authority: Authority, mutual: ssl.SSLContext) -> None:
    learned, agreed = meet(mutual, speak(client_context(authority.certificate, None, None)))
    assert isinstance(learned, ssl.SSLError)
    assert learned.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert isinstance(agreed, OSError)


def test_certificates_that_prove_nothing(
    authority: Authority, mutual: ssl.SSLContext, tmp_path: Path
) -> None:
    # Of the same name as the right one, so that only its key tells.
    foreign = Authority(tmp_path)
    for pair, why in (
        (authority.issue("CT1", expired=True), {EXPIRED}),
        (foreign.issue("CT1"), {NO_ISSUER, 7}),
        (Authority(tmp_path, "Foreign CA").issue("CT1"), {NO_ISSUER}),
        (authority.issue("CT1", usage="server"), {WRONG_USAGE}),
    ):
        context = client_context(authority.certificate, pair.certificate, pair.key)
        learned, agreed = meet(mutual, speak(context))
        assert isinstance(learned, ssl.SSLCertVerificationError)
        assert learned.verify_code in why
        assert isinstance(agreed, OSError)


def test_a_weak_key_of_a_client(authority: Authority, mutual: ssl.SSLContext) -> None:
    weak = authority.issue("CT1", key="RSA-1024")
    context = client_context(authority.certificate, None, None)
    context.set_ciphers("ECDHE+AESGCM:@SECLEVEL=1")
    context.load_cert_chain(weak.certificate, weak.key)
    learned, agreed = meet(mutual, speak(context))
    assert isinstance(learned, ssl.SSLError)
    assert isinstance(agreed, OSError)


@pytest.mark.skipif(not ssl.HAS_TLSv1_1, reason="OpenSSL without TLS 1.1")
def test_tls_1_1(mutual: ssl.SSLContext, own: ssl.SSLContext, gateway: Pair) -> None:
    learned, agreed = meet(mutual, speak(old(own)))
    assert isinstance(learned, ssl.SSLError)
    assert learned.reason == "UNSUPPORTED_PROTOCOL"
    assert isinstance(agreed, ssl.SSLError)
    # A server that allows it shows that the client does speak it.
    lax = old(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    lax.load_cert_chain(gateway.certificate, gateway.key)
    _, agreed = meet(lax, speak(own))
    assert isinstance(agreed, tuple)
    assert agreed[0] == "TLSv1.1"


@pytest.mark.parametrize("key", ["P-256", "RSA-2048"])
def test_suites_of_tls_1_2(authority: Authority, key: str) -> None:
    pair = authority.issue("gateway", ["localhost"], key=key)  # type: ignore[arg-type]
    server = server_context(pair.certificate, pair.key, None)
    kind = "RSA" if key.startswith("RSA") else "ECDSA"
    # RFC 9325 §4.2
    for suite in (f"ECDHE-{kind}-AES128-GCM-SHA256", f"ECDHE-{kind}-AES256-GCM-SHA384"):
        client = only(suite, client_context(authority.certificate, None, None))
        assert meet(server, speak(client))[1] == ("TLSv1.2", suite)
    for suites in (f"ECDHE-{kind}-AES256-SHA384", "DHE+AESGCM", "AES256-GCM-SHA384", "AES128-SHA"):
        client = only(suites, client_context(authority.certificate, None, None))
        learned, agreed = meet(server, speak(client))
        assert isinstance(learned, ssl.SSLError)
        assert learned.reason == "NO_SHARED_CIPHER"
        assert isinstance(agreed, ssl.SSLError)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_tickets(mutual: ssl.SSLContext, own: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    own.maximum_version = version
    own.options &= ~ssl.OP_NO_TICKET
    found: list[bool] = []

    def client(raw: socket.socket) -> object:
        with own.wrap_socket(raw, server_hostname="localhost") as connection:
            assert connection.recv(1) == b"!"
            assert connection.session is not None
            found.append(connection.session.has_ticket)
            return connection.unwrap()

    meet(mutual, client)
    assert found == [False]


def test_options(mutual: ssl.SSLContext, own: ssl.SSLContext) -> None:
    for context in (mutual, own):
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert own.check_hostname and own.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    "data", [ASSOCIATE_RQ, b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\xff\xff" * 9]
)
def test_plaintext_on_the_tls_port(mutual: ssl.SSLContext, data: bytes) -> None:
    learned, answer = meet(mutual, say(data))
    assert isinstance(learned, ssl.SSLError)
    # Nothing but an alert, if that: neither an A-ASSOCIATE-AC nor -RJ.
    assert isinstance(answer, OSError) or answer == b"" or bytes(answer)[:1] == b"\x15"  # type: ignore[call-overload]


def test_a_client_that_hangs_up(mutual: ssl.SSLContext) -> None:
    learned, _ = meet(mutual, lambda raw: raw.sendall(b"\x16\x03\x01"))
    assert isinstance(learned, OSError)


def test_outgoing_associations_verify_the_peer(
    authority: Authority, gateway: Pair, tmp_path: Path
) -> None:
    server = server_context(gateway.certificate, gateway.key, None)
    ours = client_context(authority.certificate, None, None)
    for name in ("localhost", "127.0.0.1"):
        assert isinstance(meet(server, speak(ours, name))[1], tuple)
    # "gateway" is the common name, which is no host name.
    for name in ("gateway", "other.example", "127.0.0.2"):
        assert isinstance(meet(server, speak(ours, name))[1], ssl.SSLCertVerificationError)
    foreign = client_context(Authority(tmp_path).certificate, None, None)
    assert isinstance(meet(server, speak(foreign))[1], ssl.SSLCertVerificationError)
    system = client_context(None, None, None)
    assert isinstance(meet(server, speak(system))[1], ssl.SSLCertVerificationError)
    bare = authority.issue("localhost", addresses=())
    server = server_context(bare.certificate, bare.key, None)
    assert isinstance(meet(server, speak(ours))[1], ssl.SSLCertVerificationError)


def test_files_that_are_wrong_are_named(
    authority: Authority, gateway: Pair, tmp_path: Path
) -> None:
    junk, missing = tmp_path / "junk.pem", tmp_path / "missing.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty = tmp_path / "empty.pem"
    empty.touch()
    other = authority.issue("other")
    rsa = authority.issue("other", key="RSA-2048")
    weak = authority.issue("weak", key="RSA-1024")
    locked = authority.issue("locked", passphrase=b"secret")
    ca = authority.certificate
    for pair, client_ca, setting, what in (
        (replace(gateway, certificate=missing), None, "CERTIFICATE", "cannot be read: No such"),
        (replace(gateway, certificate=tmp_path), None, "CERTIFICATE", "cannot be read: Is a dir"),
        (replace(gateway, certificate=junk), None, "CERTIFICATE", "no certificate in PEM"),
        (replace(gateway, certificate=empty), None, "CERTIFICATE", "no certificate in PEM"),
        (replace(gateway, certificate=gateway.key), None, "CERTIFICATE", "no certificate in PEM"),
        (weak, None, "CERTIFICATE", "too weak"),
        (replace(gateway, key=missing), None, "KEY", "cannot be read: No such"),
        (replace(gateway, key=junk), None, "KEY", "no private key in PEM"),
        (replace(gateway, key=gateway.certificate), None, "KEY", "no private key in PEM"),
        (replace(gateway, key=other.key), None, "KEY", "is not the key of"),
        (replace(gateway, key=rsa.key), None, "KEY", "is not the key of"),
        (locked, None, "KEY", "has a passphrase"),
        (gateway, missing, "CLIENT_CA", "cannot be read: No such"),
        (gateway, empty, "CLIENT_CA", "no certificate in PEM"),
        (gateway, junk, "CLIENT_CA", "no certificate in PEM"),
    ):
        with pytest.raises(InvalidSetting, match=f"PACSLESS_GATEWAY_TLS_{setting}: .*{what}"):
            server_context(pair.certificate, pair.key, client_ca)
        with pytest.raises(InvalidSetting, match=f"PACSLESS_GATEWAY_TLS_{setting}: .*{what}"):
            client_context(client_ca or ca, pair.certificate, pair.key)
    with pytest.raises(InvalidSetting, match="PACSLESS_GATEWAY_TLS_KEY: is missing"):
        client_context(ca, gateway.certificate, None)
    with pytest.raises(InvalidSetting, match="PACSLESS_GATEWAY_TLS_CERTIFICATE: is missing"):
        client_context(ca, None, gateway.key)
