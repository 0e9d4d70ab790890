"""Recipes, Dockerfiles, requirements and chart agree on what is in an image."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from images.packages import PACKAGES
from images.recipes import USER, VERSION, Recipe, recipes
from pacsless.functions import load_functions

ROOT = Path(__file__).parents[2]
RECIPES = recipes()


@dataclass
class Dockerfile:
    """What its last stage says, and which locked requirements an earlier one installs."""

    base: str = ""
    user: str = ""
    folder: str = ""
    stop_signal: str = ""
    entry_point: tuple[str, ...] = ()
    requirements: str = ""
    installed: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    environment: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    built: set[str] = field(default_factory=set)


def read(recipe: Recipe) -> Dockerfile:
    text = (ROOT / recipe.dockerfile).read_text()
    text = text.replace("${FUNCTION}", recipe.environment.get("FUNCTION_TARGET", ""))
    found, requirements, arguments = Dockerfile(), "", {}
    for line in re.sub(
        r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    ).splitlines():
        word, _, rest = line.partition(" ")
        parts = shlex.split(rest) if word in ("COPY", "ENV", "LABEL") else rest.split()
        match word:
            case "ARG":
                name, _, value = rest.partition("=")
                arguments[name] = value
            case "FROM":
                base = arguments.get("BASE", "") if parts[0] == "${BASE}" else parts[0]
                found = Dockerfile(base=base)
            case "COPY" if parts[0].startswith("requirements/"):
                requirements = parts[0].removeprefix("requirements/")
            case "COPY" if parts[0].startswith("--from="):
                found.built.add(parts[2].lstrip("/"))
            case "COPY":
                found.files[parts[0]] = parts[1].lstrip("/")
            case "ENV":
                found.environment |= dict(one.split("=", 1) for one in parts)
            case "LABEL":
                found.labels |= dict(one.split("=", 1) for one in parts)
            case "EXPOSE":
                found.ports |= set(map(int, parts))
            case "USER":
                found.user = rest
            case "WORKDIR":
                found.folder = rest
            case "STOPSIGNAL":
                found.stop_signal = rest
            case "ENTRYPOINT":
                found.entry_point = tuple(json.loads(rest))
            case "RUN" if got := re.search(r"--no-install-recommends ([a-z0-9. -]+) &&", rest):
                found.installed |= set(got[1].split())
    found.requirements = requirements
    return found


IMAGES = pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda one: one.name)


@IMAGES
def test_the_dockerfile_starts_it_as_the_recipe_does(recipe: Recipe) -> None:
    found = read(recipe)
    assert found.user == recipe.user == USER == "10001:10001"
    assert found.entry_point == recipe.entry_point
    assert found.folder == recipe.folder
    assert found.stop_signal == recipe.stop_signal
    assert found.ports == set(recipe.ports)
    # PATH is that of the base, which has Python elsewhere.
    assert found.environment | {"PATH": ""} == {**recipe.environment, "PATH": ""}


@IMAGES
def test_the_dockerfile_has_the_recipes_contents(recipe: Recipe) -> None:
    found = read(recipe)
    assert found.requirements == recipe.requirements
    made_there = {"viewer/dist", "functions/*/pyproject.toml"}
    assert found.files == {
        source: place for source, place in recipe.files.items() if source not in made_there
    }
    built = {place for source, place in recipe.files.items() if source in made_there}
    if recipe.requirements:
        built.add("usr/local/lib/python3.11/site-packages")
    if recipe.jars:
        built.add("opt/kafka/lib")
    assert found.built == built
    assert found.installed <= set(recipe.packages)
    assert bool(found.installed) == bool(recipe.packages)
    # A user's Debian must be that of the packages here.
    assert "bookworm" in found.base


@IMAGES
def test_the_dockerfile_has_the_labels(recipe: Recipe) -> None:
    labels = {key.rpartition(".")[2]: text for key, text in read(recipe).labels.items()}
    # A Dockerfile cannot turn a folder's name into an image's.
    labels["title"] = labels["title"].replace("_", "-")
    assert labels == {
        "title": f"pacsless-{recipe.name}",
        "version": VERSION,
        "revision": "${REVISION}",
        "source": "${SOURCE}",
        "licenses": recipe.licences,
    }


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_each_function_has_an_image_and_the_others_are_known() -> None:
    functions = {name.replace("_", "-") for name in load_functions()}
    others = {"scp-gateway", "pacsless", "nginx", "warehouse", "kafka", "postgres", "redis"}
    assert set(RECIPES) == functions | others


@IMAGES
def test_what_it_copies_exists(recipe: Recipe) -> None:
    for source in recipe.files:
        if source != "viewer/dist":
            assert list(ROOT.glob(source)), source
    if recipe.requirements:
        assert (ROOT / "requirements" / recipe.requirements).is_file()


@IMAGES
def test_nothing_in_it_builds_or_installs(recipe: Recipe) -> None:
    packages = {*PACKAGES["base"], *PACKAGES[recipe.kind], *recipe.packages}
    for one in packages:
        assert not re.search(r"(^|-)(gcc|g\+\+|cpp|clang|make|dev|pip|apt|dpkg|venv)$", one), one
    if recipe.requirements:
        text = (ROOT / "requirements" / recipe.requirements).read_text()
        assert not re.search(r"^(pip|setuptools|wheel|uv|pytest|mypy|ruff)==", text, re.MULTILINE)
        # Where packages come from is the builder's business.
        assert not re.search(r"^--|://", text, re.MULTILINE)


def test_a_function_has_no_other_functions_dependencies() -> None:
    for name in ("authorize", "qido_rs", "extract_tags", "transcode"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert not re.search(r"^(imagecodecs|duckdb|pynetdicom|matplotlib)==", text, re.MULTILINE)


def test_nginxs_environment_has_all_names_of_its_template_but_the_functions() -> None:
    template = (ROOT / "charts/pacsless/files/nginx.conf.template").read_text()
    names = set(re.findall(r"\$\{([A-Z0-9_]+)\}", template))
    given = set(RECIPES["nginx"].environment) - {"HOME", "LANG", "PATH"}
    http = {name.upper() for name, one in load_functions().items() if one.kind == "http"}
    assert names - given == http
    assert given <= names


def test_kafkas_settings_are_the_local_stacks() -> None:
    from pacsless.stack import kafka

    def settings(text: str) -> dict[str, str]:
        pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
        return {key: value for key, value in pairs if not key.startswith("#")}

    here = settings((ROOT / "images/kafka/server.properties").read_text())
    there = settings(Path(kafka.__file__).read_text().split('"""')[3])
    places = {
        "listeners",
        "advertised.listeners",
        "controller.quorum.bootstrap.servers",
        "log.dirs",
    }
    assert {k: v for k, v in here.items() if k not in places} == {
        k: v for k, v in there.items() if k not in places
    }
