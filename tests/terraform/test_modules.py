"""Terraform's own checks, and whether what goes into the chart fits it: some seconds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from pacsless.chart_values import CHART, PROFILES, values
from tests.chart.helm import helm
from tests.services import REPOSITORY
from tests.terraform.tools import Terraform

ROOT = REPOSITORY / "terraform"
MODULES = sorted(path.parent for path in ROOT.glob("modules/*/main.tf"))
DORIS = {
    "front_end": "http://doris-fe.example:8030",
    "mysql": "doris-fe.example:9030",
    "redirect_hosts": [".doris-be.example:8040"],
    "database": "pacsless",
    "user": "pacsless",
}
INPUTS: dict[str, Any] = {
    "region": "eu-central-1",
    "archive": {"bucket": "images", "prefix": "dicom"},
    "allow_delete": False,
    "service_account": "pacsless",
    "role_arn": "arn:aws:iam::123456789012:role/pacsless",
    "storage_class": "pacsless-encrypted",
    "kafka_bootstrap_servers": ["b-1.kafka.example:9094", "b-2.kafka.example:9094"],
    "secret_names": {"postgres": "pg", "redis": "cache", "doris": "warehouse"},
}


def copy(tmp_path: Path) -> Path:
    """Terraform's files, where it may write beside them."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    return Path(shutil.copytree(ROOT, tmp_path / "terraform", ignore=ignored))


def test_files_are_formatted(tmp_path: Path) -> None:
    Terraform(ROOT, tmp_path).run("fmt", "-check", "-diff", "-recursive")


@pytest.mark.parametrize("example", ["dev", "prod"])
def test_examples_are_valid(example: str, tmp_path: Path) -> None:
    terraform = Terraform(copy(tmp_path) / "examples" / example, tmp_path)
    terraform.init()
    told = json.loads(terraform.run("validate", "-json").stdout)
    assert (told["valid"], told["diagnostics"]) == (True, [])


@pytest.fixture(params=[None, DORIS], ids=["stand-in", "doris"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Values as the module writes them, which needs no provider."""
    terraform = Terraform(copy(tmp_path) / "modules" / "helm-values", tmp_path)
    inputs = terraform.folder / "test.auto.tfvars.json"
    inputs.write_text(json.dumps({**INPUTS, "doris": request.param}))
    terraform.init()
    terraform.run("apply", "-auto-approve", "-no-color")
    found: dict[str, Any] = yaml.safe_load(terraform.run("output", "-raw", "yaml").stdout)
    return found


def paths(found: dict[str, Any], there: set[str], start: str = "") -> list[str]:
    """Keys down to those whose insides are the user's, as annotations are."""
    keys = []
    for name, value in found.items():
        path = f"{start}{name}"
        inside = any(one.startswith(f"{path}.") for one in there)
        keys += paths(value, there, f"{path}.") if inside else [path]
    return keys


def test_the_chart_has_every_key(made: dict[str, Any]) -> None:
    there = {path for path, _, _ in values((CHART / "values.yaml").read_text().splitlines())}
    assert {"archive.s3.bucket", "kafka.bootstrapServers", "profile"} <= there
    assert "production" in PROFILES
    dev = yaml.safe_load((ROOT / "examples" / "dev" / "values.yaml").read_text())
    for found in (made, dev):
        assert [path for path in paths(found, there) if path not in there] == []


def test_the_chart_takes_the_values(made: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert [one.message for one in Draft7Validator(schema).iter_errors(made)] == []
    manifests = helm(4).template(made, "--api-versions=keda.sh/v1alpha1/ScaledObject")
    assert {"ScaledObject", "StatefulSet"} <= {one["kind"] for one in manifests}
    claims = [one for one in manifests if one["kind"] == "PersistentVolumeClaim"]
    for one in manifests:
        if one["kind"] == "StatefulSet":
            claims += one["spec"].get("volumeClaimTemplates", [])
    # EKS marks no class as the default.
    assert claims and all(one["spec"].get("storageClassName") for one in claims)


def test_a_secret_is_a_name(made: dict[str, Any]) -> None:
    assert made["postgres"] == {"source": "external", "existingSecret": "pg"}
    assert made["redis"] == {"source": "external", "existingSecret": "cache"}
    assert made["doris"].get("existingSecret", "warehouse") == "warehouse"
    assert not made["archive"]["s3"].keys() & {"existingSecret", "secretKey"}


@pytest.mark.parametrize("module", [ROOT, *MODULES], ids=lambda path: path.name)
def test_what_can_be_set_is_described(module: Path) -> None:
    for file in ("variables.tf", "outputs.tf"):
        text = (module / file).read_text()
        blocks = len(re.findall(r"^(?:variable|output) ", text, re.MULTILINE))
        assert blocks and blocks == text.count("\n  description "), f"{module.name}/{file}"
    assert (module / "versions.tf").exists() and (module / "README.md").exists()
