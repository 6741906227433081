"""Every overlay and combination of components builds, is valid for each Kubernetes, and holds every policy."""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from math import prod
from textwrap import dedent
from typing import Any

import pytest
import yaml

from dev.layout import ROOT
from dev.metrics_page import load_declarations
from shared.contracts.topics import SERVICES
from shared.runtime.metrics import MOST_RULES, RULE, Declaration
from shared.runtime.settings import load_settings
from tests.deploy import policies
from tests.deploy.manifests import (
    COMBINATIONS,
    COMPONENTS,
    K8S,
    OVERLAYS,
    Manifest,
    built_with,
    distinct,
    everything,
    of_kind,
    overlay,
)
from tests.deploy.schema_checks import all_problems
from tests.deploy.workloads import SETTINGS, matches, workloads

pytestmark = pytest.mark.timeout(240)


def test_every_component_is_built_in_some_combination() -> None:
    used = {name for names in COMBINATIONS for name in names}
    assert {*COMPONENTS} - used == {"dev-clock"}, "dev-clock patches what only overlays/local runs"


def test_every_manifest_is_valid_for_every_kubernetes_and_operator() -> None:
    assert list(all_problems(distinct())) == []


@pytest.mark.parametrize("policy", policies.ALL, ids=lambda policy: policy.__name__)
def test_every_build_holds_the_policy(policy: Callable[[Sequence[Manifest]], Iterator[str]]) -> None:
    assert [f"{name}: {objection}" for name, built in everything().items() for objection in policy(built)] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_get_the_settings_of_their_overlay(name: str) -> None:
    """A component has the last word over the ConfigMaps of an overlay, so it must not set what an overlay chooses."""
    said = yaml.safe_load((K8S / "overlays" / name / "kustomization.yaml").read_text())["configMapGenerator"]
    built = of_kind(overlay(name), "ConfigMap")
    wrong = [
        f"{one['name']}: {literal}"
        for one in said
        for literal in one["literals"]
        if dict([literal.split("=", 1)]).items() - _data_of(built, one["name"]).items()
    ]
    assert wrong == []


def _data_of(built: Sequence[Manifest], name: str) -> dict[str, str]:
    """Of the ConfigMap to whose name kustomize added a hash."""
    (found,) = [one for one in built if one["metadata"]["name"].rpartition("-")[0] == name]
    return dict(found["data"])


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_sets_every_setting_that_has_no_default(name: str) -> None:
    assert list(policies.required_settings(overlay(name))) == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_where_lines_are_set_their_account_is_too(name: str) -> None:
    """Without it the dispatcher reads no templates, and takes what Meta says of other accounts for its own."""
    settings = [one["data"] for one in of_kind(overlay(name), "ConfigMap") if "STET_WHATSAPP_LINES" in one["data"]]
    assert len(settings) == 3
    assert len({one.get("STET_WHATSAPP_BUSINESS_ACCOUNT") for one in settings} - {None}) == 1
    assert all("STET_WHATSAPP_BUSINESS_ACCOUNT" in one for one in settings)


def test_two_objects_of_a_build_never_have_one_name() -> None:
    for name, built in everything().items():
        names = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in built]
        assert len(names) == len({*names}), name


def test_no_manifest_but_a_kustomization_names_a_version_of_our_image() -> None:
    """So a release changes one line of an overlay."""
    found = [
        f"{path.relative_to(K8S)}: {line.strip()}"
        for path in sorted(K8S.rglob("*.yaml"))
        if path.name != "kustomization.yaml"
        for line in path.read_text().splitlines()
        if re.search(r"image: *\S*\bstet(-dev|-operator)?[:@]", line)
    ]
    assert found == []


def test_everything_but_the_namespace_is_in_the_namespace() -> None:
    for name, built in everything().items():
        assert {one["metadata"].get("namespace") for one in built if one["kind"] != "Namespace"} == {"stet"}, name


