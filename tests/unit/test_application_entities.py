"""Who may send what to whom."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scp_gateway.application_entities import (
    ApplicationEntities,
    Certificate,
    NotAdmitted,
    Remote,
    lower,
)

from pacsless.settings import InvalidSetting

CT1 = Certificate(frozenset({"ct1", "ct1.hospital-b.example"}), "ab" * 32)
STRANGER = Certificate(frozenset({"stranger.example"}), "00" * 32)
TWO_HOSPITALS = f"""
[tenants.hospital-a]
called = ["HOSP_A", "A_SPARE"]

[tenants.hospital-b]
called = ["HOSP_B"]
calling = ["CT1", "MR 2"]
addresses = ["10.2.0.0/16", "::1"]
certificates = ["CT1.hospital-b.example", "sha256:{"cd" * 32}"]

[tenants.hospital-b.remotes.CT1]
host = "10.2.0.7"
port = 104

[tenants.hospital-b.remotes."MR 2 "]
host = "mr2.hospital-b.example"
port = 2762
tls = true
"""


def toml(value: object) -> str:
    """A value in TOML; texts and numbers are as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(tenants: object) -> ApplicationEntities:
    return ApplicationEntities.from_toml(f"tenants = {toml(tenants)}")


def refusal(
    entities: ApplicationEntities,
    called: str,
    calling: str = "CT1",
    address: str = "10.2.0.7",
    certificate: Certificate | None = CT1,
) -> tuple[str, int]:
    with pytest.raises(NotAdmitted) as caught:
        entities.admit(called, calling, address, certificate)
    assert (caught.value.result, caught.value.source) == (1, 1)
    return caught.value.code, caught.value.reason


def test_the_long_form_is_read() -> None:
    entities = ApplicationEntities.from_toml(TWO_HOSPITALS)
    assert entities.tenants == {
        "HOSP_A": "hospital-a",
        "A_SPARE": "hospital-a",
        "HOSP_B": "hospital-b",
    }
    assert entities.needs_certificates
    assert entities.remote("hospital-b", "CT1") == Remote("10.2.0.7", 104, False)
    assert entities.remote("hospital-b", " MR 2") == Remote("mr2.hospital-b.example", 2762, True)
    assert entities.remote("hospital-b", "CT9") is None
    assert entities.remote("hospital-a", "CT1") is None
    assert entities.remote("nobody", "CT1") is None
    assert entities == pickle.loads(pickle.dumps(entities))


def test_the_short_form_is_read() -> None:
    entities = ApplicationEntities.from_titles(("PACSLESS=default", " Hosp B = hospital-b", "B=b"))
    assert entities.tenants == {"PACSLESS": "default", "Hosp B": "hospital-b", "B": "b"}
    assert entities.admit("Hosp B", "ANYBODY", "192.0.2.1", None) == "hospital-b"
    assert entities.admit("Hosp B", "ANYBODY", "192.0.2.1", CT1) == "hospital-b"
    assert entities.allows_address("192.0.2.1")
    assert not entities.needs_certificates
    assert entities.remote("default", "CT1") is None


def test_who_is_admitted() -> None:
    entities = ApplicationEntities.from_toml(TWO_HOSPITALS)
    named = Certificate(frozenset({"ct1.hospital-b.example"}), "00" * 32)
    pinned = Certificate(frozenset(), "cd" * 32)
    for certificate in (CT1, named, pinned):
        assert entities.admit("HOSP_B", "CT1", "10.2.0.7", certificate) == "hospital-b"
    assert entities.admit(" HOSP_B ", "MR 2 ", "::1", CT1) == "hospital-b"
    assert entities.admit("HOSP_B", "CT1", "::ffff:10.2.0.7", CT1) == "hospital-b"
    assert entities.admit("HOSP_A", "ANYBODY", "192.0.2.1", None) == "hospital-a"
    assert entities.admit("A_SPARE", "ANYBODY", "192.0.2.1", STRANGER) == "hospital-a"


