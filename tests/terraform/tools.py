"""The terraform program and its provider for AWS, wherever they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

_NO_PROVIDER = (
    "no provider hashicorp/aws can be had: neither from its registry nor from a copy on this "
    "machine; name the folder of one in TERRAFORM_PLUGINS (docs/terraform.md)"
)
_COPIES = ("/opt/tf-plugins", "/usr/share/terraform/plugins", "~/.terraform.d/plugins")


class Terraform:
    """Terraform in one folder.

    Parameters
    ----------
    folder
        With a root module.
    work
        For the provider and the command's configuration; may be shared.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder = folder
        program = shutil.which("terraform")
        if program is None:
            pytest.skip("there is no terraform: see docs/terraform.md for where it comes from")
        self._program = program
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            # Nothing of whoever's account this machine knows.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        if copy := _copy():
            rc = work / "terraformrc"
            rc.write_text(
                "provider_installation {\n"
                f"  filesystem_mirror {{\n    path = {json.dumps(str(copy))}\n  }}\n}}\n"
            )
            self._environ["TF_CLI_CONFIG_FILE"] = str(rc)

    def run(self, *command: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command; what it says is in the failure, if it fails."""
        done = subprocess.run(
            [self._program, *command], cwd=self.folder, env=self._environ,
            capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        if done.returncode and not may_fail:
            pytest.fail(
                f"terraform {' '.join(command)} in {self.folder.name}:\n"
                f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def init(self) -> None:
        """Get modules and provider ready; without a provider the test is skipped."""
        done = self.run("init", "-no-color", "-backend=false", may_fail=True)
        if done.returncode:
            said = done.stdout + done.stderr
            reasons = ("Failed to query available provider packages", "Failed to install provider")
            if any(one in said for one in reasons):
                pytest.skip(_NO_PROVIDER)
            pytest.fail(f"terraform init:\n{said}")


def _copy() -> Path | None:
    named = os.environ.get("TERRAFORM_PLUGINS")
    for place in [named] if named else _COPIES:
        path = Path(place).expanduser()
        if any(path.glob("registry.terraform.io/hashicorp/aws/*")):
            return path
    return None
