"""Layers, each made once for the same inputs and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from images import elf
from images.layout import HERE, LAYERS
from images.tree import Tree


@dataclass(frozen=True, slots=True)
class Component:
    """A piece of software somebody else made, for the bill of materials."""

    purl: str
    name: str
    version: str
    licence: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer on disk, and what is known of it."""

    digest: str
    size: int
    components: tuple[Component, ...] = ()
    wanted: dict[str, str] = field(default_factory=dict)
    provided: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The uncompressed layer."""
        return LAYERS / f"{self.digest}.tar"


Contents = tuple[Tree, list[Component]]


def made(inputs: object, make: Callable[[], Contents], said: Callable[[], None]) -> Layer:
    """Return the layer of some inputs, making it if it is not there.

    Parameters
    ----------
    inputs
        All that its bytes follow from, beside this package; of JSON's types.
    make
        Makes its tree and tells what is in it.
    said
        Called before it is made.
    """
    text = json.dumps([_program(), inputs], sort_keys=True)
    record = LAYERS / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if record.exists():
        layer = _read(json.loads(record.read_text()))
        if layer.file.exists():
            return layer
    said()
    tree, components = make()
    content = tree.layer()
    layer = Layer(
        hashlib.sha256(content).hexdigest(),
        len(content),
        tuple(sorted(components, key=lambda one: one.purl)),
        elf.wanted(tree),
        tuple(elf.provided(tree)),
    )
    LAYERS.mkdir(parents=True, exist_ok=True)
    for file, written in (
        (layer.file, content),
        (record, json.dumps(asdict(layer)).encode()),
    ):
        part = file.with_suffix(".part")
        part.write_bytes(written)
        part.rename(file)
    return layer


def sweep(used: set[str]) -> None:
    """Remove layers that no image has any more, and what is known of them."""
    for record in LAYERS.glob("*.json"):
        if json.loads(record.read_text())["digest"] not in used:
            record.unlink()
    for file in LAYERS.glob("*.tar"):
        if file.stem not in used:
            file.unlink()


def _read(known: dict[str, Any]) -> Layer:
    return Layer(
        known["digest"],
        known["size"],
        tuple(Component(**one) for one in known["components"]),
        known["wanted"],
        tuple(known["provided"]),
    )


@cache
def _program() -> str:
    # What is in the recipes comes in as inputs; how images are written does not matter here.
    parts = ("debian.py", "elf.py", "tree.py", "wheels.py", "contents.py", "layers.py")
    return hashlib.sha256(b"".join((HERE / one).read_bytes() for one in parts)).hexdigest()
