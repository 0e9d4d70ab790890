"""The example for development is made, changes nothing when applied again, and is gone after.

What moto cannot do is said in `tests.terraform.aws`. Takes some minutes, most of which
the provider waits before it first asks whether a database is ready.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.services import REPOSITORY
from tests.terraform.aws import FORGOTTEN, SERVICES, Aws
from tests.terraform.msk import REGION
from tests.terraform.tools import Terraform

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    made = Aws()
    yield made
    made.stop()


def example(name: str, aws: Aws, work: Path) -> Terraform:
    """An example as it is, but for where AWS is and what moto forgets."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(REPOSITORY / "terraform", work / "terraform", ignore=ignored)
    folder = work / "terraform" / "examples" / name
    # Terraform merges overrides into blocks; the modules themselves know nothing of moto.
    (folder / "provider_override.tf.json").write_text(
        json.dumps(
            {
                "provider": {
                    "aws": {
                        "region": REGION,
                        "access_key": "none",
                        "secret_key": "none",
                        "skip_credentials_validation": True,
                        "skip_metadata_api_check": True,
                        "s3_use_path_style": True,
                        "endpoints": dict.fromkeys(SERVICES, aws.endpoint),
                    }
                }
            }
        )
    )
    for module, resources in FORGOTTEN.items():
        override: dict[str, Any] = {}
        for address, attributes in resources.items():
            kind, name = address.split(".")
            lifecycle = {"lifecycle": {"ignore_changes": attributes}}
            override.setdefault(kind, {})[name] = lifecycle
        place = work / "terraform" / "modules" / module / "moto_override.tf.json"
        place.write_text(json.dumps({"resource": override}))
    terraform = Terraform(folder, work)
    terraform.init()
    return terraform


@pytest.fixture(scope="module")
def dev(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return example("dev", aws, tmp_path_factory.mktemp("dev"))


@pytest.fixture(scope="module")
def applied(dev: Terraform, aws: Aws) -> Iterator[dict[str, Any]]:
    """Outputs of the example, which is there while tests look."""
    assert aws.left() == {}
    dev.run("apply", "-auto-approve", "-no-color", "-parallelism=20")
    yield {
        name: one["value"] for name, one in json.loads(dev.run("output", "-json").stdout).items()
    }
    # A test that has failed before its end leaves it to us; an empty state is destroyed, too.
    dev.run("destroy", "-auto-approve", "-no-color", "-parallelism=20")


def test_the_values_name_what_was_made(applied: dict[str, Any], aws: Aws) -> None:
    values = yaml.safe_load(applied["helm_values"])
    deployment = applied["deployment"]
    assert values["archive"]["s3"] == {
        "bucket": deployment["archive_bucket"],
        "prefix": "",
        "region": REGION,
    }
    assert aws.left()["buckets"] == [deployment["archive_bucket"]]
    assert values["kafka"]["bootstrapServers"] == [
        f"b-{i}.pacsless-dev.msk.example:9094" for i in (1, 2)
    ]
    role = values["serviceAccount"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert role == deployment["archive_role_arns"]["pacsless"]
    assert role.rpartition("/")[2] in aws.left()["roles"]


def test_no_secret_has_a_value(applied: dict[str, Any], dev: Terraform) -> None:
    assert set(applied["deployment"]["secret_arns"]) == {"postgres", "redis"}
    state = json.loads(dev.run("state", "pull").stdout)
    told = [
        (resource["type"], name)
        for resource in state["resources"]
        for instance in resource["instances"]
        for name, value in instance["attributes"].items()
        if value and name in {"password", "auth_token", "secret_string", "passwords"}
    ]
    assert told == []


def test_roles_have_no_more_than_they_need(applied: dict[str, Any], dev: Terraform) -> None:
    state = json.loads(dev.run("show", "-json").stdout)
    policies = {
        one["address"]: json.loads(one["values"]["policy"])
        for one in resources(state["values"]["root_module"])
        if one["type"] == "aws_iam_role_policy"
    }
    assert len(policies) == 3  # the archive's, the secrets', the flow logs'
    for address, policy in policies.items():
        for statement in policy["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert "*" not in action and "Version" not in action, address
            assert statement["Resource"] != "*", address


def resources(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def test_the_example_for_production_is_protected(aws: Aws, tmp_path: Path) -> None:
    prod = example("prod", aws, tmp_path)
    (prod.folder / "test.auto.tfvars.json").write_text(
        json.dumps(
            {
                "region": REGION,
                "doris": {
                    "front_end": "http://fe.example:8030",
                    "mysql": "fe.example:9030",
                    "redirect_hosts": ["be.example:8040"],
                },
            }
        )
    )
    prod.init()
    prod.run("plan", "-out=plan", "-no-color", "-parallelism=20")
    plan = json.loads(prod.run("show", "-json", "plan").stdout)
    planned = {
        one["type"]: one.get("values", {})
        for one in resources(plan["planned_values"]["root_module"])
    }
    database = planned["aws_db_instance"]
    assert database["deletion_protection"] and database["multi_az"]
    assert database["storage_encrypted"] and not database["publicly_accessible"]
    assert not database["skip_final_snapshot"]
    assert planned["aws_s3_bucket"]["force_destroy"] is False
    assert planned["aws_kms_key"]["deletion_window_in_days"] == 30
    assert planned["aws_msk_cluster"]["number_of_broker_nodes"] == 3
    (api,) = planned["aws_eks_cluster"]["vpc_config"]
    assert api["endpoint_public_access"] is False
    assert planned["aws_elasticache_replication_group"]["automatic_failover_enabled"] is True


def test_a_second_plan_changes_nothing(applied: dict[str, Any], dev: Terraform) -> None:
    plan = dev.run("plan", "-detailed-exitcode", "-no-color", "-parallelism=20", may_fail=True)
    assert plan.returncode == 0, plan.stdout[-6000:] + plan.stderr[-3000:]


def test_nothing_is_left_when_it_is_destroyed(
    applied: dict[str, Any], dev: Terraform, aws: Aws
) -> None:
    assert len(aws.left()) > 10
    dev.run("destroy", "-auto-approve", "-no-color", "-parallelism=20")
    assert aws.left() == {}
