"""MSK in memory: its clusters and configurations, as they were given."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from werkzeug.wrappers import Response

REGION = "eu-central-1"
Json = dict[str, Any]
_TIME = "2026-01-01T00:00:00.000Z"


class Kafka:
    """MSK: its clusters and configurations, as they were given."""

    def __init__(self) -> None:
        self.clusters: dict[str, Json] = {}
        self.configurations: dict[str, Json] = {}

    def answer(self, method: str, path: str, body: Json) -> Response:
        """Answer a request of the API's version 1, or 2, which nests what 1 has flat."""
        parts = path.removeprefix("/api").strip("/").split("/", 2)
        kind, arn = parts[1], parts[2] if len(parts) > 2 else ""
        known = self.clusters if kind == "clusters" else self.configurations
        if method == "POST" and not arn:
            made = self._cluster(body) if kind == "clusters" else self._configuration(body)
            return answer_of(made)
        arn, _, what = _split(arn)
        if arn not in known and kind == "configurations":
            # This is how MSK says it.
            return error(400, "BadRequestException", "Configuration ARN does not exist")
        if arn not in known:
            return error(404, "NotFoundException")
        if method == "DELETE":
            del known[arn]
            return answer_of({"arn": arn, "clusterArn": arn, "state": "DELETING"})
        one = known[arn]
        if what == "bootstrap-brokers":
            count = one["numberOfBrokerNodes"]
            names = [f"b-{i}.{one['clusterName']}.msk.example:9094" for i in range(count, 0, -1)]
            return answer_of({"bootstrapBrokerStringTls": ",".join(names)})
        if what.startswith("revisions/"):
            return answer_of({**one, **one["latestRevision"]})
        if kind == "configurations":
            return answer_of(one)
        if path.startswith("/api/v2"):
            return answer_of(
                {"clusterInfo": {**one, "clusterType": "PROVISIONED", "provisioned": one}}
            )
        return answer_of({"clusterInfo": one})

    def _cluster(self, body: Json) -> Json:
        arn = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/{body['clusterName']}/{uuid.uuid4()}"
        configuration = body["configurationInfo"]
        software = {
            "kafkaVersion": body["kafkaVersion"],
            "configurationArn": configuration["arn"],
            "configurationRevision": configuration["revision"],
        }
        self.clusters[arn] = {
            **body, "clusterArn": arn, "state": "ACTIVE", "currentVersion": "K1",
            "creationTime": _TIME, "currentBrokerSoftwareInfo": software,
        }  # fmt: skip
        return {"clusterArn": arn, "clusterName": body["clusterName"], "state": "CREATING"}

    def _configuration(self, body: Json) -> Json:
        arn = f"arn:aws:kafka:{REGION}:{ACCOUNT}:configuration/{body['name']}/{uuid.uuid4()}"
        self.configurations[arn] = {
            "kafkaVersions": [], **body, "arn": arn, "state": "ACTIVE", "creationTime": _TIME,
            "latestRevision": {"revision": 1, "creationTime": _TIME},
        }  # fmt: skip
        return self.configurations[arn]


def _split(arn: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"(arn:[^/]+/[^/]+/[^/]+)(/?)(.*)", arn)
    return (found[1], found[2], found[3]) if found else (arn, "", "")


def answer_of(content: Json) -> Response:
    """Answer in JSON."""
    return Response(json.dumps(content, default=str), content_type="application/json")


def error(status: int, code: str, message: str = "not found") -> Response:
    """Answer as AWS says what is wrong."""
    content = json.dumps({"message": message})
    return Response(content, status, {"x-amzn-ErrorType": code}, content_type="application/json")
