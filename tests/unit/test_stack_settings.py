"""Ports, folders and configuration files of a local stack."""

from __future__ import annotations

import configparser
import json
import socket
from pathlib import Path

import pytest

from pacsless.functions import load_functions
from pacsless.settings import InvalidSetting
from pacsless.stack import configuration, supervision
from pacsless.stack.errors import StackError
from pacsless.stack.parts import Part, Stage, services
from pacsless.stack.settings import FUNCTIONS, Ports, StackSettings


def test_defaults_are_those_of_the_design() -> None:
    ports = Ports.from_environ({})
    assert (ports.nginx, ports.scp_gateway, ports.kafka, ports.kafka_controller) == (
        8080, 11112, 19092, 19093,
    )  # fmt: skip
    assert (ports.postgres, ports.redis) == (15432, 16379)
    assert (ports.warehouse_fe, ports.warehouse_be, ports.warehouse_mysql) == (8030, 8040, 9030)
    assert set(ports.functions) == set(ports.triggers) == set(FUNCTIONS)
    assert len(set(ports.as_dict().values())) == len(ports.as_dict())


def test_a_base_moves_every_port_into_its_hundred() -> None:
    moved = Ports.from_environ({"PACSLESS_PORT_BASE": "20000"}).as_dict()
    assert moved.keys() == Ports().as_dict().keys()
    assert moved["nginx"] == 20000
    assert all(20000 <= port < 20100 for port in moved.values())
    assert len(set(moved.values())) == len(moved)


def test_a_single_port_is_moved_beside_a_base_and_alone() -> None:
    environ = {"PACSLESS_PORT_BASE": "20000", "PACSLESS_PORT_NGINX": "8888"}
    assert Ports.from_environ(environ).nginx == 8888
    assert Ports.from_environ(environ).redis == Ports.at(20000).redis
    assert Ports.from_environ({"PACSLESS_PORT_QIDO_RS": "7"}).functions["qido_rs"] == 7
    assert Ports.from_environ({"PACSLESS_PORT_TRANSCODE_TRIGGER": "7"}).triggers["transcode"] == 7


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"PACSLESS_PORT_NGINX": "http"}, "PACSLESS_PORT_NGINX must be a port number"),
        ({"PACSLESS_PORT_NGINX": "65536"}, "PACSLESS_PORT_NGINX must be a port number"),
        ({"PACSLESS_PORT_BASE": "65500"}, "PACSLESS_PORT_BASE must be"),
        ({"PACSLESS_PORT_NGNIX": "80"}, "PACSLESS_PORT_NGNIX names no part"),
        ({"PACSLESS_PORT_NGINX": "16379"}, "redis and nginx both have port 16379"),
    ],
)
def test_what_is_no_port_is_told(environ: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        Ports.from_environ(environ)
    assert told in error.value.message


def test_ports_in_use_are_found_by_their_part() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = Ports.from_environ({"PACSLESS_PORT_REDIS": str(port)})
        assert ports.in_use()["redis"] == port
    assert "redis" not in ports.in_use()


def test_a_stack_that_is_up_is_found_without_repeating_its_ports(tmp_path: Path) -> None:
    settings = StackSettings(home=tmp_path, ports=Ports.at(20000))
    settings.run.mkdir()
    settings.state_file.write_text(json.dumps({"ports": settings.ports.as_dict()}))
    environ = {"PACSLESS_HOME": str(tmp_path)}
    assert StackSettings.from_environ(environ) == settings
    asked = StackSettings.from_environ(environ | {"PACSLESS_PORT_BASE": "21000"})
    assert asked.ports.nginx == 21000
    settings.state_file.unlink()
    assert StackSettings.from_environ(environ).ports == Ports()


def test_a_folder_no_configuration_can_name_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="PACSLESS_HOME"):
        StackSettings(home=Path("/srv/my stack; rm"))


def test_parts_get_where_the_others_are_and_keep_other_settings(tmp_path: Path) -> None:
    settings = StackSettings(home=tmp_path, ports=Ports.at(20000))
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "password").write_text("s3cret\n")
    environ = settings.environment(
        {
            "PACSLESS_LOG_LEVEL": "DEBUG",
            "PACSLESS_KAFKA": "elsewhere:9092",
            "PACSLESS_PORT_NGINX": "1",
            "FUNCTION_TARGET": "other",
            "LANG": "C.UTF-8",
        }
    )
    assert environ["PACSLESS_LOG_LEVEL"] == "DEBUG"
    assert environ["PACSLESS_KAFKA"] == f"127.0.0.1:{settings.ports.kafka}"
    assert environ["LANG"] == "C.UTF-8"
    assert "s3cret" in environ["PACSLESS_POSTGRES"]
    assert not {"PACSLESS_PORT_NGINX", "FUNCTION_TARGET"} & environ.keys()


def test_triggers_run_the_workers_of_a_stack_that_scales(tmp_path: Path) -> None:
    ports = Ports.at(20000)
    fixed, scaled = (
        {
            one.name: one.command
            for one in services(StackSettings(home=tmp_path, ports=ports, scale=on))
        }
        for on in (False, True)
    )
    fed = {name for name, spec in load_functions().items() if spec.kind == "event"}
    assert set(fixed) - set(scaled) == fed
    for name in fed:
        assert "--target" in fixed[f"{name}-trigger"]
        assert "--scale" in scaled[f"{name}-trigger"]
    assert StackSettings.from_environ({"PACSLESS_HOME": "/srv/a", "PACSLESS_SCALE": "yes"}).scale
    with pytest.raises(InvalidSetting, match="PACSLESS_SCALE"):
        StackSettings.from_environ({"PACSLESS_HOME": "/srv/a", "PACSLESS_SCALE": "maybe"})


def test_supervisord_reads_the_parts_as_they_are_meant(tmp_path: Path) -> None:
    settings = StackSettings(home=tmp_path)
    part = Part("nginx", Stage.DOOR, ("nginx", "-g", "two words"), None, "", {"PORT": "1"}, "QUIT")
    read = configparser.RawConfigParser()
    read.read_string(supervision.configuration([part], settings, "/run/control"))
    program = read["program:nginx"]
    assert program["command"] == "nginx -g 'two words'"
    assert program["environment"] == 'PORT="1"'
    assert program["stopsignal"] == "QUIT"
    assert program["stdout_logfile"] == str(tmp_path / "log" / "nginx.log")
    assert program["autorestart"] == "true"
    assert read["unix_http_server"]["chmod"] == "0700"


def test_the_template_is_filled_in_wholly(tmp_path: Path) -> None:
    settings = StackSettings(home=tmp_path, ports=Ports.at(20000))
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "password").write_text("s3cret\n")
    text = configuration.substitute(
        configuration.NGINX_TEMPLATE.read_text(), configuration.nginx_values(settings)
    )
    assert "${" not in text
    assert "listen 127.0.0.1:20000" in text
    assert "$request_id" in text
    with pytest.raises(StackError, match="NOWHERE"):
        configuration.substitute("root ${NOWHERE};", {})
