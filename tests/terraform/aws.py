"""AWS as moto has it, and our answers where moto has none.

Ours: MSK (moto's stays "creating" for ever and has neither configurations nor
brokers), EKS add-ons, the cluster's security group, the nodes of a cache, the end of a cache
and of its subnets. They remember what they are given and check nothing, so for these
a test tells only that the provider sends it, reads the same back, and removes it.
Where moto forgets, or makes up, single attributes, `FORGOTTEN` says which: a second
plan is not asked about them.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.core.config import default_user_config
from moto.core.responses import EmptyResult
from moto.elasticache.models import CacheCluster, ElastiCacheBackend
from moto.elasticache.responses import ElastiCacheResponse
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.terraform.msk import REGION, Json, Kafka, answer_of, error

SERVICES = (
    "ec2", "eks", "elasticache", "iam", "kafka", "kms", "logs", "rds", "s3", "secretsmanager",
    "sts",
)  # fmt: skip

FORGOTTEN: dict[str, dict[str, list[str]]] = {
    "eks": {
        "aws_eks_cluster.this": ["access_config"],
        "aws_launch_template.node": ["tag_specifications"],
        "aws_eks_node_group.this": ["remote_access", "update_config", "scaling_config", "labels"],
    },
    "kafka": {"aws_vpc_security_group_ingress_rule.clients": ["description"]},
    "postgres": {
        "aws_vpc_security_group_ingress_rule.clients": ["description"],
        "aws_db_parameter_group.this": ["parameter"],
        "aws_db_instance.this": ["performance_insights_enabled", "performance_insights_kms_key_id"],
    },
    "redis": {
        "aws_vpc_security_group_ingress_rule.clients": ["description"],
        "aws_elasticache_replication_group.this": [
            "at_rest_encryption_enabled",
            "security_group_ids",
            "transit_encryption_mode",
            "user_group_ids",
        ],
    },
}
"""Attributes that come back from moto otherwise than they were sent, by module and resource."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Aws:
    """One account, empty at first, on a port of this machine."""

    def __init__(self) -> None:
        default_user_config["iam"] = {"load_aws_managed_policies": True}
        ElastiCacheBackend.describe_cache_clusters = _cache_nodes  # type: ignore[method-assign]
        ElastiCacheBackend.delete_replication_group = _delete_cache  # type: ignore[method-assign]
        ElastiCacheResponse.delete_cache_subnet_group = _delete_cache_subnets
        self.gaps = Gaps(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            "127.0.0.1", 0, self.gaps, threaded=True, request_handler=MotoRequestHandler
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it; all is forgotten."""
        self._server.shutdown()
        self._thread.join()

    def left(self) -> dict[str, list[str]]:
        """What there is of ours, by kind; nothing in an account nobody has used."""
        found: dict[str, list[str]] = {
            "kafka": [*self.gaps.kafka.clusters, *self.gaps.kafka.configurations],
            "addons": [*self.gaps.addons],
            "eks": [*_backend("eks").clusters],
            "rds": [*_backend("rds").databases],
            "rds subnets": [*_backend("rds").subnet_groups],
            "cache": [*_backend("elasticache").replication_groups],
            "cache subnets": [*_backend("elasticache").cache_subnet_groups],
            "buckets": [*_backend("s3", "global").buckets],
            "secrets": [*_backend("secretsmanager").secrets.keys()],
            "roles": [one.name for one in _backend("iam", "global").roles.values()],
            "vpcs": [
                one.id
                for one in _backend("ec2").vpcs.values()
                if one.is_default not in (True, "true")
            ],
            "nat": [
                one.id for one in _backend("ec2").nat_gateways.values() if one.state != "deleted"
            ],
            "addresses": [one.allocation_id for one in _backend("ec2").addresses],
            "templates": [*_backend("ec2").launch_templates],
            "logs": [*_backend("logs").groups],
            # A key goes after days.
            "keys": [
                one.id
                for one in _backend("kms").keys.values()
                if one.key_state != "PendingDeletion"
            ],
        }
        return {kind: names for kind, names in found.items() if names}


def _backend(service: str, region: str = REGION) -> Any:
    place = "aws" if region == "global" else region
    return get_backend(service)[ACCOUNT][place]  # type: ignore[arg-type]


def _cache_nodes(self: ElastiCacheBackend, cache_cluster_id: str | None = None) -> list[Any]:
    """The nodes that moto's replication groups name, which it has not."""
    found: list[Any] = list(self.cache_clusters.values())
    for group in self.replication_groups.values():
        for name in group.member_clusters:
            node = _node(self, name, group)
            found.append(node)
    return [one for one in found if cache_cluster_id in (None, one.cache_cluster_id)]


def _delete_cache(self: ElastiCacheBackend, replication_group_id: str, *_: Any, **__: Any) -> Any:
    """Delete a replication group; moto's is "deleting" for ever."""
    group = self.replication_groups.pop(replication_group_id)
    group.status = "deleting"
    return group


def _delete_cache_subnets(self: ElastiCacheResponse) -> EmptyResult:
    """Delete a subnet group, which moto cannot."""
    del self.elasticache_backend.cache_subnet_groups[self._get_param("CacheSubnetGroupName")]
    return EmptyResult()


def _node(backend: ElastiCacheBackend, name: str, group: Any) -> CacheCluster:
    values = dict.fromkeys(_parameters(CacheCluster))
    values |= {
        "account_id": backend.account_id,
        "region_name": backend.region_name,
        "cache_cluster_id": name,
        "replication_group_id": group.replication_group_id,
        "cache_node_type": group.cache_node_type,
        "num_cache_nodes": 1,
        "engine": group.engine,
        "engine_version": "7.1.0",
        "port": group.port,
        "tags": [],
        "cache_subnet_group_name": group.cache_subnet_group_name,
        "security_group_ids": group.security_group_ids,
        "auto_minor_version_upgrade": group.auto_minor_version_upgrade,
        "transit_encryption_enabled": group.transit_encryption_enabled,
    }
    node = CacheCluster(**values)
    node.cache_cluster_status = "available"
    return node


def _parameters(of: type) -> list[str]:
    code = of.__init__.__code__  # type: ignore[misc]
    return [*code.co_varnames[1 : code.co_argcount]]


class Gaps:
    """Answers what moto does not, and hands it the rest."""

    def __init__(self, moto: Wsgi) -> None:
        self._moto = moto
        self.kafka = Kafka()
        self.addons: dict[str, Json] = {}
        self._groups: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        path = unquote(request.environ.get("RAW_URI", request.path)).partition("?")[0]
        if path.startswith(("/v1/clusters", "/v1/configurations", "/api/v2/clusters")):
            answer = self.kafka.answer(request.method, path, _body(request))
        elif found := re.fullmatch(r"/clusters/([^/]+)/addons(?:/([^/]+))?", path):
            answer = self._addon(request.method, found[1], found[2], _body(request))
        elif re.fullmatch(r"/clusters(/[^/]+)?", path) and "/eks/" in _signed(request):
            response = Response.from_app(self._moto, environ)
            return self._with_group(response)(environ, start_response)
        else:
            return self._moto(environ, start_response)
        return answer(environ, start_response)

    def _addon(self, method: str, cluster: str, name: str | None, body: Json) -> Response:
        if method == "POST" and name is None:
            name = body["addonName"]
            arn = f"arn:aws:eks:{REGION}:{ACCOUNT}:addon/{cluster}/{name}/{uuid.uuid4()}"
            self.addons[name] = {
                "addonVersion": "v1.0.0-eksbuild.1",
                "createdAt": 0, "modifiedAt": 0,
                **body, "clusterName": cluster, "addonArn": arn, "status": "ACTIVE",
            }  # fmt: skip
        if name not in self.addons:
            return error(404, "ResourceNotFoundException")
        addon = self.addons.pop(name) if method == "DELETE" else self.addons[name]
        return answer_of({"addon": addon})

    def _with_group(self, response: Response) -> Response:
        """Give a cluster the security group that EKS makes with it, and takes with it."""
        body = json.loads(response.get_data() or "{}")
        cluster = body.get("cluster")
        if response.status_code != 200 or not cluster:
            return response
        config = cluster["resourcesVpcConfig"]
        name = cluster["name"]
        if name not in self._groups:
            ec2 = _backend("ec2")
            vpc = ec2.get_subnet(config["subnetIds"][0]).vpc_id
            group = ec2.create_security_group(f"eks-{name}", "made by EKS", vpc_id=vpc)
            self._groups[name] = group.id
        config["clusterSecurityGroupId"] = self._groups[name]
        if cluster["status"] == "DELETING" or name not in _backend("eks").clusters:
            _backend("ec2").delete_security_group(group_id=self._groups.pop(name))
        return answer_of(body)


def _signed(request: Request) -> str:
    return request.headers.get("Authorization", "")


def _body(request: Request) -> Json:
    found = request.get_json(silent=True) if request.content_length else None
    return found or {}
