"""Chart, functions, topics, settings, Services and nginx agree."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from scp_gateway.settings import GatewaySettings

from functions.stow_rs.storing import StowSettings
from pacsless.bus import group_id
from pacsless.cli import main
from pacsless.events import TOPICS
from pacsless.functions import load_functions
from pacsless.settings import FromEnviron, Settings
from pacsless.trigger.command import trigger
from tests.chart.cases import PROFILES, values
from tests.chart.helm import CHART, Manifest, helm
from tests.chart.test_render import MATRIX, containers, pods, rendered

FUNCTIONS = load_functions()
EVENT = [one for one in FUNCTIONS.values() if one.kind == "event"]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (one for one in manifests if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def kebab(name: str) -> str:
    return name.replace("_", "-")


@pytest.mark.parametrize("spec", EVENT, ids=lambda spec: spec.name)
def test_lag_of_every_topic_scales_its_function(spec: Any) -> None:
    found = named(rendered("local", "keda"), "ScaledObject", f"pacsless-{kebab(spec.name)}")["spec"]
    metadata = [one["metadata"] for one in found["triggers"]]
    assert [one["topic"] for one in metadata] == list(spec.topics)
    assert {one["consumerGroup"] for one in metadata} == {group_id(spec.name)}
    assert {one["lagThreshold"] for one in metadata} == {str(spec.policies.scale.lag_threshold)}
    assert {one["offsetResetPolicy"] for one in metadata} == {"earliest"}
    assert (found["minReplicaCount"], found["maxReplicaCount"]) == (0, 4)
    # A batch may be longer than it is from one look of KEDA's to the next.
    assert {one["excludePersistentLag"] for one in metadata} == {"false"}
    deployment = named(rendered("local", "keda"), "Deployment", found["scaleTargetRef"]["name"])
    assert "replicas" not in deployment["spec"], "helm upgrade would undo what KEDA has done"


def test_policies_of_an_operator_reach_keda_and_the_trigger() -> None:
    policies = {
        "extract_tags": {
            "scale": {"lag_threshold": 50, "cooldown_s": 0, "min_workers": 1, "max_workers": 2},
            "trigger": {"timeout_s": 500.5, "max_bytes": 16_777_216, "gather": "topic"},
        }
    }
    manifests = helm(3).template(values("local", keda={"enabled": True}, policies=policies))
    scaled = named(manifests, "ScaledObject", "pacsless-extract-tags")["spec"]
    assert scaled["triggers"][0]["metadata"]["lagThreshold"] == "50"
    assert scaled["cooldownPeriod"] == 0
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 2)
    pod = named(manifests, "Deployment", "pacsless-extract-tags")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 501 + 45
    said = environment(pod["containers"][0])["PACSLESS_POLICIES"]
    assert said == "/etc/pacsless/policies/extract_tags.toml"
    text = named(manifests, "ConfigMap", "pacsless-policies")["data"]["extract_tags.toml"]
    assert tomllib.loads(text) == policies
    # An image knows its own function alone, and its trigger refuses a file with another's.
    pod = named(manifests, "Deployment", "pacsless-load-doris")["spec"]["template"]["spec"]
    assert "PACSLESS_POLICIES" not in environment(pod["containers"][0])


def test_policies_are_what_the_trigger_reads(tmp_path: Path) -> None:
    policies = {"load_doris": {"trigger": {"topics": {"access_log_queue": {"linger_ms": 5000}}}}}
    manifests = helm(3).template(values("local", policies=policies))
    file = tmp_path / "policies.toml"
    file.write_text(named(manifests, "ConfigMap", "pacsless-policies")["data"]["load_doris.toml"])
    read = load_functions(overrides=file)["load_doris"].policies
    assert read is not None and read.of("access_log_queue").linger_ms == 5000


@pytest.mark.parametrize("spec", EVENT, ids=lambda spec: spec.name)
@pytest.mark.parametrize("mode", ["keda", "knative", "openfaas"])
def test_triggers_are_started_with_options_there_are(mode: str, spec: Any) -> None:
    for _, pod in pods(rendered("local", mode)):
        for one in pod["containers"]:
            arguments = one.get("args", [])
            if one["name"] == "trigger" and f"--function={spec.name}" in arguments:
                assert arguments[0] == "trigger"
                made = trigger.make_context("trigger", list(arguments[1:])).params
                assert made["scale"] is (mode == "keda")
                assert made["metrics_port"] == one["ports"][0]["containerPort"]
                assert pod["terminationGracePeriodSeconds"] > spec.policies.trigger.timeout_s
                return
    assert mode == "knative" and spec.name == "transcode", "nobody feeds it"


@pytest.mark.parametrize("spec", EVENT, ids=lambda spec: spec.name)
def test_knative_has_a_service_and_one_way_to_feed_it(spec: Any) -> None:
    manifests = rendered("local", "knative")
    service = named(manifests, "Service", f"pacsless-{kebab(spec.name)}")
    assert service["apiVersion"] == "serving.knative.dev/v1"
    template = service["spec"]["template"]
    annotations = template["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/max-scale"] == "4"
    assert annotations["autoscaling.knative.dev/min-scale"] == "0"
    assert template["spec"]["containerConcurrency"] == 1
    (container,) = template["spec"]["containers"]
    # Not what it needs: Knative would hold an event for a pod that is not ready until it fails.
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"
    sources = [
        one
        for one in manifests
        if one["kind"] == "KafkaSource" and one["spec"]["consumerGroup"] == group_id(spec.name)
    ]
    assert bool(sources) is (spec.policies.trigger.max_events == 1)
    for source in sources:
        found = source["spec"]
        assert found["initialOffset"] == "earliest" and found["ordering"] == "ordered"
        # With a part of it, what fails is not tried again, or lost.
        assert set(found["delivery"]) == {
            "retry", "backoffDelay", "backoffPolicy", "timeout", "deadLetterSink"
        }  # fmt: skip
        sink = named(manifests, "KafkaSink", found["delivery"]["deadLetterSink"]["ref"]["name"])
        assert [sink["spec"]["topic"]] == [f"{topic}.dlq" for topic in found["topics"]]
        assert found["sink"]["ref"]["name"] == service["metadata"]["name"]


@pytest.mark.parametrize("mode", ["keda", "knative"])
def test_timers_tick_at_their_times(mode: str) -> None:
    kind = {"keda": "CronJob", "knative": "PingSource"}[mode]
    for spec in FUNCTIONS.values():
        if spec.kind == "timer":
            found = named(rendered("local", mode), kind, f"pacsless-{kebab(spec.name)}-timer")
            assert found["spec"]["schedule"] == str(spec.schedule)


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_everything_that_is_referred_to_is_there(profile: str, mode: str) -> None:
    manifests = rendered(profile, mode)
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    given = {
        ("Secret", name) for name in re.findall(r"existingSecret': '([a-z-]+)'", str(PROFILES))
    }
    for name, pod in pods(manifests):
        assert ("ServiceAccount", pod["serviceAccountName"]) in there
        for reference in references(pod):
            assert reference in there | given, f"{name} wants {reference}"
        mounted = {mount["name"] for one in containers(pod) for mount in one["volumeMounts"]}
        claimed = {"spool", "data"} if name.startswith("StatefulSet") else set()
        declared = {volume["name"] for volume in pod["volumes"]}
        assert declared <= mounted <= declared | claimed, name


def references(pod: Manifest) -> Iterator[tuple[str, str]]:
    for one in containers(pod):
        for variable in one.get("env", []):
            if "valueFrom" in variable:
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]
    for volume in pod["volumes"]:
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_services_lead_to_ports_of_pods(profile: str, mode: str) -> None:
    manifests = rendered(profile, mode)
    workloads = [one for one in manifests if one["kind"] in ("Deployment", "StatefulSet")]
    for service in manifests:
        if service["kind"] != "Service" or service["apiVersion"] != "v1":
            continue
        selector = service["spec"]["selector"].items()
        (behind,) = (
            one
            for one in workloads
            if selector <= one["spec"]["template"]["metadata"]["labels"].items()
        )
        ports = {
            port["name"]
            for one in behind["spec"]["template"]["spec"]["containers"]
            for port in one["ports"]
        }
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= ports


@pytest.mark.parametrize("profile", PROFILES)
def test_nginx_has_every_upstream(profile: str) -> None:
    manifests = rendered(profile, "keda")
    nginx = named(manifests, "Deployment", "pacsless-nginx")["spec"]["template"]["spec"]
    told = environment(nginx["containers"][0])
    template = (CHART / "files" / "nginx.conf.template").read_text()
    upstreams = set(re.findall(r"^\s+server \$\{([A-Z_]+)\}", template, re.MULTILINE))
    behind = {name for name, one in FUNCTIONS.items() if one.kind in ("http", "authorization")}
    assert upstreams == {name.upper() for name in behind}
    for name in behind:
        if name == "authorize" and profile != "production":
            assert told["AUTH_REQUEST"] == "off"
            continue
        host, port = told[name.upper()].split(":")
        assert int(port) in {
            one["port"] for one in named(manifests, "Service", host)["spec"]["ports"]
        }
    names = set(re.findall(r"\$\{([A-Z_0-9]+)\}", template))
    # What the image knows itself; the rest is the chart's.
    assert names - set(told) == {"NGINX_USER", "ERROR_LOG", "VIEWER_ROOT", "CAPABILITIES"}


def environment(container: Manifest) -> dict[str, str]:
    return {one["name"]: one.get("value", "(secret)") for one in container.get("env", [])}


def known(*kinds: type[FromEnviron]) -> set[str]:
    return {
        f"{kind.PREFIX}{one.name.upper()}"
        for kind in kinds
        for one in fields(kind)  # type: ignore[arg-type]
    }


STORES = {"PACSLESS_KAFKA_ADVERTISED", "PACSLESS_POSTGRES_PASSWORD", "PACSLESS_REDIS_PASSWORD",
          "PACSLESS_REDIS_MAXMEMORY"}  # fmt: skip
"""Settings of the images of stores."""


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_every_setting_exists_and_is_said_once(profile: str, mode: str) -> None:
    there = known(Settings, GatewaySettings, StowSettings) | STORES
    for name, pod in pods(rendered(profile, mode)):
        for one in containers(pod):
            said = [variable["name"] for variable in one.get("env", [])]
            assert len(said) == len(set(said)), f"{name}: server-side apply refuses that"
            assert {each for each in said if each.startswith("PACSLESS_")} <= there, name


def test_what_the_user_sets_takes_the_place_of_what_the_chart_does() -> None:
    one = {"PACSLESS_LOG_LEVEL": "DEBUG", "THREADS": "7"}
    manifests = helm(4).template(
        values(
            "local",
            gateway={"env": {"PACSLESS_GATEWAY_PROCESSES": "3"}},
            functions={"qido_rs": {"env": one}, "extract_tags": {"env": one}},
        )
    )
    for kind, name, wanted in (
        ("Deployment", "qido-rs", one),
        ("Deployment", "extract-tags", one),
        ("StatefulSet", "gateway", {"PACSLESS_GATEWAY_PROCESSES": "3"}),
    ):
        pod = named(manifests, kind, f"pacsless-{name}")["spec"]["template"]["spec"]
        said = [variable["name"] for variable in pod["containers"][0]["env"]]
        assert len(said) == len(set(said))
        assert wanted.items() <= environment(pod["containers"][0]).items()


def test_an_authority_of_ones_own_is_there_for_all_who_connect_and_for_keda() -> None:
    chosen = {"kafka": {"tls": True}, "trust": {"existingSecret": "authorities"}}
    manifests = helm(4).template(values("production", **chosen))
    connect = 0
    for name, pod in pods(manifests):
        for one in containers(pod):
            told = environment(one)
            if not {"PACSLESS_KAFKA", "PACSLESS_POSTGRES", "PACSLESS_ARCHIVE"} & told.keys():
                continue
            connect += 1
            assert told["SSL_CERT_FILE"] == told["AWS_CA_BUNDLE"] == "/etc/pacsless/trust/ca.crt"
            mounts = {each["name"]: each["mountPath"] for each in one["volumeMounts"]}
            assert mounts["trust"] == "/etc/pacsless/trust", name
            volumes = {each["name"]: each for each in pod["volumes"]}
            assert volumes["trust"]["secret"]["secretName"] == "authorities", name
    assert connect > 10
    found = named(manifests, "TriggerAuthentication", "pacsless-kafka")["spec"]
    assert found["secretTargetRef"] == [
        {"parameter": "ca", "name": "authorities", "key": "ca.crt"}
    ]  # fmt: skip
    for one in manifests:
        if one["kind"] == "ScaledObject":
            for trigger in one["spec"]["triggers"]:
                assert trigger["authenticationRef"] == {"name": "pacsless-kafka"}


def test_tls_of_kafka_is_told_to_who_speaks_to_it_and_to_keda() -> None:
    manifests = helm(4).template(values("production", kafka={"tls": True}))
    told = [
        environment(one)
        for _, pod in pods(manifests)
        for one in containers(pod)
        if "PACSLESS_KAFKA" in environment(one)
    ]
    assert told and all(one["PACSLESS_KAFKA_TLS"] == "true" for one in told)
    triggers = [
        trigger["metadata"]
        for one in manifests
        if one["kind"] == "ScaledObject"
        for trigger in one["spec"]["triggers"]
    ]
    assert triggers and all(one["tls"] == "enable" for one in triggers)


CONNECTED = {
    "PACSLESS_KAFKA": "kafka",
    "PACSLESS_POSTGRES": "postgres",
    "PACSLESS_REDIS": "redis",
    "PACSLESS_DORIS_PASSWORD": "doris",
    "PACSLESS_PSEUDONYM_KEY": "pseudonyms",
}


@pytest.mark.parametrize("spec", FUNCTIONS.values(), ids=lambda spec: spec.name)
def test_a_function_is_connected_to_what_it_uses_alone(spec: Any) -> None:
    manifests = helm(4).template(
        values("local", oauth2={"issuer": "https://id.example.org"}, keda={"enabled": True})
    )
    image = f"/{kebab(spec.name)}:"
    (one,) = (
        each for _, pod in pods(manifests) for each in containers(pod) if image in each["image"]
    )
    told = environment(one)
    assert {use for name, use in CONNECTED.items() if name in told} == {
        use for use in spec.uses if use in CONNECTED.values()
    }
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in one["volumeMounts"]}
    assert mounts.get("/data") == (
        False if "archive" in spec.uses else True if "archive-read" in spec.uses else None
    )
    assert ("/spool" in mounts) == ("spool" in spec.uses)
    assert ("PACSLESS_OAUTH2_ISSUER" in told) == (spec.kind in ("http", "authorization"))


def test_who_shares_the_outbox_shares_a_pod() -> None:
    pod = named(rendered("local", "keda"), "StatefulSet", "pacsless-gateway")["spec"]["template"]
    spools = {
        one["name"]: environment(one)["PACSLESS_SPOOL"]
        for one in pod["spec"]["containers"]
        if "/spool" in {mount["mountPath"] for mount in one["volumeMounts"]}
    }
    assert spools == {"scp-gateway": "/spool", "stow-rs": "/spool"}


def test_the_network_lets_everyone_reach_what_they_use() -> None:
    manifests = helm(4).template(values("local", networkPolicy={"enabled": True}))
    allowed = {
        one["metadata"]["name"].removeprefix("pacsless-to-"): {
            value
            for rule in one["spec"]["ingress"]
            for peer in rule.get("from", [])
            for value in peer["podSelector"]["matchExpressions"][0]["values"]
        }
        for one in manifests
        if one["kind"] == "NetworkPolicy" and "-to-" in one["metadata"]["name"]
    }
    pods_of = {"doris": "warehouse"}
    for spec in FUNCTIONS.values():
        for use in set(spec.uses) & {"kafka", "postgres", "redis", "doris"}:
            assert kebab(spec.name) in allowed[pods_of.get(use, use)]
        if spec.kind == "http":
            assert "nginx" in allowed["gateway" if "spool" in spec.uses else kebab(spec.name)]
    assert {"gateway", "nginx", "setup"} <= allowed["kafka"]


def test_knative_reaches_whom_it_feeds() -> None:
    """Its activator and its sources have namespaces of their own."""
    manifests = helm(4).template(values("local", "knative", networkPolicy={"enabled": True}))
    (rule,) = named(manifests, "NetworkPolicy", "pacsless-knative")["spec"]["podSelector"][
        "matchExpressions"
    ]
    fed = {kebab(one.name) for one in FUNCTIONS.values() if one.kind in ("event", "timer")}
    assert set(rule["values"]) == fed


def test_what_all_pods_have_knatives_have_too() -> None:
    pod = {
        "labels": {"team": "imaging"},
        "annotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "imaging", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    for one in helm(4).template(values("local", "knative", pod=pod)):
        if one["apiVersion"] == "serving.knative.dev/v1":
            template = one["spec"]["template"]
            assert template["metadata"]["labels"]["team"] == "imaging"
            assert template["metadata"]["annotations"]["a"] == "b"
            for key in ("nodeSelector", "tolerations", "priorityClassName"):
                assert template["spec"][key] == pod[key]


def test_without_an_account_of_its_own_pods_have_the_one_there_is() -> None:
    manifests = helm(4).template(values("local", serviceAccount={"create": False}))
    assert {pod["serviceAccountName"] for _, pod in pods(manifests)} == {"default"}


def test_fields_of_a_service_follow_its_type() -> None:
    service = {"nodePort": 30104, "tlsNodePort": 30762, "loadBalancerSourceRanges": ["10.0.0.0/8"]}
    tls = {"enabled": True, "existingSecret": "dicom"}
    for kind, ports, ranges in (
        ("ClusterIP", [None, None], None),
        ("NodePort", [30104, 30762], None),
        ("LoadBalancer", [30104, 30762], ["10.0.0.0/8"]),
    ):
        chosen = {"service": {"type": kind, **service}, "tls": tls}
        manifests = helm(4).template(values("local", gateway=chosen))
        (found,) = (
            one["spec"]
            for one in manifests
            if one["kind"] == "Service" and one["metadata"]["name"] == "pacsless-gateway"
        )
        assert [one.get("nodePort") for one in found["ports"]] == ports
        assert found.get("loadBalancerSourceRanges") == ranges


def test_no_name_is_too_long_for_a_cron_job() -> None:
    for one in helm(4).template(values("local", fullnameOverride="n" * 40)):
        assert len(one["metadata"]["name"]) <= (52 if one["kind"] == "CronJob" else 63)


def test_partitions_are_what_scales() -> None:
    manifests = helm(4).template(
        values("local", keda={"enabled": True}, kafka={"partitions": 12},
               functions={"transcode": {"maxReplicas": 3}})
    )  # fmt: skip
    most = {
        one["metadata"]["name"]: one["spec"]["maxReplicaCount"]
        for one in manifests
        if one["kind"] == "ScaledObject"
    }
    assert most["pacsless-extract-tags"] == 12 and most["pacsless-transcode"] == 3
    job = next(one for one in manifests if one["kind"] == "Job")
    steps = containers(job["spec"]["template"]["spec"])
    assert ["topics", "--partitions=12"] in [one["args"] for one in steps]


def test_every_topic_is_read_by_somebody() -> None:
    read = {topic for one in EVENT for topic in one.topics}
    assert read == set(TOPICS)


@pytest.mark.parametrize(("profile", "mode"), MATRIX)
def test_jobs_run_commands_there_are(profile: str, mode: str) -> None:
    run = set()
    for name, pod in pods(rendered(profile, mode)):
        for one in containers(pod):
            if "/pacsless/pacsless:" in one["image"]:
                command, *arguments = one["args"]
                found = main.get_command(click.Context(main), command)
                assert found is not None, f"{name} runs {command}"
                found.make_context(command, list(arguments))
                run.add(command)
    assert {"wait-for", "migrate", "topics", "access-log"} <= run
