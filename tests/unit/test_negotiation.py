"""Accept headers as real clients write them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from pacsless.errors import NotAcceptable
from pacsless.negotiation import (
    ANY,
    MediaRange,
    Representation,
    choose,
    parse_accept,
)
from pacsless.representations import ATTRIBUTES

J2K = "1.2.840.10008.1.2.4.90"
EXPLICIT = "1.2.840.10008.1.2.1"
TWO_TYPES = ", ".join(
    (
        'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50',
        f'multipart/related; type="image/jp2"; transfer-syntax={J2K}',
    )
)
NATIVE_FRAME = [
    Representation("application/octet-stream", EXPLICIT, multipart=True),
    Representation("application/octet-stream", EXPLICIT),
]
J2K_FRAME = [
    Representation("application/octet-stream", J2K, multipart=True),
    Representation("image/jp2", J2K, multipart=True),
    Representation("application/octet-stream", J2K),
    Representation("image/jp2", J2K),
]
INSTANCE = [
    Representation("application/dicom", J2K, multipart=True),
    Representation("application/dicom", J2K),
]
MIXED = [Representation("application/dicom", ANY, multipart=True)]
JSON = [Representation("application/dicom+json"), Representation("application/json")]
XML = 'multipart/related; type="application/dicom+xml"'


@pytest.mark.parametrize(
    ("accept", "offers", "expected"),
    [
        # Cornerstone3D and OHIF, with and without omitQuotationForMultipartRequest
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", J2K_FRAME, 0),
        ('multipart/related; type="application/octet-stream"; transfer-syntax=*', J2K_FRAME, 0),
        ("multipart/related;type=application/octet-stream;transfer-syntax=*", NATIVE_FRAME, 0),
        # dicomweb-client
        ('multipart/related; type="application/dicom"', INSTANCE, 0),
        (f'multipart/related; type="application/dicom"; transfer-syntax={J2K}', INSTANCE, 0),
        (TWO_TYPES, J2K_FRAME, 1),
        ('multipart/related; type="*/*"', J2K_FRAME, 0),
        ('multipart/related; type="image/*"', J2K_FRAME, 1),
        ("application/dicom+json, application/json", JSON, 0),
        # browsers, curl, nobody in particular
        ("*/*", INSTANCE, 0),
        (None, INSTANCE, 0),
        ("", JSON, 0),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", INSTANCE, 0),
        ("application/*", JSON, 0),
        # single part
        ("application/dicom", INSTANCE, 1),
        ("application/dicom; transfer-syntax=*", INSTANCE, 1),
        ("image/jp2", J2K_FRAME, 3),
        ("application/octet-stream", NATIVE_FRAME, 1),
        # quality, specificity, case
        ("application/dicom+json;q=0.2, application/json", JSON, 1),
        ("application/dicom+json;q=0, */*", JSON, 1),
        ("multipart/related;type=application/dicom;q=0.5, application/dicom;q=0.6", INSTANCE, 1),
        ("MULTIPART/Related; Type=Application/DICOM; Transfer-Syntax=*", INSTANCE, 0),
        ("*/*;q=0.1, application/json;q=0.05", JSON, 0),
        # metadata and searches: JSON unless XML is wanted more
        (None, ATTRIBUTES, 0),
        ("*/*", ATTRIBUTES, 0),
        ("application/*", ATTRIBUTES, 0),
        ("text/html, */*;q=0.8", ATTRIBUTES, 0),
        ("application/json, application/dicom+json", ATTRIBUTES, 0),
        ("APPLICATION/DICOM+JSON; charset=utf-8", ATTRIBUTES, 0),
        (XML, ATTRIBUTES, 2),
        ("multipart/related;type=application/dicom+xml", ATTRIBUTES, 2),
        ("Multipart/Related; Type=Application/DICOM+XML; charset=utf-8", ATTRIBUTES, 2),
        ("multipart/related", ATTRIBUTES, 2),
        ("multipart/*", ATTRIBUTES, 2),
        (f"{XML}, application/dicom+json", ATTRIBUTES, 0),
        (f"{XML}; q=0.9, application/dicom+json; q=0.8", ATTRIBUTES, 2),
        (f"{XML}; q=0.8, application/dicom+json; q=0.9", ATTRIBUTES, 0),
        (f"{XML}; q=0.5, application/json; q=0.7, application/dicom+json; q=0", ATTRIBUTES, 1),
        (f"{XML}, */*; q=0.5", ATTRIBUTES, 2),
        (f"{XML}; q=0.1, */*; q=0.5", ATTRIBUTES, 0),
        (f"{XML}; q=0, */*", ATTRIBUTES, 0),
        (f"application/dicom+json; q=0, application/json; q=0, {XML}; q=0.001", ATTRIBUTES, 2),
        ("application/dicom+xml, application/json; q=0.1", ATTRIBUTES, 1),
        # rubbish beside something good
        (';;;,"",application/json;q=1', JSON, 1),
        ("application/dicom+json;q=often, application/json;q=0.3", JSON, 1),
        # mixed transfer syntaxes
        ('multipart/related; type="application/dicom"; transfer-syntax=*', MIXED, 0),
        ('multipart/related; type="application/dicom"', MIXED, 0),
    ],
)
def test_the_best_offer_is_chosen(
    accept: str | None, offers: Sequence[Representation], expected: int
) -> None:
    assert choose(accept, offers) is offers[expected]


@pytest.mark.parametrize(
    ("accept", "offers"),
    [
        # No transfer syntax means Explicit VR Little Endian: bytes that a client
        # would take for raw pixels must not be a codestream.
        ('multipart/related; type="application/octet-stream"', J2K_FRAME),
        ("application/octet-stream", J2K_FRAME),
        (
            f"multipart/related; type=application/octet-stream; transfer-syntax={EXPLICIT}",
            J2K_FRAME,
        ),
        (f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}', MIXED),
        (f"application/dicom; transfer-syntax={EXPLICIT}", INSTANCE),
        ("image/png", J2K_FRAME),
        (XML, JSON),
        ("application/dicom+xml", ATTRIBUTES),  # it comes in parts only
        (f"{XML}; q=0", ATTRIBUTES),
        ('multipart/related; type="application/dicom"', ATTRIBUTES),
        (";;,,", ATTRIBUTES),
        ("application/json;q=0, application/dicom+json;q=0.0", JSON),
        ("json", JSON),
        (";", JSON),
    ],
)
def test_what_cannot_be_sent_is_refused(accept: str, offers: Sequence[Representation]) -> None:
    with pytest.raises(NotAcceptable) as refused:
        choose(accept, offers)
    assert offers[0].media_type in refused.value.message


def test_a_refusal_names_the_stored_transfer_syntax() -> None:
    with pytest.raises(NotAcceptable, match=J2K):
        choose("application/octet-stream", J2K_FRAME)


def test_the_query_parameter_goes_before_the_header() -> None:
    assert choose("text/html", INSTANCE, "application/dicom") is INSTANCE[1]
    assert choose("application/dicom+json", ATTRIBUTES, XML) is ATTRIBUTES[2]


def test_a_bare_plus_in_a_query_was_a_plus() -> None:
    assert choose(None, JSON, "application/dicom json; q=0.1") is JSON[0]
    assert (
        choose(None, ATTRIBUTES, "multipart/related; type=application/dicom xml") is ATTRIBUTES[2]
    )
    with pytest.raises(NotAcceptable):
        choose("application/dicom json", JSON)


def test_quoted_strings_hide_separators_and_escapes() -> None:
    header = 'multipart/related; type="a/\\"b,;c"; q=0.25, text/plain'
    assert list(parse_accept(header)) == [
        MediaRange("multipart/related", 'a/"b,;c', "", 0.25),
        MediaRange("text/plain"),
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "a/b;" * 40_000,
        "a/b," * 40_000,
        'a/b;type="' + "\\" * 160_000,
        '"' * 160_000,
        "a/b;q=" + "9" * 160_000,
        "=;," * 50_000,
    ],
    ids=["parameters", "ranges", "escapes", "quotes", "digits", "separators"],
)
def test_reading_takes_linear_time(hostile: str) -> None:
    def seconds(header: str) -> float:
        began = time.process_time()
        list(parse_accept(header))
        return time.process_time() - began

    small = min(seconds(hostile[: len(hostile) // 32]) for _ in range(3))
    # 32 times the length takes 32 times as long; quadratic reading would take 1024.
    assert min(seconds(hostile) for _ in range(3)) < 250 * small + 0.02
