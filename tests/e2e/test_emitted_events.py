"""What the parts really put on Kafka obeys the schemas and names no patient in its keys."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from jsonschema import Draft202012Validator, FormatChecker
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from pacsless.bus import Consumer, Message
from pacsless.events import EVENTS, TOPICS
from tests.e2e.conftest import Stack, temporary_stack
from tests.e2e.test_samples import quiet, send
from tests.eventually import eventually
from tests.instances import encode, make_dataset, write_series

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}/[0-9.]{0,64}")


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack of its own, where something may be deleted that others would count."""
    environ = {"PACSLESS_RECONCILE_REPAIR": "no", "PACSLESS_DELETE": "yes"}
    with temporary_stack(request, environ) as running:
        yield running


@pytest.fixture(scope="module")
def emitted(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    """Every record on every topic, after something of each kind has happened."""
    folder = tmp_path_factory.mktemp("emitted")
    _, paths = write_series(folder, 2)
    # Big Endian and Deflated make conversions, several compressed frames an index of them; a
    # repeat and a broken file make log events.
    broken = folder / "broken.dcm"
    broken.write_bytes(paths[0].read_bytes()[:300])
    for number, syntax in enumerate((ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)):
        paths.append(folder / f"converted-{number}.dcm")
        paths[-1].write_bytes(encode(make_dataset(pixels=bytes(8)), syntax))
    frames = make_dataset(NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    frames.PixelData = encapsulate([bytes(64), bytes(64)])
    frames["PixelData"].VR = "OB"
    frames["PixelData"].is_undefined_length = True
    paths.append(folder / "frames.dcm")
    paths[-1].write_bytes(encode(frames, RLELossless))
    send(stack, *paths)
    send(stack, *paths, broken)
    eventually(lambda: quiet(stack), within=120)
    deleted = f"{stack.url}/dicom-web/studies/{frames.StudyInstanceUID}"
    assert urllib3.request("DELETE", deleted).status == 204
    urllib3.request("GET", f"{stack.url}/dicom-web/studies")
    eventually(lambda: quiet(stack), within=120)

    consumer = Consumer(stack.settings.client(), f"pacsless-test-{uuid.uuid4().hex}", "test")
    found: list[Message] = []

    def all_kinds() -> bool:
        found.extend(consumer.poll(0.5))
        kinds = {dict(one.headers)["ce_type"].decode() for one in found}
        # Nothing here fails to convert, and accesses go many to an event since there is one.
        return kinds >= set(EVENTS) - {
            "org.pacsless.instance.conversion-failed.v1",
            "org.pacsless.access.logged.v1",
        }

    try:
        consumer.subscribe(TOPICS, lambda _: None, lambda _: {}, lambda _: None)
        eventually(all_kinds, within=120)
    finally:
        consumer.close()
    return found


def test_every_record_obeys_its_schema(emitted: list[Message]) -> None:
    validators = {}
    for kind in EVENTS:
        text = (ROOT / "schemas/events" / f"{kind.removeprefix('org.pacsless.')}.json").read_text()
        validators[kind] = Draft202012Validator(json.loads(text), format_checker=FormatChecker())
    for message in emitted:
        headers = {name: value.decode() for name, value in message.headers}
        kind = headers["ce_type"]
        assert message.partition.topic == EVENTS[kind].TOPIC
        assert message.value is not None
        data = json.loads(message.value)
        problems = [error.message for error in validators[kind].iter_errors(data)]
        assert not problems, (kind, problems[:3])
        event = EVENTS[kind].from_data(data)
        assert headers["ce_id"] == event.id
        assert headers["ce_subject"] == event.subject
        assert headers["ce_specversion"] == "1.0"


def test_keys_are_tenant_and_study(emitted: list[Message]) -> None:
    for message in emitted:
        assert message.key is not None
        assert KEY.fullmatch(message.key.decode()), message.partition.topic


def test_a_study_stays_on_one_partition(emitted: list[Message]) -> None:
    places: dict[tuple[str, bytes], set[int]] = {}
    for message in emitted:
        assert message.key is not None
        places.setdefault((message.partition.topic, message.key), set()).add(
            message.partition.number
        )
    assert all(len(numbers) == 1 for numbers in places.values())
