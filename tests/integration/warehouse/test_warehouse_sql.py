"""Questions to the warehouse when something is wrong with it, or with them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from pacsless.errors import Unavailable
from pacsless.warehouse import Warehouse
from pacsless.warehouse_sql import WarehouseSql


@pytest.fixture
def sql(warehouse: Warehouse) -> Iterator[WarehouseSql]:
    with closing(WarehouseSql(f"127.0.0.1:{warehouse.mysql_port}")) as one:
        yield one


def test_a_connection_that_was_closed_meanwhile_is_made_anew(sql: WarehouseSql) -> None:
    question = "SELECT count(*) FROM dicom_image_meta"
    first = sql.ask(question)
    assert sql._connection is not None
    sql._connection._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    assert sql.ask(question) == first


def test_a_question_that_is_refused_is_no_silence(sql: WarehouseSql) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"refused the question \(1146\): are its tables"):
            sql.ask("SELECT count(*) FROM nowhere")
