"""The invariants, held against the ledger of the senders once everything is quiet."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pacsless.identity import InstanceIdentity, SeriesIdentity, study_metadata_key
from tests.crash.checks import Violations, torn
from tests.crash.load import Instance, SenderLedger
from tests.faults import views
from tests.faults.load import TENANTS
from tests.faults.poison import Poison
from tests.faults.system import System
from tests.gateway import data_set

_STUDIES, _SERIES, _INSTANCES = "00201206", "00201209", "00201208"
_STUDY_UID, _SERIES_UID, _SOP_UID = "0020000D", "0020000E", "00080018"

Study = tuple[str, str]
"""Tenant and Study Instance UID."""


def check(
    system: System, ledger: SenderLedger, poison: Poison, violations: Violations,
    fresh: Sequence[Instance],
) -> None:  # fmt: skip
    """Check everything; what is asked over HTTP, of the studies of `fresh` alone."""
    rows = views.ledger_rows(system)
    studies = {(one.identity.tenant_id, one.identity.study_instance_uid) for one in fresh}
    check_files(system, ledger, rows, violations)
    check_retrieval(system, fresh, violations)
    check_counters(system, rows, studies, violations)
    check_documents(system, rows, studies, violations)
    check_dead_letters(system, poison, violations)
    check_warehouse(system, ledger, rows, violations)
    check_tenants(system, fresh, {_study(one) for one, _ in rows}, violations)


def check_files(
    system: System, ledger: SenderLedger, rows: Sequence[tuple[InstanceIdentity, str]],
    violations: Violations,
) -> None:  # fmt: skip
    """I2, and I1 on the disk: files, what was sent and the index are the same instances."""
    digests = views.file_digests(system)
    acknowledged = ledger.acknowledgements()
    for key, instance in acknowledged.items():
        if problem := torn(system.root / key, instance):
            violations.add("I1 acknowledged, and " + problem.partition(":")[0], key)
    for key in digests.keys() - ledger.sent.keys():
        violations.add("I1 in the archive, and never sent", key)
    indexed = {one.key: digest for one, digest in rows}
    if len(indexed) != len(rows):
        violations.add("I2 indexed twice", f"{len(rows)} rows of {len(indexed)} instances")
    for key in digests.keys() - indexed.keys():
        violations.add("I2 in the archive, and not indexed", key)
    for key in indexed.keys() - digests.keys():
        violations.add("I2 indexed, and not in the archive", key)
    for key in digests.keys() & indexed.keys():
        if digests[key] != indexed[key]:
            violations.add("I2 indexed with another digest", key)


def check_retrieval(system: System, fresh: Iterable[Instance], violations: Violations) -> None:
    """I1 over WADO-RS: each instance comes back with the data set that was sent."""
    wanted = {_url(system, one.identity): one for one in fresh}
    for url, answer in views.get_all(wanted, "application/dicom"):
        if answer.status != 200:
            violations.add(f"I1 answered {answer.status}", url)
        elif hashlib.sha256(data_set(answer.data)).hexdigest() != wanted[url].sha256:
            violations.add("I1 another data set is answered", url)


def check_counters(
    system: System, rows: Sequence[tuple[InstanceIdentity, str]], studies: Iterable[Study],
    violations: Violations,
) -> None:  # fmt: skip
    """I3, and I8 of searches: QIDO-RS knows the tenant's studies alone, and counts them right."""
    series = Counter(one.series for one, _ in rows)
    for tenant in TENANTS:
        root = system.dicomweb(tenant)
        of_tenant = [one for one, _ in rows if one.tenant_id == tenant]
        instances = Counter(one.study_instance_uid for one in of_tenant)
        several = Counter(one.study_instance_uid for one in series if one.tenant_id == tenant)
        found = {
            views.value(one, _STUDY_UID): (views.value(one, _STUDIES), views.value(one, _INSTANCES))
            for one in views.search(f"{root}/studies")
        }
        wanted = {uid: (several[uid], count) for uid, count in instances.items()}
        _same("I3 studies", wanted, found, tenant, violations)
        for uid in [uid for owner, uid in studies if owner == tenant]:
            counted = {
                views.value(one, _SERIES_UID): views.value(one, _SERIES)
                for one in views.search(f"{root}/studies/{uid}/series")
            }
            wanted_series = {
                one.series_instance_uid: count
                for one, count in series.items()
                if (one.tenant_id, one.study_instance_uid) == (tenant, uid)
            }
            _same("I3 series", wanted_series, counted, f"{tenant}/{uid}", violations)
            listed = Counter(
                views.value(one, _SOP_UID)
                for one in views.search(f"{root}/studies/{uid}/instances")
            )
            sops = Counter(
                one.sop_instance_uid for one in of_tenant if one.study_instance_uid == uid
            )
            _same("I3 instances", sops, listed, f"{tenant}/{uid}", violations)


