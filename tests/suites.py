"""Which tests stay together when ``make test`` divides them among two processes."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class Suites(LoadScopeScheduling):
    """What shares services is one process's, or each would start its own.

    So the e2e tests stay with their stack, and the integration tests with their
    database and broker. Other files go to whoever is free. (xdist's groups do not
    work with pytest 9.2, in which tests cannot be renamed.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        suite = file.split("/")[1]
        return suite if suite in {"e2e", "integration"} else file
