"""Each policy objects to a manifest that breaks it, and says where."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.deploy import policies
from tests.deploy.manifests import Manifest, base_with
from tests.deploy.schema_checks import schema_problems


def one(manifests: list[Manifest], kind: str, name: str) -> Any:
    (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].startswith(name)]
    return found


def pod(manifests: list[Manifest], kind: str = "Deployment", name: str = "dispatcher") -> Any:
    return one(manifests, kind, name)["spec"]["template"]["spec"]


def container(manifests: list[Manifest], name: str = "dispatcher") -> Any:
    return pod(manifests, name=name)["containers"][0]


Break = Callable[[list[Manifest]], object]


def put(find: Callable[[list[Manifest]], Any], *path: Any, to: Any) -> Break:
    """Gives the field at a path another value; None takes the field away."""

    def change(manifests: list[Manifest]) -> None:
        *keys, last = path
        place = find(manifests)
        for key in keys:
            place = place[key]
        if to is None:
            del place[last]
        else:
            place[last] = to

    return change


def drop(kind: str, name: str) -> Break:
    return lambda manifests: manifests.remove(one(manifests, kind, name))


def config(name: str) -> Callable[[list[Manifest]], Any]:
    return lambda manifests: one(manifests, "ConfigMap", name)


def policy(name: str) -> Callable[[list[Manifest]], Any]:
    return lambda manifests: one(manifests, "NetworkPolicy", name)["spec"]


def of(kind: str, name: str) -> Callable[[list[Manifest]], Any]:
    return lambda manifests: one(manifests, kind, name)


def _trigger(manifests: list[Manifest]) -> Any:
    return one(manifests, "ScaledObject", "rules")["spec"]["triggers"][0]


def _brokers(manifests: list[Manifest]) -> Any:
    return one(manifests, "KafkaNodePool", "brokers")["spec"]["template"]["pod"]


_HAPROXY = "haproxy-ingress.github.io"


def _path_of(ingress: str) -> Callable[[list[Manifest]], Any]:
    return lambda manifests: one(manifests, "Ingress", ingress)["spec"]["rules"][0]["http"]["paths"][0]


def secret_variable(manifests: list[Manifest]) -> None:
    container(manifests)["env"] = [{"name": "STET_WHATSAPP_TOKEN", "value": "EAAG"}]


CASES: dict[Any, list[tuple[Break, str]]] = {
    policies.restricted_pods: [
        (put(pod, "securityContext", "runAsNonRoot", to=False), "Deployment dispatcher: the pod may run as root"),
        (put(pod, "securityContext", "seccompProfile", to=None), "no seccomp profile"),
        (put(pod, "hostNetwork", to=True), "hostNetwork"),
        (put(pod, "volumes", 1, to={"name": "tmp", "hostPath": {"path": "/"}}), "folder of the node"),
        (put(container, "securityContext", "privileged", to=True), "privileged"),
        (put(container, "securityContext", "allowPrivilegeEscalation", to=True), "may escalate"),
        (put(container, "securityContext", "readOnlyRootFilesystem", to=None), "can be written"),
        (put(container, "securityContext", "capabilities", to={"drop": ["ALL"], "add": ["KILL"]}), "capabilities"),
        (put(container, "ports", 0, "hostPort", to=9090), "a port of the node"),
    ],
    policies.versioned_images: [
        (put(container, "image", to="stet:latest"), "stet:latest names no version"),
        (put(container, "image", to="registry.example:5000/stet"), "names no version"),
        (put(container, "image", to="stet:9.9.9"), "different images of ours"),
        (put(container, "image", to="stet-operator:9.9.9"), "different images of ours"),
    ],
    policies.programs_of_the_image: [
        (put(container, "command", to=["sleep", "infinity"]), "the image stet has no sleep"),
        (put(container, "livenessProbe", to={"exec": {"command": ["sh", "-c", "true"]}}), "the image stet has no sh"),
        (put(container, "lifecycle", to={"preStop": {"exec": {"command": ["sleep", "5"]}}}), "has no sleep"),
    ],
    policies.bounded_resources: [
        (put(container, "resources", "limits", to={}), "no limit of memory"),
        (put(container, "resources", "limits", "cpu", to="1"), "a CPU limit throttles it"),
        (put(container, "resources", "requests", "cpu", to=None), "no request of cpu"),
        (put(container, "resources", "requests", "ephemeral-storage", to=None), "no request of ephemeral-storage"),
        (put(container, "resources", "limits", "ephemeral-storage", to=None), "no limit of ephemeral-storage"),
        (put(container, "resources", "limits", "ephemeral-storage", to="256Mi"), "may take 314 MiB, and 256 are"),
    ],
    policies.accounts_without_tokens: [
        (put(pod, "automountServiceAccountToken", to=True), "the pod mounts a token"),
        (put(of("ServiceAccount", "dispatcher"), "automountServiceAccountToken", to=None), "mounts a token"),
        (drop("ServiceAccount", "dispatcher"), "no ServiceAccount dispatcher"),
    ],
    policies.meaningful_probes: [
        (put(container, "livenessProbe", "httpGet", "path", to="/readyz"), "the livenessProbe asks"),
        (put(container, "readinessProbe", to=None), "the readinessProbe asks None"),
        (put(container, "readinessProbe", "failureThreshold", to=5), "25 seconds pass until it gets no more requests"),
    ],
    policies.termination_grace: [
        (put(pod, "terminationGracePeriodSeconds", to=30), "30 seconds to end, and it may need 33"),
        (put(lambda m: container(m, "ingest-web"), "lifecycle", to=None), "no pause before its end"),
    ],
    policies.disruption_budgets: [
        (drop("PodDisruptionBudget", "rules"), "StatefulSet rules: 0 PodDisruptionBudgets"),
        (put(of("PodDisruptionBudget", "rules"), "spec", "maxUnavailable", to=0), "no node can ever"),
    ],
    policies.removable_nodes: [
        (
            lambda m: one(m, "Deployment", "dispatcher")["spec"]["template"]["metadata"].pop("annotations"),
            "Deployment dispatcher: no node is removed under it, for its volume tmp",
        ),
        (put(pod, "volumes", 1, "name", to="cache"), "for its volume cache"),
    ],
    policies.known_settings: [
        (put(config("dispatcher"), "data", "STET_WHATSAPP_GRAPH_URI", to="x"), "no setting STET_WHATSAPP_GRAPH_URI"),
        (put(config("dispatcher"), "data", "STET_STAGES", to="{}"), "STET_STAGES is no setting of dispatcher"),
    ],
    policies.required_settings: [
        (lambda _: None, "Deployment dispatcher: STET_TENANT is not set"),
        (
            put(pod, "volumes", 0, "projected", "sources", to=[]),
            "STET_WHATSAPP_TOKEN is not in the Secret stet-dispatcher",
        ),
        (
            put(lambda m: pod(m, "Deployment", "ingest-poll"), "volumes", 0, "projected", "sources", to=[]),
            "Deployment ingest-poll: STET_CONSONANCE_KEY is not in the Secret stet-ingest",
        ),
    ],
    policies.secrets_apart: [
        (put(config("dispatcher"), "data", "STET_WHATSAPP_TOKEN", to="EAAG"), "STET_WHATSAPP_TOKEN is a secret"),
        (put(config("rules"), "data", "STET_POSTGRES_DSN", to="postgresql://a:b@c/d"), "STET_POSTGRES_DSN is a secret"),
        (secret_variable, "STET_WHATSAPP_TOKEN is a secret, and a variable"),
    ],
    policies.own_secrets: [
        (
            put(pod, "volumes", 0, "projected", "sources", 0, "secret", "name", to="stet-ingest"),
            "Deployment dispatcher: it reads the Secret stet-ingest",
        ),
        (
            put(config("rules"), "data", "STET_POSTGRES_DSN", to="postgresql://stet_ingest@db/stet"),
            "StatefulSet rules: it logs in to PostgreSQL as stet_ingest",
        ),
    ],
    policies.optional_job_secrets: [
        (
            put(
                lambda m: pod(m, "Job", "topics"),
                "volumes",
                0,
                "projected",
                "sources",
                0,
                "secret",
                "optional",
                to=None,
            ),
            "Job topics: it does not start without the Secret stet-topics",
        ),
        (put(of("ExternalSecret", "stet-rules"), "metadata", "name", to="stet-migrate"), "its entry needs no key"),
    ],
    policies.immutable_config: [
        (put(config("rules"), "immutable", to=None), "can be changed under the pods"),
        (put(container, "envFrom", 1, "configMapRef", "name", to="elsewhere"), "no ConfigMap elsewhere"),
    ],
    policies.restarts_on_change: [
        (put(config("stet"), "data", "STET_SECRETS_RESTART_SECONDS", to="0"), "changed Secret does not restart it"),
        (put(container, "volumeMounts", 1, "subPath", to="STET_WHATSAPP_TOKEN"), "a changed Secret does not reach it"),
    ],
    policies.ports_of_listeners: [
        (put(config("stet"), "data", "STET_HEALTH_PORT", to="9091"), "STET_HEALTH_PORT is not the port health"),
        (put(config("ingest-web"), "data", "STET_LISTEN_ADDRESS", to="127.0.0.1"), "do not fit"),
        (put(config("ingest-web"), "data", "STET_LISTEN_PORT", to="8000"), "STET_LISTEN_PORT is not the port http"),
        (put(of("Service", "ingest-web"), "spec", "ports", 0, "targetPort", to="web"), "its pods have no port web"),
        (put(of("Service", "ingest-web"), "spec", "selector", to={"app": "x"}), "it selects no pod"),
    ],
    policies.network_policies: [
        (drop("NetworkPolicy", "default-deny"), "no NetworkPolicy refuses everything"),
        (put(policy("default-deny"), "policyTypes", to=["Ingress"]), "no NetworkPolicy refuses everything"),
        (put(policy("dispatcher"), "ingress", 0, "ports", 0, "port", to="metrics"), "have no port metrics"),
        (put(policy("dispatcher"), "ingress", 0, "ports", to=None), "it allows every port"),
        (put(policy("dispatcher"), "ingress", 0, "from", to=[]), "it lets everybody in"),
        (put(policy("dispatcher"), "egress", 0, "ports", to=[]), "it lets out to every port"),
        (put(policy("dispatcher"), "podSelector", to={"matchLabels": {"a": "b"}}), "it is for no pod"),
    ],
    policies.internet_by_both_protocols: [
        (put(policy("dispatcher"), "egress", 0, "to", 1, to=None), "dispatcher: it lets out to the internet, and not"),
        (put(policy("writeback"), "egress", 0, "to", 0, "ipBlock", "except", 2, to=None), "network 169.254.0.0/16"),
        (put(policy("writeback"), "egress", 0, "to", 1, "ipBlock", "except", to=None), "network fc00::/7"),
        (
            put(policy("dispatcher"), "egress", 0, "to", 1, "ipBlock", "except", 0, to=None),
            "network 64:ff9b::a00:0/104",
        ),
    ],
    policies.both_ends: [
        (put(policy("postgres"), "ingress", 1, "ports", 0, "port", to=8001), "let nothing in on 8000"),
        (put(policy("postgres"), "ingress", 0, "from", to=[]), "NetworkPolicy to-postgres: the pods of"),
        (drop("NetworkPolicy", "health-from-operator"), "NetworkPolicy operator-to-health: the pods of"),
    ],
    policies.annotations_of_ingresses: [
        (
            put(_path_of("consonance"), "backend", "service", "name", to="whatsapp"),
            "Ingress whatsapp: limit-rps of Service whatsapp is 50 elsewhere",
        ),
        (
            put(of("Ingress", "whatsapp"), "metadata", "annotations", f"{_HAPROXY}/timeout-client", to="30s"),
            "reads no timeout-client from an Ingress",
        ),
    ],
    policies.way_to_rules: [
        (drop("NetworkPolicy", "rules-to-bundle"), "no NetworkPolicy lets it out to port 443 of registry.example.com"),
        (put(config("rules"), "data", "STET_RULES_BUNDLE", to="https://files.example:8443/rules.tar"), "port 8443 of"),
    ],
    policies.metrics_of_operators: [
        (drop("NetworkPolicy", "operator-to-health"), "lets it out to health-rules:9090"),
        (drop("Service", "health-rules"), "health-rules:9090 stands for no replicas"),
        (put(of("Service", "health-rules"), "spec", "clusterIP", to=None), "health-rules:9090 stands for no replicas"),
        (put(config("operator"), "data", "STET_METRICS", to="http://health-rules:9090"), "not ask dispatcher for its"),
    ],
    policies.scaling: [
        (put(of("Deployment", "ingest-web"), "spec", "replicas", to=2), "an apply sets the number of replicas back"),
        (put(of("HorizontalPodAutoscaler", "ingest-web"), "spec", "minReplicas", to=1), "a single replica is away"),
        (
            put(of("HorizontalPodAutoscaler", "ingest-web"), "spec", "scaleTargetRef", "name", to="x"),
            "nothing to scale",
        ),
        (
            put(_trigger, "metadata", "bootstrapServers", to="stet-kafka-bootstrap:9093"),
            "where stet-kafka-bootstrap is no name",
        ),
    ],
    policies.database_connections: [
        (put(of("ScaledObject", "writeback"), "spec", "maxReplicaCount", to=14), "stet_writeback may open 170"),
        (
            put(of("Cluster", "stet-db"), "spec", "postgresql", "parameters", "max_connections", to="100"),
            "100 connections, and its logins may open",
        ),
    ],
    policies.replicas: [
        (put(of("Deployment", "ingest-poll"), "spec", "replicas", to=2), "two could poll at once"),
        (put(of("Deployment", "ingest-poll"), "spec", "strategy", to={}), "two could poll at once"),
        (put(config("ingest-web"), "data", "STET_INGEST_ROLE", to="all"), "Deployment ingest-web: its role is all"),
        (put(lambda m: pod(m, "StatefulSet", "rules")["containers"][0], "env", to=[]), "no static member"),
        (put(of("StatefulSet", "rules"), "spec", "replicas", to=13), "13 replicas for 12 partitions"),
    ],
    policies.spread_over_zones: [
        (put(pod, "topologySpreadConstraints", to=None), "Deployment dispatcher: all of it may be in one zone"),
        (put(_brokers, "topologySpreadConstraints", to=None), "KafkaNodePool brokers: all brokers may be in one zone"),
        (
            put(_brokers, "topologySpreadConstraints", 0, "whenUnsatisfiable", to="ScheduleAnyway"),
            "KafkaNodePool brokers: all brokers may be in one zone",
        ),
        (
            put(
                of("Cluster", "stet-db"),
                "spec",
                "topologySpreadConstraints",
                0,
                "topologyKey",
                to="kubernetes.io/hostname",
            ),
            "Cluster stet-db: all instances may be in one zone",
        ),
    ],
}


_BUILT = ("strimzi", "cloudnative-pg", "operator", "keda", "external-secrets", "rules-bundle", "ingress")


@pytest.mark.parametrize(
    ("broken", "change", "sentence"),
    [(broken, change, sentence) for broken, cases in CASES.items() for change, sentence in cases],
)
def test_a_policy_objects_to_what_breaks_it(broken: Any, change: Break, sentence: str) -> None:
    manifests = deepcopy(list(base_with(_BUILT)))
    change(manifests)
    assert [objection for objection in broken(manifests) if sentence in objection]


def test_every_policy_is_seen_to_object() -> None:
    assert CASES.keys() == {*policies.ALL, policies.required_settings}


@pytest.mark.parametrize(
    ("kind", "name", "path", "value", "sentence"),
    [
        (
            "Deployment",
            "dispatcher",
            ("spec", "replica"),
            2,
            "Deployment dispatcher: spec: Additional properties are not allowed",
        ),
        ("Deployment", "dispatcher", ("spec", "replicas"), "two", "spec.replicas: 'two' is not"),
        (
            "KafkaTopic",
            "contacts",
            ("spec", "partition"),
            12,
            "KafkaTopic contacts: spec: Additional properties are not allowed",
        ),
        ("Cluster", "stet-db", ("spec", "instances"), "3", "Cluster stet-db: spec.instances: '3' is not of type"),
        ("ScaledObject", "rules", ("spec", "triggers"), None, "'triggers' is a required property"),
    ],
)
def test_a_schema_objects_to_an_unknown_field_and_to_a_wrong_value(
    kind: str, name: str, path: tuple[str, ...], value: object, sentence: str
) -> None:
    manifest = deepcopy(one(list(base_with(("strimzi", "cloudnative-pg", "keda"))), kind, name))
    put(lambda _: manifest, *path, to=value)([])
    for version in ("1.31", "1.34"):
        assert [problem for problem in schema_problems(manifest, version) if sentence in problem]


def test_a_kind_that_no_schema_knows_is_an_objection() -> None:
    manifest = {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": {"name": "old"}}
    assert schema_problems(manifest, "1.31") == [
        "PodSecurityPolicy old: Kubernetes 1.31 knows no policy/v1beta1 PodSecurityPolicy"
    ]
