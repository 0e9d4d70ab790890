"""What the Helm chart knows of the functions, made from their declarations.

``python -m pacsless.chart charts/pacsless/files/functions.json`` writes it. The chart's
templates name no function: what they render is a walk through this list.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pacsless.bus import group_id
from pacsless.functions import FunctionSpec, load_functions


def entry(spec: FunctionSpec) -> dict[str, Any]:
    """Return what the chart knows of a function."""
    found: dict[str, Any] = {
        "name": spec.name,
        "kubernetesName": spec.name.replace("_", "-"),
        "kind": spec.kind,
        "summary": spec.summary,
        "uses": list(spec.uses),
    }
    if spec.threads:
        found["threads"] = spec.threads
    if spec.schedule is not None:
        found["schedule"] = str(spec.schedule)
    if spec.policies is not None:
        fed, scale = spec.policies.trigger, spec.policies.scale
        found |= {
            "topics": list(spec.topics),
            "consumerGroup": group_id(spec.name),
            "gather": fed.gather,
            "maxEvents": fed.max_events,
            "concurrency": fed.concurrency,
            "attempts": fed.attempts,
            "timeoutSeconds": fed.timeout_s,
            "backoffSeconds": fed.backoff_s,
            "lagThreshold": scale.lag_threshold,
            "cooldownSeconds": scale.cooldown_s,
            # A KafkaSource posts events one by one; others are fed in batches for a reason.
            "perEvent": fed.max_events == 1,
        }
    return found


def document(functions: Iterable[FunctionSpec]) -> str:
    """Return all of it as JSON."""
    return json.dumps({"functions": [entry(one) for one in functions]}, indent=1) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(load_functions().values()))
