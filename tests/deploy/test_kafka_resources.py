"""Strimzi's topics, logins and KEDA's triggers say what the code reads and writes."""

from datetime import timedelta
from typing import Any

import pytest

from dev.deploy.generated import outdated_files
from shared.contracts.personal_data import DELETED_TOPICS
from shared.contracts.topics import ALL_TOPICS, CONSUMED, CONTACTS, PRODUCED, READ_BACK, SERVICES, TRACED
from tests.deploy.manifests import Manifest, base_with, of_kind

DAY = timedelta(days=1).total_seconds() * 1000


def built() -> tuple[Manifest, ...]:
    return base_with(("strimzi", "cloudnative-pg", "operator", "keda"))


def users() -> dict[str, set[tuple[str, str, str]]]:
    """Login → (kind, name, operation) that it is allowed."""
    return {user["metadata"]["name"]: {*_allowed(user)} for user in of_kind(built(), "KafkaUser")}


def _allowed(user: Any) -> list[tuple[str, str, str]]:
    rules = user["spec"]["authorization"]["acls"]
    assert all(rule["resource"]["patternType"] == "literal" for rule in rules)
    return [(r["resource"]["type"], r["resource"]["name"], operation) for r in rules for operation in r["operations"]]


def test_the_files_written_from_the_code_are_up_to_date() -> None:
    assert outdated_files() == [], "run: python -m dev.deploy"


def test_every_topic_has_a_resource_with_its_partitions_and_retention() -> None:
    found = {one["metadata"]["name"]: one["spec"] for one in of_kind(built(), "KafkaTopic")}
    assert found.keys() == {topic.name for topic in ALL_TOPICS}
    for topic in ALL_TOPICS:
        spec = found[topic.name]
        assert (spec["partitions"], spec["replicas"], spec["config"]["min.insync.replicas"]) == (12, 3, 2)
        assert spec["config"]["max.message.bytes"] == topic.max_message_bytes
        if topic.keep is None:
            assert spec["config"]["cleanup.policy"] == "compact"
            assert "retention.ms" not in spec["config"]
        else:
            assert spec["config"]["cleanup.policy"] == "delete"
            assert spec["config"]["retention.ms"] == topic.keep.total_seconds() * 1000
    assert found["messages.requested"]["config"]["retention.ms"] == 7 * DAY


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_do_what_its_code_does_and_nothing_else(service: str) -> None:
    read = {topic.name for topic in CONSUMED[service]}
    written = {topic.name for topic in PRODUCED[service]} | read  # a parked record is sent to its topic again
    audited = {topic.name for topic in READ_BACK.get(service, ())}
    expected = {("topic", name, "Read") for name in read | audited} | {("topic", name, "Write") for name in written}
    expected |= {("topic", name, "Describe") for name in written}
    if read:
        expected |= {("group", f"stet.{service}", operation) for operation in ("Read", "Describe")}
    if service == "ingest":  # an erasure deletes records, up to where every reader has committed
        expected |= {("topic", name, right) for name in DELETED_TOPICS for right in ("Delete", "Describe")}
        expected |= {("group", f"stet.{reader}", "Describe") for reader in SERVICES if CONSUMED[reader]}
    assert users()[f"kafka-{service}"] == expected


def test_keda_and_the_job_read_and_write_nothing() -> None:
    operations = {operation for name in ("kafka-keda", "kafka-topics") for _, _, operation in users()[name]}
    assert operations == {"Describe", "DescribeConfigs"}
    more = {"kafka-keda", "kafka-operator", "kafka-topics"}
    assert users().keys() == {*(f"kafka-{service}" for service in SERVICES), *more}


def test_people_read_what_a_trace_shows_and_write_nothing() -> None:
    allowed = users()["kafka-operator"]
    assert {name for _, name, operation in allowed if operation == "Read"} == {t.name for t in (*TRACED, CONTACTS)}
    assert {operation for _, _, operation in allowed} == {"Read", "Describe", "DescribeConfigs"}
    assert {name for _, name, operation in allowed if operation == "Describe"} == {topic.name for topic in ALL_TOPICS}


@pytest.mark.parametrize("service", ["rules", "writeback"])
def test_a_service_is_scaled_by_the_lag_of_each_topic_that_it_consumes(service: str) -> None:
    (scaled,) = [one for one in of_kind(built(), "ScaledObject") if one["metadata"]["name"] == service]
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    assert [trigger["topic"] for trigger in triggers] == [topic.name for topic in CONSUMED[service]]
    assert {trigger["consumerGroup"] for trigger in triggers} == {f"stet.{service}"}
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 600


def test_a_login_has_the_certificate_that_its_pods_show() -> None:
    for workload in of_kind(built(), "Deployment", "StatefulSet", "Job"):
        command = workload["spec"]["template"]["spec"]["containers"][0]["command"]
        login = command[2].removeprefix("services.") if command[0] == "python" else workload["metadata"]["name"]
        (volume,) = [one for one in workload["spec"]["template"]["spec"]["volumes"] if one["name"] == "secrets"]
        certificates = {one["secret"]["name"] for one in volume["projected"]["sources"]} & users().keys()
        assert certificates == (set() if login == "migrate" else {f"kafka-{login}"})
