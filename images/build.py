"""Makes images: their layers, their bill of materials and their archives."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from images import archive, bill, contents, debian, elf, layers, sources, wheels
from images.debian import Package
from images.layers import Layer
from images.layout import CACHE, OUTPUT, REPOSITORY
from images.packages import LEFT_OUT, PACKAGES
from images.recipes import FUNCTION_REQUIREMENTS, VERSION, Recipe
from images.sources import State
from images.tree import Tree
from pacsless.stack import kafka

_REQUIREMENTS = REPOSITORY / "requirements"


@dataclass(frozen=True, slots=True)
class Image:
    """An image on disk."""

    reference: str
    file: Path
    size: int
    """Bytes of all its layers, uncompressed."""
    fresh: bool
    """Whether it was made now."""


def build(
    wanted: Mapping[str, Recipe], registry: str, *, source: str, fresh: bool
) -> Iterable[Image]:
    """Make images, one after the other.

    Parameters
    ----------
    wanted
        Recipes by name.
    registry
        What stands before the names.
    source
        Address of the repository, for a label; empty for none.
    fresh
        Whether to ask Debian for new versions even if it was asked today.

    Raises
    ------
    ImageError
        If one cannot be made.
    """
    state = sources.state()
    names = {one for group in PACKAGES.values() for one in group}
    names |= {one for recipe in wanted.values() for one in recipe.packages}
    with step("versions of Debian's packages"):
        packages = {one.name: one for one in debian.resolve(sorted(names), fresh=fresh)}
        debian.fetch(list(packages.values()))
    for recipe in wanted.values():
        yield _image(recipe, registry, source, packages, state)


def _image(
    recipe: Recipe, registry: str, source: str, packages: dict[str, Package], state: State
) -> Image:
    stack = _layers(recipe, packages, state)
    have = [name for one in stack for name in one.provided]
    want = {library: path for one in stack for library, path in one.wanted.items()}
    elf.check(recipe.name, want, have)
    components = [component for one in stack for component in one.components]
    if "viewer/dist" in recipe.files:
        components += bill.viewer()
    text = bill.written(recipe, components, state.time)

    def papers() -> layers.Contents:
        tree = Tree()
        tree.file(f"usr/share/sbom/{recipe.name}.cdx.json", text, time=state.time)
        return tree, []

    stack.append(layers.made(["papers", recipe.name, text.decode()], papers, lambda: None))
    reference = f"{registry}/{recipe.name}:{VERSION}"
    labels = labels_of(recipe, state, source)
    size = sum(one.size for one in stack)
    file, record = OUTPUT / f"{recipe.name}.tar", OUTPUT / f"{recipe.name}.json"
    known = {
        "reference": reference,
        "labels": labels,
        "created": state.time,
        "layers": [one.digest for one in stack],
        "recipe": asdict(recipe),
        "size": size,
    }
    written = json.loads(json.dumps(known))
    is_fresh = not file.exists() or not record.exists() or json.loads(record.read_text()) != written
    if is_fresh:
        archive.write(
            file,
            reference,
            recipe,
            [one.file for one in stack],
            labels=labels,
            created=state.time,
        )
        (OUTPUT / f"{recipe.name}.cdx.json").write_bytes(text)
        record.write_text(json.dumps(known, indent=1))
    return Image(reference, file, size, is_fresh)


def sweep() -> None:
    """Remove layers that no image has any more: a change of a file leaves one behind."""
    records = [
        json.loads(one.read_text())
        for one in OUTPUT.glob("*.json")
        if not one.name.endswith(".cdx.json")
    ]
    layers.sweep({digest for one in records for digest in one["layers"]})


def labels_of(recipe: Recipe, state: State, source: str) -> dict[str, str]:
    """Annotations of an image, as the Open Container Initiative names them."""
    found = {
        "title": f"pacsless-{recipe.name}",
        "description": recipe.summary,
        "version": VERSION,
        "revision": state.revision,
        "source": source,
        "licenses": recipe.licences,
    }
    return {f"org.opencontainers.image.{name}": text for name, text in found.items() if text}


def _layers(recipe: Recipe, packages: dict[str, Package], state: State) -> list[Layer]:
    found = [
        _debian("base", PACKAGES["base"], LEFT_OUT, packages, lowest=True),
        _debian(recipe.kind, PACKAGES[recipe.kind], LEFT_OUT, packages),
    ]
    if recipe.packages:
        without = (*LEFT_OUT, *recipe.without)
        found.append(_debian(f"Debian's for {recipe.name}", recipe.packages, without, packages))
    if recipe.requirements:
        found += _wheels(recipe)
    if recipe.jars:
        found.append(_jars())
    shared = {key: place for key, place in recipe.files.items() if key == "pacsless"}
    own = {key: place for key, place in recipe.files.items() if key not in shared}
    if shared:
        found.append(_sources("pacsless", shared, (), state))
    found.append(_sources(recipe.name, own, recipe.folders, state))
    return found


def _debian(
    name: str,
    wanted: Iterable[str],
    without: tuple[str, ...],
    packages: dict[str, Package],
    *,
    lowest: bool = False,
) -> Layer:
    chosen = [packages[one] for one in wanted]
    return layers.made(
        ["debian", [one.sha256 for one in chosen], without, lowest],
        lambda: contents.of_debian(chosen, without, lowest=lowest),
        lambda: say(f"layer {name}: {len(chosen)} packages"),
    )


def _wheels(recipe: Recipe) -> list[Layer]:
    lines = wheels.locked((_REQUIREMENTS / recipe.requirements).read_text())
    shared = wheels.common(_REQUIREMENTS / one for one in FUNCTION_REQUIREMENTS)
    groups = [lines]
    if all(lines.get(name) == one for name, one in shared.items()):
        rest = {name: one for name, one in lines.items() if name not in shared}
        groups = [shared, rest]
    return [
        layers.made(
            ["wheels", sorted(group.values()), LEFT_OUT],
            lambda group=group: contents.of_wheels(group, LEFT_OUT),  # type: ignore[misc]
            lambda group=group: say(  # type: ignore[misc]
                f"layer {'of all functions' if group is shared else recipe.requirements}: "
                f"{len(group)} wheels"
            ),
        )
        for group in groups
        if group
    ]


def _jars() -> Layer:
    digests = Path(kafka.__file__).with_name("jars.sha256").read_text()
    return layers.made(
        ["jars", digests],
        lambda: contents.of_jars(kafka.jars(CACHE.parent)),
        lambda: say("layer of Kafka's jars"),
    )


def _sources(name: str, files: Mapping[str, str], folders: tuple[str, ...], state: State) -> Layer:
    tree, _ = contents.of_sources(files, folders, state.time, compiled=False)
    return layers.made(
        ["sources", tree.digest()],
        lambda: contents.of_sources(files, folders, state.time),
        lambda: say(f"layer of {name}'s files"),
    )


def say(text: str) -> None:
    """Print a line."""
    print(f"images: {text}", flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say how long something took."""
    start = time.monotonic()
    yield
    say(f"{time.monotonic() - start:6.1f} s  {text}")
