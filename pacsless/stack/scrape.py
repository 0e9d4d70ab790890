"""Reading one metric off the page of a part."""

from __future__ import annotations

from typing import Final

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from pacsless.errors import Unavailable
from pacsless.reach import shown
from pacsless.stack.settings import LOOPBACK, Ports

_TRIGGER_WORKERS: Final = "pacsless_trigger_workers"


def scrape(url: str, name: str) -> float:
    """Return the sum of a metric over its labels.

    Raises
    ------
    Unavailable
        ``metrics``, if nobody answers or the page does not have it.
    """
    told = shown(url)
    try:
        answer = urllib3.request("GET", url, retries=False, timeout=5.0)
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("metrics", f"GET {told}: {type(error).__name__}") from None
    if answer.status != 200:
        raise Unavailable("metrics", f"GET {told} is answered {answer.status}")
    try:
        found = [
            sample.value
            for family in text_string_to_metric_families(answer.data.decode())
            for sample in family.samples
            if sample.name == name
        ]
    except ValueError:
        raise Unavailable("metrics", f"GET {told} is answered with no metrics") from None
    if not found:
        raise Unavailable("metrics", f"{told} does not tell {name}")
    return sum(found)


def scaled_workers(function: str, ports: Ports) -> int:
    """Return how many workers of a function its trigger runs.

    Raises
    ------
    Unavailable
        ``trigger``, if it does not say.
    """
    page = f"http://{LOOPBACK}:{ports.triggers[function]}/metrics"
    try:
        return int(scrape(page, _TRIGGER_WORKERS))
    except Unavailable:
        raise Unavailable("trigger", f"{function}-trigger does not tell its workers") from None
