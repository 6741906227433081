"""The manifests of make cluster: rendered by kustomize itself, and read as a cluster would."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dev import tools
from dev.cluster import in_cluster
from dev.cluster.manifests import DEVELOPMENT_CLOCK, LOCAL, RULES_FOLDER, Variant, rule_files, write_kustomization
from dev.demo.story import STARTS_AT
from dev.layout import ROOT
from shared.runtime.connection_settings import DEVELOPMENT_HOSTS

_IMAGES = {"stet": "one", "stet-dev": "two"}


def rendered(folder: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe", pure=True).load_all(tools.kustomize(folder)))


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """One object; generated ones have a hash behind their name."""
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"].startswith(name))


@pytest.fixture(scope="module")
def local() -> list[dict[str, Any]]:
    return rendered(LOCAL)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    variant = Variant("stet-stories", _IMAGES, (DEVELOPMENT_CLOCK,))
    return rendered(write_kustomization(variant, tmp_path_factory.mktemp("stories")))


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in objects
        if one["kind"] in {"Deployment", "StatefulSet", "Job"}
    }


def test_the_services_of_the_component_are_the_hosts_that_a_development_clock_may_name(
    local: list[dict[str, Any]],
) -> None:
    names = {one["metadata"]["name"] for one in local if one["kind"] == "Service"}
    assert {name for name in names if name.startswith("dev-")} == DEVELOPMENT_HOSTS


def test_pods_use_the_addresses_that_the_component_sets(local: list[dict[str, Any]]) -> None:
    shared = named(local, "ConfigMap", "stet-")["data"]
    dispatcher = named(local, "ConfigMap", "dispatcher-")["data"]
    assert shared["STET_KAFKA_BOOTSTRAP"] == in_cluster.BOOTSTRAP
    assert dispatcher["STET_WHATSAPP_GRAPH_URL"] == in_cluster.WHATSAPP_URL
    assert named(local, "ConfigMap", "writeback-")["data"]["STET_CONSONANCE_URL"] == in_cluster.CONSONANCE_URL
    lines = YAML(typ="safe", pure=True).load(dispatcher["STET_WHATSAPP_LINES"])
    assert {number: line for line, number in lines.items()} == in_cluster.LINES


def test_every_pod_meets_the_restricted_standard_without_a_token(stories: list[dict[str, Any]]) -> None:
    for name, spec in pods(stories).items():
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["automountServiceAccountToken"] is False, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"], name
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name


def test_all_pods_of_the_stories_share_one_clock(stories: list[dict[str, Any]]) -> None:
    running = {name: spec for name, spec in pods(stories).items() if name not in {"topics", "migrate"}}
    without = {name for name, spec in running.items() if not any(v["name"] == "clock" for v in spec["volumes"])}
    assert without == {"dev-broker", "dev-database"}
    starts = {tuple(spec["initContainers"][0]["args"]) for name, spec in running.items() if name not in without}
    assert starts == {(str(in_cluster.CLOCK), f"{STARTS_AT:%Y-%m-%dT%H:%M:%S%z}")}
    assert named(stories, "ConfigMap", "stet-")["data"]["STET_DEVELOPMENT_CLOCK"] == str(in_cluster.CLOCK)


def test_a_variant_names_its_namespace_and_its_images(stories: list[dict[str, Any]]) -> None:
    assert {one["metadata"].get("namespace", "stet-stories") for one in stories} == {"stet-stories"}
    assert named(stories, "Namespace", "stet")["metadata"]["name"] == "stet-stories"
    images = {container["image"] for spec in pods(stories).values() for container in spec["containers"]}
    assert images == {"stet:one", "stet-dev:two"}


def test_rules_of_a_run_are_mounted_with_their_folders(tmp_path: Path) -> None:
    records = tmp_path / "given.json"
    records.write_text('{"contacts": []}')
    variant = Variant("stet", _IMAGES, (), {"dispatcher": {"STET_SEND_TIMEOUT_SECONDS": "4"}}, ROOT / "rules", records)
    objects = rendered(write_kustomization(variant, tmp_path / "kustomize"))
    spec = pods(objects)["rules"]
    volume = next(volume["configMap"] for volume in spec["volumes"] if volume["name"] == "rule-files")
    files = named(objects, "ConfigMap", "rule-files")["data"]
    paths = {item["path"]: files[item["key"]] for item in volume["items"]}
    assert paths["people.yaml"] == (ROOT / "rules" / "people.yaml").read_text("utf-8")
    assert paths["house/to_read.template.yaml"] == (ROOT / "rules/house/to_read.template.yaml").read_text("utf-8")
    assert volume["name"] == named(objects, "ConfigMap", "rule-files")["metadata"]["name"]
    assert named(objects, "ConfigMap", "rules-")["data"]["STET_RULES_DIR"] == RULES_FOLDER
    assert named(objects, "ConfigMap", "dispatcher-")["data"]["STET_SEND_TIMEOUT_SECONDS"] == "4"
    assert named(objects, "ConfigMap", "dev-records")["data"]["records.json"] == '{"contacts": []}'


def test_rule_files_leave_the_tests_of_rules_out(tmp_path: Path) -> None:
    (tmp_path / "rights").mkdir()
    for name in ("calendar.yaml", "rights/a.rule.yaml", "rights/a.test.yaml"):
        (tmp_path / name).write_text(name)
    assert rule_files(tmp_path) == {"calendar.yaml": b"calendar.yaml", "rights__a.rule.yaml": b"rights/a.rule.yaml"}