def test_who_is_not_admitted_where_there_is_one_tenant() -> None:
    text = TWO_HOSPITALS[TWO_HOSPITALS.index("[tenants.hospital-b]") :]
    entities = ApplicationEntities.from_toml(text)
    assert refusal(entities, "NOBODY") == ("called-ae-title-unknown", 7)
    assert refusal(entities, "hosp_b") == ("called-ae-title-unknown", 7)
    assert refusal(entities, "") == ("called-ae-title-unknown", 7)
    assert refusal(entities, "HOSP_B", "CT9") == ("calling-ae-title-not-listed", 3)
    assert refusal(entities, "HOSP_B", "ct1") == ("calling-ae-title-not-listed", 3)
    assert refusal(entities, "HOSP_B", address="10.3.0.7") == ("address-not-allowed", 1)
    assert refusal(entities, "HOSP_B", address="") == ("address-not-allowed", 1)
    assert refusal(entities, "HOSP_B", certificate=None) == ("certificate-missing", 1)
    assert refusal(entities, "HOSP_B", certificate=STRANGER) == ("certificate-not-listed", 1)
    # An outsider learns nothing of the titles.
    assert refusal(entities, "NOBODY", address="10.3.0.7") == ("called-ae-title-unknown", 1)
    assert refusal(entities, "NOBODY", certificate=None) == ("called-ae-title-unknown", 1)
    # Nor does one of the right title get further.
    assert refusal(entities, "HOSP_B", "CT9", certificate=None) == ("certificate-missing", 1)


def test_another_tenants_titles_do_not_exist() -> None:
    entities = ApplicationEntities.from_toml(TWO_HOSPITALS)
    nobody = refusal(entities, "NOBODY", certificate=None)
    assert nobody == ("called-ae-title-unknown", 7)
    for address, certificate, code in (
        ("10.3.0.7", None, "address-not-allowed"),
        ("10.2.0.7", None, "certificate-missing"),
        ("10.2.0.7", STRANGER, "certificate-not-listed"),
    ):
        assert refusal(entities, "HOSP_B", "CT1", address, certificate) == (code, 7)
    # The certificate of one tenant opens no other, whatever that other asks for.
    assert refusal(entities, "HOSP_A") == ("certificate-of-another-tenant", 7)
    assert refusal(entities, "HOSP_A", address="10.3.0.7") == ("certificate-of-another-tenant", 1)


def test_a_certificate_with_names_of_two_tenants() -> None:
    one, two = {"called": ["A"], "certificates": ["a"]}, {"called": ["B"], "certificates": ["b"]}
    both = Certificate(frozenset({"a", "b"}), "ab" * 32)
    code = "certificate-of-several-tenants", 1
    assert refusal(read({"a": one, "b": two}), "A", certificate=both) == code
    assert refusal(read({"a": one, "b": two}), "B", certificate=both) == code
    two["certificates"].append("SHA256:" + ":".join(["AB"] * 32))
    entities = read({"a": one, "b": two})
    assert entities.admit("B", "", "", both) == "b"
    assert refusal(entities, "A", certificate=both) == ("certificate-of-another-tenant", 7)


def test_a_name_is_no_fingerprint() -> None:
    entities = read({"a": {"called": ["A"], "certificates": [f"sha256:{'cd' * 32}"]}})
    forged = Certificate(frozenset({f"sha256:{'cd' * 32}", "cd" * 32}), "ab" * 32)
    assert refusal(entities, "A", certificate=forged) == ("certificate-not-listed", 1)


