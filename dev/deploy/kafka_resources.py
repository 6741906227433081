"""Strimzi's resources for Kafka, from what the code declares: a KafkaTopic per topic, a KafkaUser per login.

The rights of a service are those of ``shared.runtime.topic_rights``.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from shared.contracts.topics import ALL_TOPICS, CONSUMED, CONTACTS, PARTITIONS, SERVICES, TRACED, Topic
from shared.runtime.topic_rights import KafkaRight, group_rights, topic_rights
from shared.runtime.topic_setup import config_of

Resource = dict[str, Any]

REPLICAS, IN_SYNC = 3, 2
CLUSTER = "stet"
NAMESPACE = "stet"
SCALED_BY_LAG = ("rules", "writeback")


def kafka_topics() -> list[Resource]:
    return [_kafka_topic(topic) for topic in ALL_TOPICS]


def kafka_users() -> list[Resource]:
    """The logins of the services, and of the Job that compares the topics."""
    return [*map(service_user, SERVICES), _topics_user()]


def service_user(service: str) -> Resource:
    rules = [_allow("topic", name, *_words(rights)) for name, rights in sorted(topic_rights(service).items())]
    rules += [_allow("group", name, *_words(rights)) for name, rights in group_rights(service).items()]
    return _kafka_user(f"kafka-{service}", rules)


def _words(rights: Iterable[KafkaRight]) -> list[str]:
    return [right.name.title() for right in sorted(rights)]


def lag_reader() -> Resource:
    """The login of KEDA: it sees how far the groups are, and reads no record."""
    topics = sorted({topic.name for service in SCALED_BY_LAG for topic in CONSUMED[service]})
    groups = [f"stet.{service}" for service in SCALED_BY_LAG]
    rules = [_allow("topic", name, "Describe") for name in topics] + [_allow("group", g, "Describe") for g in groups]
    return _kafka_user("kafka-keda", rules)


def operator_user() -> Resource:
    """The login of people who run ``stet``: it traces what has happened, and compares topics; it writes nothing."""
    read = {topic.name for topic in (*TRACED, CONTACTS)}
    rules = [
        _allow("topic", topic.name, *(["Read"] if topic.name in read else []), "Describe", "DescribeConfigs")
        for topic in ALL_TOPICS
    ]
    return _kafka_user("kafka-operator", rules)


def lag_triggers(service: str, records_per_replica: int) -> list[Resource]:
    """KEDA's triggers on the lag of each topic that a service consumes; the largest answer counts."""
    return [_lag_trigger(service, topic.name, records_per_replica) for topic in CONSUMED[service]]


def _kafka_topic(topic: Topic) -> Resource:
    config = {key: int(value) if value.isdigit() else value for key, value in config_of(topic).items()}
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": topic.name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"partitions": PARTITIONS, "replicas": REPLICAS, "config": config | {"min.insync.replicas": IN_SYNC}},
    }


def _topics_user() -> Resource:
    rules = [_allow("topic", topic.name, "Describe", "DescribeConfigs") for topic in ALL_TOPICS]
    return _kafka_user("kafka-topics", rules)


def _kafka_user(name: str, rules: Sequence[Resource]) -> Resource:
    return {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaUser",
        "metadata": {"name": name, "labels": {"strimzi.io/cluster": CLUSTER}},
        "spec": {"authentication": {"type": "tls"}, "authorization": {"type": "simple", "acls": list(rules)}},
    }


def _allow(kind: str, name: str, *operations: str) -> Resource:
    return {"resource": {"type": kind, "name": name, "patternType": "literal"}, "operations": list(operations)}


def _lag_trigger(service: str, topic: str, records_per_replica: int) -> Resource:
    metadata = {
        # KEDA asks from its own namespace, where the bare name of the Service means nothing
        "bootstrapServers": f"{CLUSTER}-kafka-bootstrap.{NAMESPACE}.svc:9093",
        "consumerGroup": f"stet.{service}",
        "topic": topic,
        "lagThreshold": str(records_per_replica),
        "allowIdleConsumers": "false",
        "offsetResetPolicy": "earliest",
        "tls": "enable",
    }
    return {"type": "kafka", "metadata": metadata, "authenticationRef": {"name": "kafka"}}
