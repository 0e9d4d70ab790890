"""The values that the chart is rendered with: every profile in every mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Values = dict[str, Any]

MODES: Final = ("keda", "knative", "openfaas")
PROFILES: Final[Mapping[str, Values]] = {
    "local": {"profile": "local"},
    "hospital": {
        "profile": "hospital",
        "kafka": {"bootstrapServers": ["kafka-0.hospital:9092"]},
        "postgres": {"existingSecret": "database"},
        "doris": {
            "existingSecret": "warehouse",
            "frontEnd": "http://doris-fe:8030",
            "mysql": "doris-fe:9030",
            "redirectHosts": [".doris-be:8040"],
        },
        "gateway": {"tls": {"enabled": True, "existingSecret": "dicom-tls"}},
    },
    "production": {
        "profile": "production",
        "archive": {"s3": {"bucket": "images", "prefix": "dicom", "region": "eu-central-1"}},
        "serviceAccount": {
            "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/pacsless"}
        },
        "kafka": {"bootstrapServers": ["b-1.kafka:9092", "b-2.kafka:9092"]},
        "postgres": {"existingSecret": "database"},
        "redis": {"existingSecret": "cache"},
        "doris": {
            "existingSecret": "warehouse",
            "frontEnd": "https://doris-fe:8050",
            "mysql": "doris-fe:9030",
            "redirectHosts": [".doris-be:8040"],
        },
        "oauth2": {"issuer": "https://id.example.org/realms/hospital"},
        "nginx": {"ingress": {"enabled": True, "host": "pacs.example.org", "tlsSecret": "web"}},
        "monitoring": {"podMonitor": True, "dashboards": True},
    },
}


def values(profile: str, mode: str = "keda", **more: Any) -> Values:
    """Return the least that a profile wants in a mode, and more."""
    found: Values = merged(PROFILES[profile], {"trigger": {"mode": mode}})
    if mode == "openfaas":
        found = merged(
            found,
            {
                "openfaas": {"secret": "pacsless"},
                "archive": {"source": "s3", "s3": {"bucket": "images"}},
            },
        )
    return merged(found, more)


def merged(onto: Mapping[str, Any], more: Mapping[str, Any]) -> Values:
    """Return both, as Helm merges values."""
    found = dict(onto)
    for key, value in more.items():
        there = found.get(key)
        both = isinstance(there, dict) and isinstance(value, dict)
        found[key] = merged(there, value) if both else value  # type: ignore[arg-type]
    return found
