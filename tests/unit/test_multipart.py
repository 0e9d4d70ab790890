"""Multipart bodies: exact header case, lengths, boundaries, no buffering."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from functools import partial

from pacsless.multipart import Multipart, Part


def body_of(multipart: Multipart) -> bytes:
    return b"".join(multipart)


def test_another_parser_reads_the_parts_back() -> None:
    contents = [b"\r\n--not a boundary--\r\n", b"", bytes(range(256)) * 40]
    multipart = Multipart(
        [
            Part("application/octet-stream; transfer-syntax=1.2", len(data), partial(list, [data]))
            for data in contents
        ],
        "application/octet-stream",
    )
    head = f"MIME-Version: 1.0\r\nContent-Type: {multipart.content_type}\r\n\r\n".encode()
    message = message_from_bytes(head + body_of(multipart))
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert all(isinstance(part, Message) for part in parts)
    assert message.get_param("type") == "application/octet-stream"
    # The standard library's parser ends lines its own way, so sizes tell enough here.
    assert [part["Content-Length"] for part in message.walk() if part is not message] == [
        str(len(data)) for data in contents
    ]


def test_headers_are_spelt_as_cornerstone_compares_them() -> None:
    part = Part(
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80",
        3,
        lambda: [b"abc"],
        "/dicom-web/studies/1/frames/1",
    )
    multipart = Multipart([part], "application/octet-stream", "b")
    assert body_of(multipart) == (
        b"--b\r\n"
        b"Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80\r\n"
        b"Content-Length: 3\r\n"
        b"Content-Location: /dicom-web/studies/1/frames/1\r\n"
        b"\r\nabc\r\n--b--\r\n"
    )


def test_the_length_is_the_bodys() -> None:
    parts = [Part("a/b", 5, lambda: [b"12", b"345"]), Part("a/b", 0, list)]
    multipart = Multipart(parts, "a/b")
    assert multipart.content_length == len(body_of(multipart))
    assert Multipart([], "a/b").content_length == len(body_of(Multipart([], "a/b")))


def test_an_unknown_part_makes_the_length_unknown() -> None:
    assert Multipart([Part("a/b", None, list)], "a/b").content_length is None


def test_the_length_of_parts_to_come_is_unknown_and_they_are_left_alone() -> None:
    multipart = Multipart((part for part in [Part("a/b", 1, lambda: [b"x"])]), "a/b", "b")
    assert multipart.content_length is None
    assert body_of(multipart).endswith(b"\r\n\r\nx\r\n--b--\r\n")


def test_boundaries_are_long_and_never_the_same() -> None:
    boundaries = {Multipart([], "a/b").boundary for _ in range(100)}
    assert len(boundaries) == 100
    assert all(len(boundary) == 32 for boundary in boundaries)


def test_parts_are_read_when_their_turn_comes() -> None:
    read: list[int] = []

    def body(number: int) -> Iterator[bytes]:
        read.append(number)
        yield b"x"

    multipart = Multipart([Part("a/b", 1, partial(body, number)) for number in range(3)], "a/b")
    sending = iter(multipart)
    assert read == []
    next(sending)
    next(sending)
    assert read == [0]
    list(sending)
    assert read == [0, 1, 2]


def test_parts_of_an_iterator_are_made_as_their_turns_come() -> None:
    made: list[int] = []

    def parts() -> Iterator[Part]:
        for number in range(2):
            made.append(number)
            yield Part("image/png", 1, [b"x"].__iter__)

    body = Multipart(parts(), "image/png", "b")
    assert body.content_length is None
    chunks = iter(body)
    assert next(chunks).startswith(b"--b\r\n")
    assert made == [0]
    assert b"".join(chunks).endswith(b"\r\n--b--\r\n")
    assert made == [0, 1]
