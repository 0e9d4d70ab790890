"""Helm, both majors, and what Kubernetes says of its kinds: downloaded once, kept in the cache."""

from __future__ import annotations

import fcntl
import json
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests import wheels

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "pacsless"
MAJORS: Final = {3: ROOT / "requirements" / "chart.txt", 4: ROOT / "requirements" / "cluster.txt"}
KUBERNETES: Final = "v1.34.0"
_CACHE: Final = ROOT / ".pacsless" / "cache" / "chart"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class Refused(Exception):
    """Helm refuses; the text is what it says."""


@dataclass(frozen=True)
class Helm:
    """One Helm."""

    program: Path

    def run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [self.program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(_CACHE), "KUBECONFIG": "/nonexistent"},
        )
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    def lint(self, values: Values) -> None:
        with _file(values) as file:
            self.run("lint", "--strict", CHART, "--values", file)

    def template(self, values: Values, *arguments: str) -> list[Manifest]:
        """Render for the release ``pacsless`` in the namespace ``imaging``."""
        with _file(values) as file:
            text = self.run(
                "template", "pacsless", CHART, "--namespace=imaging", "--values", file, *arguments
            )
        return [one for one in yaml.safe_load_all(text) if one]


@contextmanager
def _file(values: Values) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        yield Path(file.name)


@cache
def helm(major: int) -> Helm:
    """Return a Helm, which is downloaded if it is not there."""
    return Helm(_unpacked(MAJORS[major], "helm"))


@cache
def _unpacked(requirements: Path, name: str) -> Path:
    """Path of a program, or of the wheel with the schemas, which a file of requirements names."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    folder = _CACHE / requirements.stem
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "requirements.txt"
        if not stamp.exists() or stamp.read_text() != requirements.read_text():
            folder.mkdir(exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for wheel in wheels.download(requirements, folder):
                if "kubectl" in wheel.name:
                    wheels.unpack_layer(wheel, {"helm"}, folder)
                    wheel.unlink()
            stamp.write_text(requirements.read_text())
    (found,) = folder.glob(name)
    return found


class Kinds:
    """Kubernetes' own kinds, strictly: a field that is none is an error."""

    def __init__(self) -> None:
        with zipfile.ZipFile(_unpacked(MAJORS[3], "kubernetes_validate-*.whl")) as wheel:
            path = (
                "kubernetes_validate/kubernetes-json-schema/"
                f"{KUBERNETES}-local-strict/_definitions.json"
            )
            document = json.loads(wheel.read(path))
        self._names = {
            (kind["group"], kind["version"], kind["kind"]): name
            for name, definition in document["$defs"].items()
            for kind in definition.get("x-kubernetes-group-version-kind", ())
        }
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource("urn:kinds", resource)

    def knows(self, manifest: Manifest) -> bool:
        return self._key(manifest) in self._names

    def errors(self, manifest: Manifest) -> list[str]:
        """What is wrong with an object of a kind it knows."""
        name = self._names[self._key(manifest)]
        schema = {"$ref": f"urn:kinds#/$defs/{name}"}
        found = Draft202012Validator(schema, registry=self._registry).iter_errors(manifest)
        return [f"{one.json_path}: {one.message}" for one in found]

    @staticmethod
    def _key(manifest: Manifest) -> tuple[str, str, str]:
        group, _, version = manifest["apiVersion"].rpartition("/")
        return group, version, manifest["kind"]


@cache
def kinds() -> Kinds:
    return Kinds()
