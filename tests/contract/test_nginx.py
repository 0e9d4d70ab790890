"""nginx's configuration and the functions' servers agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gunicorn.config import Config

from pacsless.functions import load_functions

ROOT = Path(__file__).parents[2]
UPSTREAMS = {
    name: int(seconds)
    for name, seconds in re.findall(
        r"upstream (\w+) \{\n(?:        .+\n)*?        keepalive_timeout (\d+)s;",
        (ROOT / "charts" / "pacsless" / "files" / "nginx.conf.template").read_text(),
    )
}
IDLE = {"granian": 30, "gunicorn": Config().keepalive}
"""Seconds after which a server closes a connection that nothing comes by."""
SERVERS = {
    one.name: one.server
    for one in load_functions(ROOT / "functions").values()
    if one.kind in ("http", "authorization")
}


def test_every_function_of_clients_is_an_upstream() -> None:
    assert UPSTREAMS.keys() == SERVERS.keys()


@pytest.mark.parametrize("function", SERVERS)
def test_an_idle_connection_is_closed_by_nginx_before_its_server_does(function: str) -> None:
    """Or a POST meets the end of its connection, and is not sent again."""
    assert UPSTREAMS[function] < IDLE[SERVERS[function]]