def test_the_namespace_takes_restricted_pods_only() -> None:
    for built in everything().values():
        (namespace,) = of_kind(built, "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_of_operators_reaches_the_broker_the_database_and_health_ports_alone() -> None:
    built = overlay("production")
    (pod,) = [one for one in workloads(built) if one.name == "operator"]
    ports = {
        port["port"]
        for policy in of_kind(built, "NetworkPolicy")
        if matches(policy["spec"]["podSelector"], pod.labels)
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
    }
    assert ports == {53, 5432, 9090, 9093}


def test_a_scrape_takes_every_sample_that_a_process_can_have() -> None:
    """Prometheus drops a scrape whole where it has one sample too many."""
    (monitor,) = [one for one in of_kind(overlay("production"), "PodMonitor") if one["metadata"]["name"] == "stet"]
    most = {service: sum(_samples(one) for one in declared_by(service)) for service in SERVICES}
    assert 5000 < max(most.values()) < monitor["spec"]["sampleLimit"], most


def test_the_restore_of_the_manual_fits_the_cluster_of_production() -> None:
    (cluster,) = deepcopy(of_kind(overlay("production"), "Cluster"))
    spec = cluster["spec"]
    first, archive = spec["bootstrap"]["initdb"], spec["plugins"][0]
    restore = _restore_of_the_manual()
    recovery, (before,) = restore["bootstrap"]["recovery"], restore["externalClusters"]
    assert {key: recovery[key] for key in ("database", "owner", "secret")} == {
        key: first[key] for key in ("database", "owner", "secret")
    }
    assert recovery["source"] == before["name"]
    assert before["plugin"]["name"] == archive["name"]
    assert before["plugin"]["parameters"]["barmanObjectName"] == archive["parameters"]["barmanObjectName"]
    archive["parameters"]["serverName"] = "stet-db-2"
    spec.update(restore)
    assert list(all_problems([cluster])) == []


def _restore_of_the_manual() -> Any:
    (found,) = (one for one in _yaml_of_the_manual() if "bootstrap" in one)
    return found


def _patches_of_the_manual(part: str) -> Any:
    (found,) = (one for one in _yaml_of_the_manual() if "patches" in one and part in json.dumps(one))
    return found


def test_the_operators_pod_uses_a_broker_and_a_database_of_the_publisher_by_the_patches_of_the_manual() -> None:
    built = built_with(("operator",), _patches_of_the_manual("STET_POSTGRES_DSN"))
    (pod,) = (one for one in workloads(built) if one.name == "operator")
    assert [one["secret"]["name"] for one in pod.pod["volumes"][0]["projected"]["sources"]] == ["stet-operator"]
    assert "@db.example.com/" in pod.variables()["STET_POSTGRES_DSN"]
    assert not of_kind(built, "KafkaUser")
    assert list(all_problems(built)) == []


def test_a_registry_with_a_login_is_named_to_every_pod_by_the_patch_of_the_manual() -> None:
    patches = _patches_of_the_manual("imagePullSecrets")
    built = built_with(("strimzi", "cloudnative-pg", "operator"), patches)
    accounts = of_kind(built, "ServiceAccount")
    assert {one.pod["serviceAccountName"] for one in workloads(built)} <= {one["metadata"]["name"] for one in accounts}
    assert [one["imagePullSecrets"] for one in accounts] == [[{"name": "registry"}]] * len(accounts)
    assert list(all_problems(accounts)) == []


def _yaml_of_the_manual() -> list[Any]:
    page = (ROOT / "docs/operations/kubernetes.md").read_text()
    return [yaml.safe_load(dedent(one)) for one in re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```", page)]


def test_a_restore_stops_what_is_ours_and_leaves_what_operators_run() -> None:
    """By the label of the manual; Strimzi's own Deployment has another name."""
    running = [one.manifest for one in workloads(overlay("production")) if one.manifest["kind"] != "Job"]
    labels = [one["metadata"]["labels"] for one in running]
    assert all(one["app.kubernetes.io/name"] == "stet" for one in labels)
    assert {one["app.kubernetes.io/component"] for one in labels} == {*_PROCESSES, "operator"}


@pytest.mark.parametrize("name", ["production", "staging"])
def test_every_alert_leads_to_its_page_at_the_address_of_the_overlay(name: str) -> None:
    (rules,) = of_kind(overlay(name), "PrometheusRule")
    address = f"https://{rules['metadata']['annotations']['runbooks']}/"
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 60
    for alert in alerts:
        url = alert["annotations"]["runbook_url"]
        assert url.startswith(address)
        assert (ROOT / url.removeprefix(address)).exists(), url


_EXAMPLE = re.compile(r"[\w.@/:-]*(?:example[.-]|[@/]example)[\w.@/-]*")


@pytest.mark.parametrize("name", ["production", "staging"])
def test_example_values_stand_in_the_overlay_and_not_in_a_component(name: str) -> None:
    """One of a component would go to the cluster as it is."""
    mine = set(_EXAMPLE.findall((K8S / "overlays" / name / "kustomization.yaml").read_text("utf-8")))
    found = {text for manifest in overlay(name) for text in _EXAMPLE.findall(json.dumps(manifest))}
    assert {text for text in found if not any(one in text or text in one for one in mine)} == set()


def declared_by(service: str) -> list[Declaration]:
    return [one for one in load_declarations().values() if service in one.services]


_OPEN_VALUES = 20
"""Of a label without a closed set: lines, templates' reasons, topics."""


def _samples(declared: Declaration) -> int:
    """A histogram has its bounds, +Inf, count and sum."""
    each = {"counter": 1, "gauge": 1, "histogram": len(declared.buckets) + 3}[declared.kind]
    if declared.name == "stet_build_info":
        return each
    return each * prod(MOST_RULES + 2 if one == RULE else len(one.values) or _OPEN_VALUES for one in declared.labels)


_PROCESSES = ("ingest-web", "ingest-poll", "rules", "dispatcher", "writeback")


@pytest.mark.parametrize("process", _PROCESSES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_a_process_takes_the_values_that_its_overlay_gives_it(
    name: str, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the secrets of the local overlay, and without TLS, whose files an operator makes."""
    (workload,) = [one for one in workloads(overlay(name)) if one.name == process]
    values = workload.variables() | secrets_for_development(workload.service or "")
    for variable, value in values.items():
        if "_TLS_" not in variable and variable not in {"STET_SECRETS_DIR", "STET_KAFKA_SECURITY_PROTOCOL"}:
            monkeypatch.setenv(variable, value)
    load_settings(SETTINGS[workload.service or ""])


def secrets_for_development(service: str) -> dict[str, str]:
    (secret,) = [s for s in of_kind(overlay("local"), "Secret") if s["metadata"]["name"].startswith(f"stet-{service}-")]
    return {name: b64decode(value).decode() for name, value in secret["data"].items()}