def check_documents(
    system: System, rows: Sequence[tuple[InstanceIdentity, str]], studies: Iterable[Study],
    violations: Violations,
) -> None:  # fmt: skip
    """I4: metadata documents, as stored and as served, list exactly the instances."""
    of_study: dict[Study, Counter[str]] = {}
    of_series: dict[SeriesIdentity, Counter[str]] = {}
    for one, _ in rows:
        of_study.setdefault(_study(one), Counter())[one.sop_instance_uid] += 1
        of_series.setdefault(one.series, Counter())[one.sop_instance_uid] += 1
    stored = {study_metadata_key(*study): sops for study, sops in of_study.items()}
    stored |= {series.metadata_key: sops for series, sops in of_series.items()}
    for key, sops in stored.items():
        path = system.root / key
        if not path.is_file():
            violations.add("I4 no document", key)
            continue
        content = path.read_bytes()
        _same("I4 the stored document", sops, _listed(content), key, violations)
        if gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()) != content:
            violations.add("I4 the compressed document is another", key)
    served = {
        f"{system.dicomweb(tenant)}/studies/{uid}/metadata": of_study.get((tenant, uid), Counter())
        for tenant, uid in studies
    }
    for url, answer in views.get_all(served, "application/dicom+json"):
        found = _listed(answer.data) if answer.status == 200 else Counter()
        _same("I4 the served document", served[url], found, url, violations)


def check_dead_letters(system: System, poison: Poison, violations: Violations) -> None:
    """I5: the poison is among the dead letters, for its reason, and nothing else is."""
    found = views.dead_letters(system)
    for one in poison.expected - found.keys():
        violations.add("I5 poison without its dead letter", str(one))
    for one in found.keys() - poison.expected:
        violations.add("I5 a dead letter of no poison", str(one))


def check_warehouse(
    system: System, ledger: SenderLedger, rows: Sequence[tuple[InstanceIdentity, str]],
    violations: Violations,
) -> None:  # fmt: skip
    """I6: the warehouse has every instance once, counts them right, and logs each attempt once."""
    identity = "tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid"
    images = [
        (InstanceIdentity(*row[:4]), str(row[4]))
        for row in system.warehouse(f"SELECT {identity}, sha256 FROM dicom_image_meta")
    ]
    _same("I6 images", Counter(rows), Counter(images), "dicom_image_meta", violations)
    wanted: Counter[tuple[str, str, str]] = Counter()
    for one, _ in rows:
        wanted[one.tenant_id, one.study_instance_uid, one.series_instance_uid] += 1
        wanted[one.tenant_id, one.study_instance_uid, ""] += 1
    states = system.warehouse(
        "SELECT tenant_id, study_instance_uid, series_instance_uid,"
        " number_of_study_related_instances, number_of_series_related_instances"
        " FROM dicom_state_meta"
    )
    found = {(row[0], row[1], row[2]): row[4] if row[2] else row[3] for row in states}
    if len(found) != len(states):
        violations.add("I6 states twice", f"{len(states)} rows of {len(found)}")
    _same("I6 states", wanted, found, "dicom_state_meta", violations)
    _check_log(system, ledger, violations)


def _check_log(system: System, ledger: SenderLedger, violations: Violations) -> None:
    by_tenant = {
        (one.identity.tenant_id, one.identity.sop_instance_uid): key
        for key, one in ledger.sent.items()
    }
    logged: Counter[str] = Counter()
    ids: Counter[str] = Counter()
    for tenant, sop, event_id in system.warehouse(
        "SELECT tenant_id, sop_instance_uid, event_id FROM dicom_receive_log"
    ):
        logged[by_tenant.get((tenant, sop), f"{tenant}/{sop}")] += 1
        ids[event_id] += 1
    for event_id, count in ids.items():
        if count > 1:
            violations.add("I6 logged twice", event_id)
    for key, count in logged.items():
        if count > ledger.attempts[key]:
            violations.add("I6 logged more often than sent", f"{key}: {count}")


def check_tenants(
    system: System, fresh: Iterable[Instance], known: set[Study], violations: Violations
) -> None:
    """I8: for one tenant, an object of the other alone is like one that never was."""
    foreign = [
        f"{system.dicomweb(tenant)}/{one.identity.subject}"
        for one in fresh
        for tenant in TENANTS.keys() - {one.identity.tenant_id}
        if (tenant, one.identity.study_instance_uid) not in known
    ]
    for url, answer in views.get_all(foreign[::10], "application/dicom"):
        if answer.status != 404:
            violations.add(f"I8 another tenant's instance: {answer.status}", url)
    studies = sorted({url.partition("/series/")[0] for url in foreign})
    for url, answer in views.get_all([f"{one}/metadata" for one in studies], "*/*"):
        if answer.status != 404:
            violations.add(f"I8 another tenant's metadata: {answer.status}", url)
    for url in studies:
        if views.search(f"{url}/series"):
            violations.add("I8 another tenant's series", url)


def _same(what: str, wanted: Any, found: Any, where: str, violations: Violations) -> None:
    """Note how `found` differs from `wanted`; both are mappings."""
    for key in wanted.keys() | found.keys():
        if wanted.get(key) != found.get(key):
            violations.add(
                f"{what} differ", f"{where}: {key} is {found.get(key)}, not {wanted.get(key)}"
            )


def _listed(content: bytes) -> Counter[str]:
    return Counter(views.value(one, _SOP_UID) for one in json.loads(content))


def _study(identity: InstanceIdentity) -> Study:
    return identity.tenant_id, identity.study_instance_uid


def _url(system: System, identity: InstanceIdentity) -> str:
    return f"{system.dicomweb(identity.tenant_id)}/{identity.subject}"