def test_a_wildcard_of_a_certificate_is_a_name() -> None:
    entities = read({"a": {"called": ["A"], "certificates": ["ct1.example"]}})
    wildcard = Certificate(frozenset({"*.example"}), "ab" * 32)
    assert refusal(entities, "A", certificate=wildcard) == ("certificate-not-listed", 1)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (["10.2.0.0/16"], "10.2.255.255", True),
        (["10.2.0.0/16"], "10.3.0.0", False),
        (["10.2.0.0/16"], "::ffff:10.2.0.7", True),
        (["::ffff:10.2.0.0/112"], "10.2.0.7", True),
        (["::ffff:10.2.0.7"], "::ffff:10.2.0.7", True),
        (["::ffff:10.2.0.7"], "10.2.0.8", False),
        (["10.2.0.7"], "10.2.0.7", True),
        (["0.0.0.0/0"], "::1", False),
        (["::/0"], "10.2.0.7", False),
        (["::/0"], "::ffff:10.2.0.7", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["10.2.0.0/16"], "", False),
        (["10.2.0.0/16"], "10.2.0.7.example", False),
        (["192.0.2.1", "2001:db8::/32"], "2001:db8::7", True),
    ],
)
def test_addresses(networks: list[str], address: str, allowed: bool) -> None:
    entities = read({"a": {"called": ["A"], "addresses": networks}})
    assert entities.allows_address(address) == allowed
    if allowed:
        assert entities.admit("A", "", address, None) == "a"
    else:
        assert refusal(entities, "A", address=address) == ("address-not-allowed", 1)


def test_one_tenant_for_all_addresses_allows_all() -> None:
    entities = ApplicationEntities.from_toml(TWO_HOSPITALS)
    assert entities.allows_address("192.0.2.1")
    assert entities.allows_address("")


A = {"called": ["A"]}
REMOTE = {"host": "10.2.0.7", "port": 104}


