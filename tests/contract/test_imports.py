"""Imports point one way, and each library has one door."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for top in ("pacsless", "functions", "scp-gateway")
    for path in (ROOT / top).rglob("*.py")
    if "node_modules" not in path.parts
)

DOORS = {
    "cloudevents": {"pacsless/codec.py"},
    "kafka": {"pacsless/bus/"},
    "boto3": {"pacsless/archive/s3.py"},
    "botocore": {"pacsless/archive/s3.py"},
    "pg8000": {"pacsless/postgres/"},
    "pymysql": {"pacsless/warehouse_sql.py"},
    "redis": {"pacsless/cache.py"},
    "functions_framework": {"pacsless/handler.py", "pacsless/http_server.py", "pacsless/web.py"},
    "granian": {"pacsless/http_server.py"},
    "duckdb": {"pacsless/warehouse/"},
    "sqlglot": {"pacsless/warehouse/"},
    "matplotlib": {"pacsless/burst/plot.py"},
    "pynetdicom": {"scp-gateway/", "pacsless/send/"},
    "python_multipart": {"functions/stow_rs/body.py"},
    "dicomanonymizer": {"functions/wado_uri/deidentify.py"},
    "orjson": {"pacsless/strict_json.py"},
    "jwt": {"pacsless/oauth2/"},
    "imagecodecs": {"pacsless/rendering/", "functions/transcode/"},
    "PIL": {"pacsless/rendering/"},
    "numpy": {"pacsless/rendering/", "functions/transcode/"},
}
"""Library → the only places that may import it."""

PURE = {
    "pacsless.capabilities",
    "pacsless.columns",
    "pacsless.dicom",
    "pacsless.dicomweb",
    "pacsless.errors",
    "pacsless.events",
    "pacsless.identity",
    "pacsless.multipart",
    "pacsless.negotiation",
    "pacsless.orthanc_ids",
    "pacsless.person_names",
    "pacsless.rendering.image",
    "pacsless.rendering.parameters",
    "pacsless.rendering.picture",
    "pacsless.rendering.report",
    "pacsless.representations",
    "pacsless.statement",
    "pacsless.states",
    "pacsless.storage.answers",
    "pacsless.strict_json",
    "pacsless.times",
}
"""What a function's core may import of the shared package."""

PURE_LIBRARIES = {
    "pydicom",
    "python_multipart",
    "numpy",
    "imagecodecs",
    "PIL",
    "dicomanonymizer",
} | sys.stdlib_module_names
WORLD = {"socket", "subprocess", "urllib", "http", "os", "shutil", "tempfile"}
"""Standard modules that touch the world; ``urllib.parse`` and ``http.HTTPStatus`` do not."""

EFFECTS = {
    "functions/stow_rs/delete.py",
    "functions/extract_tags/remove.py",
    "functions/extract_tags/patients.py",
    "functions/extract_tags/index.py",
    "functions/extract_tags/read.py",
    "functions/qido_rs/search.py",
    "functions/build_metadata/build.py",
    "functions/orthanc/answers.py",
    "functions/orthanc/archives.py",
    "functions/orthanc/changes.py",
    "functions/orthanc/ids.py",
    "functions/orthanc/index.py",
    "functions/orthanc/instances.py",
    "functions/stow_rs/asked.py",
    "functions/stow_rs/files.py",
    "functions/stow_rs/orthanc.py",
    "functions/stow_rs/store.py",
    "functions/stow_rs/storing.py",
    "functions/transcode/frame_index.py",
    "functions/transcode/rendition.py",
    "functions/rendered/other.py",
    "functions/rendered/retrieve.py",
    "functions/wado_rs/bulk_data.py",
    "functions/wado_rs/frames.py",
    "functions/wado_rs/metadata.py",
    "functions/wado_rs/retrieve.py",
    "functions/wado_uri/anonymize.py",
    "functions/wado_uri/pseudonyms.py",
    "functions/wado_uri/retrieve.py",
}
"""Modules that carry a handler's effects: they get their connections as arguments."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Modules a file imports when it runs: imports for type checkers do not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute"
            yield node.module or ""


def within(module: str, allowed: set[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name = name_of(path)
    for module in imports(path):
        top = module.partition(".")[0]
        if name.startswith("pacsless/"):
            assert top not in ("functions", "scp_gateway"), f"{name} imports {module}"
        elif name.startswith("scp-gateway/"):
            assert top != "functions", f"{name} imports {module}"
        else:
            own = ".".join(name.split("/")[:2])
            assert top != "scp_gateway", f"{name} imports {module}"
            assert top != "functions" or within(module, {own}), f"{name} imports {module}"
        assert top != "tests", f"{name} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_each_library_has_one_door(path: Path) -> None:
    name = name_of(path)
    for module in imports(path):
        doors = DOORS.get(module.partition(".")[0])
        assert doors is None or any(name.startswith(door) for door in doors), (
            f"{name} imports {module}: only {', '.join(sorted(doors))} may"
        )


CORES = [
    path
    for path in SOURCES
    if name_of(path).startswith("functions/")
    and path.name not in ("main.py", "routes.py", "__init__.py")
    and name_of(path) not in EFFECTS
]


@pytest.mark.parametrize("path", CORES, ids=name_of)
def test_a_core_is_pure(path: Path) -> None:
    own = ".".join(name_of(path).split("/")[:2])
    for module in imports(path):
        top = module.partition(".")[0]
        assert module in ("urllib.parse", "http") or top not in WORLD, (
            f"{name_of(path)} touches the world: {module}"
        )
        assert within(module, PURE) or top in PURE_LIBRARIES or within(module, {own}), (
            f"{name_of(path)} is a core and imports {module}"
        )


# What opens files; the rest of rendering gets their bytes.
DOORS_OF_RENDERING = {"opened", "other", "render", "uncompressed"}
RENDERING = [
    path
    for path in SOURCES
    if name_of(path).startswith("pacsless/rendering/") and path.stem not in DOORS_OF_RENDERING
]


@pytest.mark.parametrize("path", RENDERING, ids=name_of)
def test_all_of_rendering_but_its_doors_is_pure(path: Path) -> None:
    for module in imports(path):
        top = module.partition(".")[0]
        assert top not in WORLD, f"{name_of(path)} touches the world: {module}"
        assert module.rpartition(".")[2] not in DOORS_OF_RENDERING
        assert within(module, PURE | {"pacsless.rendering"}) or top in PURE_LIBRARIES, (
            f"{name_of(path)} imports {module}"
        )


def test_the_dicom_modules_need_little_but_pydicom() -> None:
    of_dicom = {"pydicom", "pacsless.dicom", "pacsless.errors", "pacsless.strict_json"}
    for path in SOURCES:
        if name_of(path).startswith("pacsless/dicom/"):
            for module in imports(path):
                assert within(module, of_dicom) or (
                    module.partition(".")[0] in sys.stdlib_module_names
                ), f"{name_of(path)} imports {module}"


def test_effects_modules_exist() -> None:
    assert all((ROOT / name).is_file() for name in EFFECTS)
    assert CORES
