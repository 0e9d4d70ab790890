"""Starts and stops the warehouse's three servers on one file."""

from __future__ import annotations

import signal
import threading
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from pacsless.garbage import collect_seldom
from pacsless.warehouse import mysql
from pacsless.warehouse.back_end import BackEnd
from pacsless.warehouse.endpoint import Server
from pacsless.warehouse.faults import Faults
from pacsless.warehouse.front_end import FrontEnd
from pacsless.warehouse.store import Store


class Warehouse:
    """The warehouse: a front end, a back end and the MySQL protocol.

    Parameters
    ----------
    directory
        Where its file lies; made if missing.
    host
        Address to listen on.
    fe_port, be_port, mysql_port
        Ports; 0 for any that is free, told by the properties of the same names.
    user, password
        The one user, for all three.
    memory_limit, threads
        What DuckDB may use.
    faults
        Failures of loads to come, for tests of clients.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        host: str = "127.0.0.1",
        fe_port: int = 8030,
        be_port: int = 8040,
        mysql_port: int = 9030,
        user: str = "root",
        password: str = "",
        memory_limit: str = "512MB",
        threads: int = 2,
        faults: Faults | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.store = Store(Path(directory), memory_limit, threads)
        credentials = (user, password)
        back = type(
            "BackEndOfOne",
            (BackEnd,),
            {
                "store": self.store,
                "faults": self.faults,
                "credentials": credentials,
                "error_logs": OrderedDict(),
            },
        )
        front = type(
            "FrontEndOfOne",
            (FrontEnd,),
            {
                "labels": self.store.labels,
                "credentials": credentials,
                "back_end_port": staticmethod(lambda: self.be_port),
            },
        )
        self._threads: list[threading.Thread] = []
        with ExitStack() as undo:
            undo.callback(self.store.close)
            self._front = undo.enter_context(Server((host, fe_port), front))
            self._back = undo.enter_context(Server((host, be_port), back))
            self._mysql = undo.enter_context(
                mysql.Server((host, mysql_port), self.store, user, password)
            )
            self._closing = undo.pop_all()

    @property
    def fe_port(self) -> int:
        """Port of the front end."""
        return int(self._front.server_address[1])

    @property
    def be_port(self) -> int:
        """Port of the back end."""
        return int(self._back.server_address[1])

    @property
    def mysql_port(self) -> int:
        """Port of the MySQL protocol."""
        return int(self._mysql.server_address[1])

    def start(self) -> None:
        """Answer, until `stop`."""
        for server in (self._front, self._back, self._mysql):
            thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Answer no more, finish the load that is being committed, close the file."""
        if self._threads:
            for server in (self._front, self._back, self._mysql):
                server.shutdown()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        for server in (self._front, self._back, self._mysql):
            server.disconnect()
        self._closing.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def run(
    directory: Path | str,
    *,
    host: str = "127.0.0.1",
    fe_port: int = 8030,
    be_port: int = 8040,
    mysql_port: int = 9030,
    user: str = "root",
    password: str = "",
    memory_limit: str = "512MB",
    threads: int = 2,
) -> None:
    """Run the warehouse until SIGTERM or SIGINT; from the main thread.

    Parameters
    ----------
    directory, host, fe_port, be_port, mysql_port, user, password, memory_limit, threads
        As `Warehouse` takes them.
    """
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    with Warehouse(
        directory,
        host=host,
        fe_port=fe_port,
        be_port=be_port,
        mysql_port=mysql_port,
        user=user,
        password=password,
        memory_limit=memory_limit,
        threads=threads,
    ):
        collect_seldom()
        done.wait()
