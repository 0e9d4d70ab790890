"""The bill of materials of an image, in CycloneDX's JSON."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from images.layers import Component
from images.layout import REPOSITORY
from images.recipes import VERSION, Recipe

_SPACE: Final = uuid.UUID("8b5a4f0e-6a3c-4c0e-9a53-0d5c0f6f1b7e")


def written(recipe: Recipe, components: Iterable[Component], created: int) -> bytes:
    """Return the document, always of the same bytes for the same image.

    Parameters
    ----------
    recipe
        The image.
    components
        What of others is in it.
    created
        When, in seconds of Unix.
    """
    listed = [_component(one) for one in sorted(set(components), key=lambda one: one.purl)]
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "container",
                "bom-ref": recipe.name,
                "name": f"pacsless-{recipe.name}",
                "version": VERSION,
                "description": recipe.summary,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": listed,
    }
    # No random number: it names what is in it.
    serial = uuid.uuid5(_SPACE, json.dumps(document, sort_keys=True))
    return json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=1).encode()


def viewer() -> list[Component]:
    """Return the viewer's packages, as its lock has them; those it is only built with, too."""
    lock = json.loads((REPOSITORY / "viewer" / "package-lock.json").read_text())
    return [
        Component(
            f"pkg:npm/{_name(path).replace('@', '%40')}@{one['version']}",
            _name(path),
            one["version"],
            one["license"] if isinstance(one.get("license"), str) else "",
        )
        for path, one in lock["packages"].items()
        if path and "version" in one
    ]


def _name(path: str) -> str:
    return path.rpartition("node_modules/")[2]


def _component(one: Component) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": one.purl,
        "name": one.name,
        "version": one.version,
        "purl": one.purl,
    }
    if one.licence:
        found["licenses"] = [{"license": {"name": one.licence}}]
    if one.sha256:
        found["hashes"] = [{"alg": "SHA-256", "content": one.sha256}]
    return found