@pytest.mark.parametrize(
    ("tenants", "place"),
    [
        ({}, "tenants: write a table"),
        ("a", "tenants: write a table"),
        ({"a": ["A"]}, r"tenants\.a is a table"),
        ({"a": {}}, r"tenants\.a\.called is missing"),
        ({"a": A | {"caled": ["B"]}}, r"tenants\.a: 'caled' is none of addresses, called"),
        ({"Hospital A": A}, r"tenants\.Hospital A: a tenant is named with"),
        ({"quarantine": A}, r"tenants\.quarantine: a tenant is named with"),
        ({"a": {"called": []}}, r"tenants\.a\.called is a list of at least one"),
        ({"a": {"called": "A"}}, r"tenants\.a\.called is a list"),
        ({"a": {"called": ["A", 7]}}, r"tenants\.a\.called\[1\] is not a text"),
        ({"a": {"called": ["SEVENTEEN_LETTERS"]}}, r"tenants\.a\.called\[0\].* no AE title"),
        ({"a": {"called": ["  "]}}, r"tenants\.a\.called\[0\].* no AE title"),
        ({"a": {"called": ["A\\B"]}}, r"tenants\.a\.called\[0\].* no AE title"),
        ({"a": {"called": ["A\tB"]}}, r"tenants\.a\.called\[0\].* no AE title"),
        ({"a": {"called": ["Ä"]}}, r"tenants\.a\.called\[0\].* no AE title"),
        ({"a": {"called": ["A", "A "]}}, r"tenants\.a\.called\[1\].* stands twice"),
        ({"a": A, "b": A}, r"tenants\.b\.called: 'A' also stands in tenants\.a\.called"),
        ({"a": A | {"calling": []}}, r"tenants\.a\.calling is a list of at least one"),
        ({"a": A | {"calling": ["A\\B"]}}, r"tenants\.a\.calling\[0\].* no AE title"),
        ({"a": A | {"addresses": []}}, r"tenants\.a\.addresses is a list of at least one"),
        ({"a": A | {"addresses": ["10.2.0.7/16"]}}, r"tenants\.a\.addresses\[0\].* host bits"),
        ({"a": A | {"addresses": ["::1", "ct1"]}}, r"tenants\.a\.addresses\[1\].*write 10\.2"),
        ({"a": A | {"addresses": ["fe80::1%eth0"]}}, r"tenants\.a\.addresses\[0\].* zone"),
        ({"a": A | {"addresses": [7]}}, r"tenants\.a\.addresses\[0\] is not a text"),
        ({"a": A | {"certificates": []}}, r"tenants\.a\.certificates is a list of at least one"),
        ({"a": A | {"certificates": [""]}}, r"tenants\.a\.certificates\[0\]"),
        ({"a": A | {"certificates": [" x"]}}, r"tenants\.a\.certificates\[0\]"),
        ({"a": A | {"certificates": ["*.x"]}}, r"tenants\.a\.certificates\[0\].* wildcards"),
        ({"a": A | {"certificates": ["sha1:ab"]}}, r"tenants\.a\.certificates\[0\]"),
        ({"a": A | {"certificates": ["sha256:ab"]}}, r"tenants\.a\.certificates\[0\].* 64 hex"),
        ({"a": A | {"certificates": [f"sha256:{'xy' * 32}"]}}, r"tenants\.a\.certificates\[0\]"),
        (
            {"a": A | {"certificates": ["X"]}, "b": {"called": ["B"], "certificates": ["x"]}},
            r"tenants\.b\.certificates: 'x' also stands in tenants\.a\.certificates",
        ),
        ({"a": A | {"remotes": ["CT1"]}}, r"tenants\.a\.remotes is a table"),
        ({"a": A | {"remotes": {"CT1": "x"}}}, r"tenants\.a\.remotes\.CT1 is a table"),
        ({"a": A | {"remotes": {"A\\B": REMOTE}}}, r"tenants\.a\.remotes.* no AE title"),
        ({"a": A | {"remotes": {"B": REMOTE, "B ": REMOTE}}}, r"tenants\.a\.remotes.* twice"),
        ({"a": A | {"remotes": {"B": {"host": "x"}}}}, r"tenants\.a\.remotes\.B\.port"),
        ({"a": A | {"remotes": {"B": {"port": 1}}}}, r"tenants\.a\.remotes\.B\.host"),
        ({"a": A | {"remotes": {"B": REMOTE | {"host": "a b"}}}}, r"remotes\.B\.host"),
        ({"a": A | {"remotes": {"B": REMOTE | {"host": "http://x/"}}}}, r"remotes\.B\.host"),
        ({"a": A | {"remotes": {"B": REMOTE | {"port": 0}}}}, r"remotes\.B\.port"),
        ({"a": A | {"remotes": {"B": REMOTE | {"port": 65536}}}}, r"remotes\.B\.port"),
        ({"a": A | {"remotes": {"B": REMOTE | {"port": True}}}}, r"remotes\.B\.port"),
        ({"a": A | {"remotes": {"B": REMOTE | {"port": "104"}}}}, r"remotes\.B\.port"),
        ({"a": A | {"remotes": {"B": REMOTE | {"tls": "no"}}}}, r"remotes\.B\.tls"),
        ({"a": A | {"remotes": {"B": REMOTE | {"ssl": True}}}}, r"remotes\.B: 'ssl' is none of"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tenants: object, place: str) -> None:
    with pytest.raises(InvalidSetting, match=place):
        read(tenants)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "tenants: write a table"),
        ("tenants = ", "not TOML.*end of document"),
        ("[tenant.a]\ncalled = ['A']", "the document: 'tenant' is none of tenants"),
        ("[tenants.a]\ncalled = ['A']\ncalled = ['B']", "not TOML.*overwrite"),
        (f"[tenants.a]\ncalled = [{'9' * 5000}]", "not TOML"),
    ],
)
def test_what_is_no_such_file(text: str, place: str) -> None:
    with pytest.raises(InvalidSetting, match=place):
        ApplicationEntities.from_toml(text)


