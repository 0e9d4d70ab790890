"""Settings come from the environment and keep their secrets out of sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacsless.settings import InvalidSetting, Settings


def test_the_environment_overrides_defaults() -> None:
    settings = Settings.from_environ(
        {
            "PACSLESS_ARCHIVE": "s3://bucket/prefix",
            "PACSLESS_KAFKA": "a:9092, b:9092,",
            "PACSLESS_MEMORY_LIMIT_MB": " 512 ",
            "PACSLESS_UNKNOWN": "ignored",
            "HOME": "/nowhere",
        }
    )
    assert settings.archive == "s3://bucket/prefix"
    assert settings.kafka == ("a:9092", "b:9092")
    assert settings.memory_limit_mb == 512
    assert settings.tenant == Settings().tenant


def test_a_number_must_be_one() -> None:
    with pytest.raises(InvalidSetting, match="PACSLESS_MEMORY_LIMIT_MB"):
        Settings.from_environ({"PACSLESS_MEMORY_LIMIT_MB": "plenty"})


@pytest.mark.parametrize("level", ["TRACE", "debug", ""])
def test_a_log_level_must_be_one(level: str) -> None:
    with pytest.raises(InvalidSetting, match="PACSLESS_LOG_LEVEL is none of DEBUG, INFO"):
        Settings.from_environ({"PACSLESS_LOG_LEVEL": level})


def test_passwords_do_not_show() -> None:
    shown = repr(
        Settings(
            postgres="postgresql://u:hidden1@h/d",
            redis="redis://:hidden2@h/0",
            doris_password="hidden3",
        )
    )
    assert "hidden" not in shown


def test_a_secret_may_come_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "address"
    file.write_text("redis://:hidden@h/0\n")
    named = {"PACSLESS_REDIS_FILE": str(file), "PACSLESS_REDIS": "redis://other/0"}
    assert Settings.from_environ(named).redis == "redis://:hidden@h/0"
    # What is no secret has no such file: PACSLESS_GATEWAY_AE_FILE is a setting of its own.
    assert Settings.from_environ({"PACSLESS_TENANT_FILE": str(file)}).tenant == "default"
    with pytest.raises(InvalidSetting, match=r"PACSLESS_REDIS_FILE: .*No such file"):
        Settings.from_environ({"PACSLESS_REDIS_FILE": str(tmp_path / "none")})
