# ruff: noqa: E501 -- messages stand whole, to be searched for
"""Values that are wrong are refused by a sentence that says which and what to set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.cases import PROFILES, merged, values
from tests.chart.helm import Refused, helm

SCHEMA = [
    ({"kafka": {"sorce": "external"}}, "at '/kafka': additional properties 'sorce' not allowed"),
    ({"profle": "local"}, "at '': additional properties 'profle' not allowed"),
    ({"tenant": "Hospital A"}, "at '/tenant': 'Hospital A' does not match pattern"),
    ({"trigger": {"mode": "sqs"}}, "at '/trigger/mode': value must be one of 'keda', 'knative', 'openfaas'"),
    ({"kafka": {"partitions": 0}}, "at '/kafka/partitions': minimum: got 0, want 1"),
    ({"gateway": {"spool": {"size": "10 GB"}}}, "at '/gateway/spool/size': '10 GB' does not match pattern"),
    ({"functions": {"extract-tags": {}}}, "invalid propertyName 'extract-tags'"),
    ({"functions": {"qido_rs": {"replica": 2}}}, "at '/functions/qido_rs': additional properties 'replica' not allowed"),
    ({"oauth2": {"issuer": "http://id.example.org"}}, "at '/oauth2/issuer': 'http://id.example.org' does not match pattern"),
    ({"gateway": {"aeTitles": {"A TITLE THAT IS TOO LONG": "default"}}}, "invalid propertyName 'A TITLE THAT IS TOO LONG'"),
    ({"policies": {"extract_tags": {"scale": {"lag": 5}}}}, "at '/policies/extract_tags/scale': additional properties 'lag' not allowed"),
    ({"archive": {"s3": {"bucket": "s3://images"}}}, "at '/archive/s3/bucket': 's3://images' does not match pattern"),
]  # fmt: skip

MISSING = [
    ("production", {"archive": {"s3": {"bucket": ""}}},
     "archive.s3.bucket: archive.source is s3, so set the bucket"),
    ("production", {"kafka": {"bootstrapServers": []}},
     "kafka.bootstrapServers: kafka.source is external, so set its brokers, or kafka.source to embedded or strimzi"),
    ("production", {"postgres": {"existingSecret": ""}},
     "postgres.existingSecret: postgres.source is external, so make a Secret with its address under the key url and name it here, or set postgres.source to embedded or cloudnativepg"),
    ("production", {"redis": {"existingSecret": ""}},
     "redis.existingSecret: redis.source is external, so make a Secret with its address under the key url and name it here, or set redis.source to embedded or none"),
    ("hospital", {"doris": {"mysql": ""}},
     "doris.mysql: doris.source is external, so set it, or doris.source to embedded"),
    ("local", {"doris": {"source": "doris-operator", "existingSecret": "doris"}},
     "doris.operator.version: doris.source is doris-operator, so say which Doris, as its images are tagged"),
    ("local", {"doris": {"source": "doris-operator", "operator": {"version": "4.0.7"}}},
     "doris.existingSecret: doris.source is doris-operator, so make a Secret of type kubernetes.io/basic-auth with username and password and name it here"),
    ("local", {"doris": {"source": "doris-operator", "mysql": "fe:9030"}},
     "doris.mysql: doris.source is doris-operator; set it to external to use this"),
    ("hospital", {"gateway": {"tls": {"existingSecret": ""}}},
     "gateway.tls.existingSecret: gateway.tls.enabled is true, so make a Secret of type kubernetes.io/tls and name it here"),
    ("local", {"gateway": {"tls": {"enabled": True, "existingSecret": "x", "clientCertificates": True}}},
     "gateway.plain: gateway.tls.clientCertificates asks senders for a certificate, and without TLS all would be let in; set gateway.plain to false, or say in gateway.aeFile who may"),
    ("local", {"gateway": {"tls": {"clientCertificates": True}}},
     "gateway.tls.clientCertificates: nobody is asked for one, as gateway.tls.enabled is false; set it to true"),
    ("local", {"functionDefaults": {"minReplicas": 8}},
     "functions.build_metadata.minReplicas: 8 pods at least, but 4 at most, by kafka.partitions, functions.build_metadata.maxReplicas or policies.build_metadata.scale.max_workers"),
    ("local", {"gateway": {"plain": False}},
     "gateway.plain: nothing would listen; set it or gateway.tls.enabled to true"),
    ("local", {"gateway": {"aeTitles": {"PACSLESS": None}}},
     "gateway.aeTitles: no sender would be let in; set one, or gateway.aeFile"),
    ("local", {"gateway": {"replicas": 2}},
     "archive.volume.accessMode: several gateways share the archive, so set it to ReadWriteMany, or gateway.replicas to 1"),
    ("local", {"kafka": {"tls": True}},
     "kafka.tls: kafka.source is embedded, which speaks none; set kafka.tls to false, or kafka.source to external"),
    ("production", {"kafka": {"tls": True}, "trigger": {"mode": "knative"}},
     "kafka.tls: a KafkaSource would need the authority in a Secret of its own, which this chart makes none of; set trigger.mode to keda"),
    ("local", {"kafka": {"bootstrapServers": ["kafka:9092"]}},
     "kafka.bootstrapServers: kafka.source is embedded; set it to external to use these brokers"),
    ("local", {"postgres": {"existingSecret": "mine"}},
     "postgres.existingSecret: postgres.source is embedded; set it to external to use this Secret"),
    ("local", {"nginx": {"ingress": {"enabled": True}}},
     "nginx.ingress.host: nginx.ingress.enabled is true, so set the host name"),
    ("local", {"nginx": {"httpRoute": {"enabled": True}}},
     "nginx.httpRoute.parentRefs: nginx.httpRoute.enabled is true, so say of which Gateway"),
    ("local", {"trigger": {"mode": "openfaas"}},
     "archive.source: OpenFaaS gives functions no volumes, so with trigger.mode openfaas set it to s3"),
    ("local", {"functions": {"extract_tag": {"replicas": 1}}},
     "functions.extract_tag: there is no such function; there are authorize, "),
    ("local", {"policies": {"qido_rs": {"scale": {"lag_threshold": 5}}}},
     "policies.qido_rs: no such function takes events"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "told"), SCHEMA, ids=[told for _, told in SCHEMA])
def test_what_the_schema_does_not_know_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused) as refused:
        helm(4).template(values("local", **wrong))
    assert told in str(refused.value)
    with pytest.raises(Refused, match="meet the specifications of the schema"):
        helm(3).template(values("local", **wrong))


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize(("profile", "wrong", "told"), MISSING, ids=[told for *_, told in MISSING])
def test_what_is_missing_or_contradicts_is_named(
    profile: str, wrong: dict[str, Any], told: str, major: int
) -> None:
    with pytest.raises(Refused) as refused:
        helm(major).template(merged(PROFILES[profile], wrong))
    assert told in str(refused.value)


@pytest.mark.parametrize("profile", ["hospital", "production"])
def test_a_profile_alone_says_what_it_wants(profile: str) -> None:
    with pytest.raises(Refused, match="so set"):
        helm(4).template({"profile": profile})