@pytest.mark.parametrize(
    "titles",
    [
        (),
        ("PACSLESS",),
        ("=default",),
        ("A=default", "A=other"),
        ("A=default", "A =default"),
        ("SEVENTEEN_LETTERS=default",),
        ("A\\B=default",),
        ("A\x07B=default",),
        ("Ä=default",),
        ("A=quarantine",),
        ("A=Default",),
        ("A=",),
    ],
)
def test_what_is_wrong_in_the_short_form_is_named(titles: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSetting, match="PACSLESS_GATEWAY_AE_TITLES"):
        ApplicationEntities.from_titles(titles)


JUNK = st.booleans() | st.integers(-9, 99_999) | st.text(max_size=3)
LISTS = st.lists(JUNK, max_size=2)
TABLES = st.dictionaries(st.sampled_from(["host", "port", "tls", "x"]), JUNK, max_size=3)
VALUES = JUNK | LISTS | TABLES | st.dictionaries(st.text(max_size=2), TABLES, max_size=2)
KEYS = st.sampled_from(["called", "calling", "addresses", "certificates", "remotes", "x"])


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "B"]), st.dictionaries(KEYS, VALUES, max_size=4) | JUNK
    )
)
def test_junk_is_read_or_refused(tenants: Mapping[str, object]) -> None:
    try:
        entities = read(tenants)
    except InvalidSetting as error:
        refused: InvalidSetting | None = error
    else:
        refused = None
        assert set(entities.tenants.values()) == set(tenants)
    assert refused is None or refused.message.startswith("tenants")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(InvalidSetting):
        ApplicationEntities.from_toml(text)


PADDING = st.tuples(st.text(" ", max_size=16), st.text(" ", max_size=16))
TITLE = (
    st.text([chr(code) for code in range(0x20, 0x7F) if chr(code) != "\\"], max_size=16)
    .map(lambda text: text.strip(" "))
    .filter(bool)
)


@given(st.lists(TITLE, min_size=1, max_size=3, unique=True), TITLE, PADDING, PADDING)
def test_spaces_around_titles_mean_nothing(
    called: list[str], calling: str, written: tuple[str, str], sent: tuple[str, str]
) -> None:
    titles = {"called": [one.join(written) for one in called], "calling": [calling.join(written)]}
    entities = read({"a": titles})
    assert entities.tenants == dict.fromkeys(called, "a")
    for one in called:
        assert entities.admit(one.join(sent), calling.join(sent), "", None) == "a"
        assert refusal(entities, one, f"{calling}{calling}", certificate=None)[1] == 3


@given(st.text(max_size=20), st.text(max_size=20))
def test_titles_that_nobody_has_are_refused(called: str, calling: str) -> None:
    entities = ApplicationEntities.from_toml(TWO_HOSPITALS)
    if called.strip(" ") not in entities.tenants:
        code, reason = refusal(entities, called, calling, certificate=None)
        assert (code, reason) == ("called-ae-title-unknown", 7)


@given(st.text())
def test_lower_knows_ascii_alone(name: str) -> None:
    assert lower(name) == "".join(one.lower() if one.isascii() else one for one in name)
    assert lower(lower(name)) == lower(name)


NETWORKS = ["10.0.0.0/8", "10.2.0.0/16", "192.0.2.7", "::1", "2001:db8::/32"]
ADDRESSES = ["10.1.0.1", "10.2.0.1", "::ffff:10.2.0.1", "192.0.2.7", "::1", "2001:db8::9", "::2"]
PRINTS = ["aa" * 32, "bb" * 32, "cc" * 32]
NAMES = ["a.example", "b.example", "c.example"]


@dataclass
class Rules:
    """What a tenant's table says, kept apart for the test's own reading of it."""

    addresses: list[str]
    calling: list[str]
    certificates: list[str] = field(default_factory=list)

    def table(self, title: str) -> dict[str, list[str]]:
        keys = ("addresses", "calling", "certificates")
        lists = {key: getattr(self, key) for key in keys if getattr(self, key)}
        return {"called": [title], **lists}


