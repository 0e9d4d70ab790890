"""What STOW-RS reads and tells, without a server."""

from __future__ import annotations

import gzip
import io
import zlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.stow_rs.attributes import Bulk
from functions.stow_rs.body import Inflated, Paced, TooLarge, TooSlow, read_parts
from functions.stow_rs.outcome import Outcome, http_status, response_module
from pacsless.errors import BadRequest
from pacsless.storage import Status


class Trickle:
    """A stream that gives few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = io.BytesIO(data), sizes

    def read(self, size: int) -> bytes:
        wanted = self._sizes.pop() if self._sizes else size
        return self._data.read(min(wanted, size))


@given(
    st.lists(st.binary(max_size=300), max_size=5),
    st.lists(st.integers(1, 40), max_size=200),
    st.text("abc'()+_,-./:=?0", min_size=1, max_size=70),
    st.binary(max_size=50),
)
def test_parts_are_read_however_they_arrive(
    contents: list[bytes], sizes: list[int], boundary: str, preamble: bytes
) -> None:
    mark = b"--" + boundary.encode()
    if any(mark in one for one in (preamble, *contents)):
        return
    body = b"".join(b"\r\n" + mark + b"\r\nA: b\r\n\r\n" + one for one in contents)
    body = preamble + body + b"\r\n" + mark + b"--"
    if not contents:
        body = preamble + b"\r\n" + mark + b"--"
    found: list[bytes] = []
    for event in read_parts(Trickle(body + b"\r\nepilogue", sizes), boundary.encode()):
        match event:
            case dict():
                assert event == {"a": "b"}
                found.append(b"")
            case bytes():
                found[-1] += event
    assert found == contents


@given(st.binary(max_size=2000), st.lists(st.integers(1, 50), max_size=100), st.booleans())
def test_what_is_compressed_is_read_however_it_arrives(
    data: bytes, sizes: list[int], members: bool
) -> None:
    packed = gzip.compress(data) * (2 if members else 1) if members else zlib.compress(data)
    stream = Inflated(Trickle(packed, sizes))
    read = b"".join(iter(lambda: stream.read(64), b""))
    assert read == data * (2 if members else 1)


@given(st.binary(min_size=1, max_size=500), st.integers(0, 400))
def test_what_is_cut_off_is_told(data: bytes, at: int) -> None:
    packed = gzip.compress(data)
    stream = Inflated(io.BytesIO(packed[: min(at, len(packed) - 1)]))
    with pytest.raises(BadRequest):
        for _ in iter(lambda: stream.read(64), b""):
            pass


def test_what_decodes_to_too_much_is_refused() -> None:
    packed = zlib.compress(bytes(100 << 20))
    stream = Inflated(io.BytesIO(packed))
    sizes: list[int] = []
    with pytest.raises(TooLarge):
        sizes.extend(len(chunk) for chunk in iter(lambda: stream.read(1 << 20), b""))
    assert max(sizes) <= 1 << 20
    assert sum(sizes) <= 65 << 20


def test_who_is_too_slow_is_hung_up_on() -> None:
    now = 0.0
    ended: list[bool] = []

    class Silent:
        def read(self, size: int) -> bytes:
            nonlocal now
            now += 61
            assert body.waited == 61
            body.end()
            assert ended == [True]
            raise OSError("the connection is gone")

    body = Paced(Silent(), lambda: ended.append(True), clock=lambda: now)
    with pytest.raises(TooSlow):
        body.read(10)
    assert body.waited == 0


def test_who_is_hung_up_on_may_just_end() -> None:
    """gunicorn gives no bytes, where a connection of a stated length ends."""

    class Ending:
        def read(self, size: int) -> bytes:
            body.end()
            return b""

    body = Paced(Ending(), lambda: None, length=10)
    with pytest.raises(TooSlow):
        body.read(10)


@given(st.binary(max_size=100), st.integers(0, 120))
def test_a_body_is_as_long_as_was_said(data: bytes, length: int) -> None:
    body = Paced(io.BytesIO(data[:length]), lambda: None, length=length)
    if len(data) >= length:
        assert b"".join(iter(lambda: body.read(7), b"")) == data[:length]
    else:
        with pytest.raises(BadRequest):
            list(iter(lambda: body.read(7), b""))


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_connection_that_ends_is_told(error: type[Exception]) -> None:
    class Gone:
        def read(self, size: int) -> bytes:
            raise error

    with pytest.raises(BadRequest):
        Paced(Gone(), lambda: None).read(10)


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 30))
def test_pieces_are_one_even_file(pieces: list[bytes], size: int) -> None:
    file, places = io.BytesIO(), []
    for one in pieces:
        file.write(b"between")
        places.append((file.tell(), len(one)))
        file.write(one)
    whole = b"".join(pieces)
    bulk = Bulk(file, "", "", places)
    reader = bulk.open()
    assert bulk.size == len(whole)
    assert b"".join(iter(lambda: reader.read(size), b"")) == whole + b"\0" * (len(whole) % 2)
    assert reader.seek(0, 2) == len(whole) + len(whole) % 2


STORED = Outcome(Status.SUCCESS, "1.2", "1.3", "http://h/studies/1", "http://h/studies/1/i")
FAILED = Outcome(Status.CANNOT_UNDERSTAND, "1.2", "1.4")
FULL = Outcome(Status.OUT_OF_RESOURCES)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([STORED], HTTPStatus.OK),
        ([STORED, FAILED], HTTPStatus.ACCEPTED),
        ([STORED, FULL], HTTPStatus.ACCEPTED),
        ([FAILED], HTTPStatus.CONFLICT),
        ([FAILED, FULL], HTTPStatus.CONFLICT),
        ([FULL, FULL], HTTPStatus.SERVICE_UNAVAILABLE),
    ],
)
def test_the_status_is_honest(outcomes: list[Outcome], status: HTTPStatus) -> None:
    assert http_status(outcomes) == status


def test_the_module_says_what_became_of_each() -> None:
    module = response_module([STORED, FAILED, FULL])
    assert list(module) == sorted(module)
    assert module["00081190"] == {"vr": "UR", "Value": ["http://h/studies/1"]}
    (failed,) = module["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.4"]
    assert failed["00081197"] == {"vr": "US", "Value": [0xC000]}
    (stored,) = module["00081199"]["Value"]
    assert stored["00081190"]["Value"] == ["http://h/studies/1/i"]
    assert module["0008119A"]["Value"] == [{"00081197": {"vr": "US", "Value": [0xA700]}}]


def test_instances_of_several_studies_have_no_common_address() -> None:
    other = Outcome(Status.SUCCESS, "1.2", "1.3", "http://h/studies/2", "x")
    assert "00081190" not in response_module([STORED, other])