@st.composite
def rules(draw: st.DrawFn) -> list[Rules]:
    found = draw(
        st.lists(
            st.builds(
                Rules,
                st.lists(st.sampled_from(NETWORKS), max_size=2, unique=True),
                st.lists(st.sampled_from(["CT1", "MR2"]), max_size=2, unique=True),
            ),
            min_size=1,
            max_size=3,
        )
    )
    for one in [*NAMES[:2], *(f"sha256:{print_}" for print_ in PRINTS[:2])]:
        if (owner := draw(st.none() | st.sampled_from(found))) is not None:
            owner.certificates.append(one)
    return found


CERTIFICATES = st.builds(
    Certificate, st.frozensets(st.sampled_from(NAMES)), st.sampled_from(PRINTS)
)


def is_near(one: Rules, address: str) -> bool:
    number = ip_address(address.removeprefix("::ffff:"))
    return not one.addresses or any(
        network.version == number.version
        and int(network.network_address) <= int(number) <= int(network.broadcast_address)
        for network in map(ip_network, one.addresses)
    )


def listing(found: list[Rules], certificate: Certificate) -> list[Rules]:
    exact = [one for one in found if f"sha256:{certificate.fingerprint}" in one.certificates]
    return exact or [one for one in found if certificate.names & set(one.certificates)]


@given(
    rules(),
    st.sampled_from(ADDRESSES),
    st.none() | CERTIFICATES,
    st.sampled_from(["CT1", "MR2", "XX3"]),
)
def test_rules_hold_for_every_tenant(
    found: list[Rules], address: str, certificate: Certificate | None, calling: str
) -> None:
    titles = {f"T{number}": one for number, one in enumerate(found)}
    entities = read({title.lower(): one.table(title) for title, one in titles.items()})
    assert entities.allows_address(address) == any(is_near(one, address) for one in found)
    assert entities.needs_certificates == any(one.certificates for one in found)
    owners = listing(found, certificate) if certificate else []
    inside = [
        one
        for one in found
        if is_near(one, address)
        and (len(owners) == 1 and owners[0] is one if owners else not one.certificates)
    ]
    _, nobody = refusal(entities, "NOBODY", calling, address, certificate)
    assert nobody == (7 if inside else 1)
    for title, one in titles.items():
        if not any(one is other for other in inside):
            # For those outside a title of theirs is like one that nobody has.
            code, reason = refusal(entities, title, calling, address, certificate)
            assert reason == nobody
            assert (code == "address-not-allowed") == (not is_near(one, address))
        elif one.calling and calling not in one.calling:
            assert refusal(entities, title, calling, address, certificate)[1] == 3
        else:
            assert entities.admit(title, calling, address, certificate) == title.lower()


ANY_NETWORK = st.builds(
    lambda number, bits: ip_network((number >> (32 - bits) << (32 - bits), bits)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
) | st.builds(
    lambda number, bits: ip_network((number >> (128 - bits) << (128 - bits), bits)),
    st.integers(2**48, 2**128 - 1),
    st.integers(0, 128),
)


ANY_ADDRESS = st.ip_addresses().map(lambda one: getattr(one, "ipv4_mapped", None) or one)


@given(st.lists(ANY_NETWORK, min_size=1, max_size=3, unique=True), ANY_ADDRESS)
def test_no_address_outside_the_networks(networks: list[object], address: object) -> None:
    entities = read({"a": {"called": ["A"], "addresses": [str(one) for one in networks]}})
    inside = any(address in one for one in networks)  # type: ignore[operator]
    texts = [str(address)] + ([f"::ffff:{address}"] if "." in str(address) else [])
    for text in texts:
        assert entities.allows_address(text) == inside
        if inside:
            assert entities.admit("A", "", text, None) == "a"
        else:
            assert refusal(entities, "A", address=text) == ("address-not-allowed", 1)
