"""Policies of every set of manifests, beyond its schemas. Each function returns its objections as sentences."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from services.ingest.settings import IngestRole
from shared.contracts.topics import PARTITIONS
from shared.runtime import consumer, health
from shared.runtime.setting_names import KNOWN_SETTINGS, OTHER_SETTINGS, PREFIX
from shared.runtime.settings import ServiceSettings
from tests.deploy.manifests import Manifest, of_kind, place
from tests.deploy.workloads import SETTINGS, Workload, matches, selected, workloads

Objections = Iterator[str]

OWN_IMAGES = ("stet", "stet-operator")
"""Of one version; the pods of a release."""

PROGRAMS = ("python", "stet")
"""All that the image of the services can start: it has no shell and no other programs."""

# ------------------------------------------------------------------ pods


def restricted_pods(manifests: Sequence[Manifest]) -> Objections:
    """The Pod Security Standard "restricted", and a root file system that is read only."""
    for workload in workloads(manifests):
        yield from (f"{workload.place}: {fault}" for fault in _unrestricted_pod(workload.pod))
        for container in workload.containers:
            yield from (f"{workload.place}: {container['name']}: {fault}" for fault in _unrestricted(container))


def _unrestricted_pod(pod: Any) -> Objections:
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield "the pod may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    for volume in pod.get("volumes", ()):
        if "hostPath" in volume:
            yield f"the volume {volume['name']} is a folder of the node"


def _unrestricted(container: Any) -> Objections:
    security = container.get("securityContext", {})
    if security.get("privileged"):
        yield "privileged"
    if security.get("allowPrivilegeEscalation") is not False:
        yield "privileges may escalate"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "its root file system can be written"
    capabilities = security.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "it keeps capabilities"
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "it takes a port of the node"


def versioned_images(manifests: Sequence[Manifest]) -> Objections:
    """Each image has a tag that names a version, or a digest; ours have one version and are the same everywhere."""
    own: dict[str, set[str]] = {name: set() for name in OWN_IMAGES}
    for workload in workloads(manifests):
        for container in workload.containers:
            image = container["image"]
            name, _, tag = image.rpartition("/")[2].partition(":")
            if "@sha256:" not in image and tag in {"", "latest"}:
                yield f"{workload.place}: {container['name']}: the image {image} names no version"
            if name.partition("@")[0] in own:
                own[name.partition("@")[0]].add(image)
    images = sorted(set().union(*own.values()))
    tags = {image.rpartition(":")[2] for image in images if "@sha256:" not in image}
    if len(tags) > 1 or any(len(one) > 1 for one in own.values()):
        yield f"different images of ours: {', '.join(images)}"


def programs_of_the_image(manifests: Sequence[Manifest]) -> Objections:
    """A container of the services' image starts a program that the image has; so do its probes and its hooks."""
    for workload in workloads(manifests):
        for container in workload.containers:
            if container["image"].rpartition("/")[2].partition(":")[0].partition("@")[0] != "stet":
                continue
            for command in _commands(container):
                if command[0] not in PROGRAMS:
                    yield f"{workload.place}: {container['name']}: the image stet has no {command[0]}"


def _commands(container: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The command of a container, and those of its probes and hooks."""
    yield container["command"]
    probes = [container.get(name, {}) for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    for one in (*probes, *container.get("lifecycle", {}).values()):
        if "exec" in one:
            yield one["exec"]["command"]


def bounded_resources(manifests: Sequence[Manifest]) -> Objections:
    """CPU, memory and disk are requested, memory and disk are limited, CPU is not; the limit has room for each volume.

    The kubelet evicts a pod whose folders and logs are together larger than the limits of disk of its containers.
    """
    for workload in workloads(manifests):
        for container in workload.containers:
            resources = container.get("resources", {})
            requests, limits = resources.get("requests", {}), resources.get("limits", {})
            for where, kind, needed in (
                (requests, "request", ("cpu", "memory", _DISK)),
                (limits, "limit", ("memory", _DISK)),
            ):
                missing = [name for name in needed if name not in where]
                yield from (f"{workload.place}: {container['name']}: no {kind} of {name}" for name in missing)
            if "cpu" in limits:
                yield f"{workload.place}: {container['name']}: a CPU limit throttles it"
        held = [volume["emptyDir"] for volume in workload.pod.get("volumes", ()) if "emptyDir" in volume]
        sizes = [_mebibytes(one.get("sizeLimit", "0Mi")) for one in held if one.get("medium") != "Memory"]
        allowed = sum(_mebibytes(_disk_limit(one)) for one in workload.pod["containers"])
        logs = _LOGS_OF_A_CONTAINER if workload.manifest["kind"] != "Job" else 0
        if allowed < (largest := sum(sizes) + logs):
            yield f"{workload.place}: its volumes and logs may take {largest} MiB, and {allowed} are its limit"


_DISK = "ephemeral-storage"
_LOGS_OF_A_CONTAINER = 250
"""MiB of logs that the kubelet of AKS keeps (five files of 50 MB), the most of the large clouds."""


def _disk_limit(container: Mapping[str, Any]) -> str:
    return str(container.get("resources", {}).get("limits", {}).get(_DISK, "0Mi"))


def _mebibytes(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 1, "Gi": 1024}[quantity[-2:]]


def accounts_without_tokens(manifests: Sequence[Manifest]) -> Objections:
    accounts = {one["metadata"]["name"]: one for one in of_kind(manifests, "ServiceAccount")}
    for workload in workloads(manifests):
        name = workload.pod.get("serviceAccountName", "default")
        if name not in accounts and workload.is_ours:
            yield f"{workload.place}: no ServiceAccount {name}"
        elif name in accounts and accounts[name].get("automountServiceAccountToken") is not False:
            yield f"{workload.place}: the ServiceAccount {name} mounts a token"
        if workload.pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.place}: the pod mounts a token"


def meaningful_probes(manifests: Sequence[Manifest]) -> Objections:
    """Startup and liveness ask the process alone, readiness asks whether it can work; on the health port."""
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for workload in _services(manifests):
        container = workload.pod["containers"][0]
        for probe, path in paths.items():
            asked = container.get(probe, {}).get("httpGet")
            if asked != {"path": path, "port": "health"}:
                yield f"{workload.place}: the {probe} asks {asked}, not {path} on the port health"
        readiness = container.get("readinessProbe", {})
        noticed = readiness.get("periodSeconds", 10) * readiness.get("failureThreshold", 3)
        if noticed > health.UNNOTICED_SECONDS:
            yield f"{workload.place}: {noticed} seconds pass until it gets no more requests"


def termination_grace(manifests: Sequence[Manifest]) -> Objections:
    """A pod has the time for its pause, for its draining and for the longest batch."""
    for workload in _services(manifests):
        pause = workload.pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = float(workload.variables().get("STET_DRAIN_SECONDS", 5)) if workload.service == "ingest" else 0
        batch = 15 if workload.service == "ingest" else consumer._MAX_BATCH_WAIT_SECONDS + consumer._FINISH_SECONDS
        needed = pause + drain + batch + 5
        grace = workload.pod.get("terminationGracePeriodSeconds", 30)
        if grace < needed:
            yield f"{workload.place}: {grace} seconds to end, and it may need {needed:g}"
        if "http" in workload.ports and not pause:
            yield f"{workload.place}: no pause before its end, while the Service still sends"


def disruption_budgets(manifests: Sequence[Manifest]) -> Objections:
    """Each service has a budget, and each budget lets a node be drained."""
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for workload in _services(manifests):
        found = [one for one in budgets if matches(one["spec"]["selector"], workload.labels)]
        if len(found) != 1:
            yield f"{workload.place}: {len(found)} PodDisruptionBudgets"
    for budget in budgets:
        if budget["spec"].get("maxUnavailable") in {None, 0, "0%"}:
            yield f"{place(budget)}: no node can ever be drained"


_EVICTED = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


def removable_nodes(manifests: Sequence[Manifest]) -> Objections:
    """Each folder of a pod that its node holds may be lost: the cluster autoscaler keeps a node for any other."""
    for workload in workloads(manifests):
        if not workload.is_ours or workload.manifest["kind"] == "Job":
            continue
        held = {volume["name"] for volume in workload.pod.get("volumes", ()) if "emptyDir" in volume}
        annotations = workload.manifest["spec"]["template"]["metadata"].get("annotations", {})
        for name in sorted(held - {*annotations.get(_EVICTED, "").split(",")}):
            yield f"{workload.place}: no node is removed under it, for its volume {name}"


# ------------------------------------------------------------------ settings


def known_settings(manifests: Sequence[Manifest]) -> Objections:
    """Every STET_ variable and file is a setting of that process."""
    for workload in workloads(manifests):
        if not workload.is_ours:
            continue
        for name in sorted({*workload.variables(), *workload.secret_files()}):
            if name.startswith(PREFIX) and name not in KNOWN_SETTINGS:
                yield f"{workload.place}: no setting {name}"
            elif name.startswith(PREFIX) and workload.service and name not in _settings_of(workload) | OTHER_SETTINGS:
                yield f"{workload.place}: {name} is no setting of {workload.service}"


def required_settings(manifests: Sequence[Manifest]) -> Objections:
    """Every setting without a default is set, or is a secret and comes from the service's Secret."""
    made = {one["metadata"]["name"] for one in of_kind(manifests, "Secret")}
    for workload in _services(manifests):
        secret = f"stet-{workload.service}"
        sources = [source["name"].removesuffix(_hash_of(source["name"], made)) for source in workload.secret_sources()]
        there = {*workload.variables(), *workload.secret_files()}
        of_role = IngestRole(workload.variables().get("STET_INGEST_ROLE", "all")).needed
        for field, info in SETTINGS[workload.service or ""].model_fields.items():
            name = PREFIX + field.upper()
            is_needed = info.is_required() or (workload.service == "ingest" and field in of_role)
            if not is_needed or name in there:
                continue
            is_secret = "SecretStr" in repr(info.annotation)
            if not is_secret:
                yield f"{workload.place}: {name} is not set"
            elif secret not in sources or any(one.startswith(f"{secret}-") for one in made):
                yield f"{workload.place}: {name} is not in the Secret {secret}"


def _hash_of(name: str, made: set[str]) -> str:
    """The suffix that kustomize gave to a Secret that it made."""
    return "-" + name.rpartition("-")[2] if name in made else ""


def secrets_apart(manifests: Sequence[Manifest]) -> Objections:
    """No secret stands in a ConfigMap or in a variable of a pod."""
    secret = {name for cls in SETTINGS.values() for name in _secret_names(cls)}
    for config in of_kind(manifests, "ConfigMap"):
        for name, value in config.get("data", {}).items():
            if name in secret and not _is_address_without_password(value):
                yield f"{place(config)}: {name} is a secret"
    for workload in workloads(manifests):
        for container in workload.containers:
            for entry in container.get("env", ()):
                if entry["name"] in secret:
                    yield f"{workload.place}: {container['name']}: {entry['name']} is a secret, and a variable"


def _is_address_without_password(value: str) -> bool:
    address = urlsplit(value)
    return address.scheme == "postgresql" and address.password is None and "password" not in address.query


_PUBLIC = ("stet-cluster-ca-cert", "stet-db-ca")
"""Certificates of authorities: no secrets, though Secrets."""


def own_secrets(manifests: Sequence[Manifest]) -> Objections:
    """A process gets its own Secrets and no other's, and logs in to PostgreSQL as itself."""
    made = {one["metadata"]["name"] for one in of_kind(manifests, "Secret")}
    for workload in workloads(manifests):
        if not workload.is_ours:
            continue
        owner = workload.service or workload.name
        for source in workload.secret_sources():
            name = source["name"].removesuffix(_hash_of(source["name"], made))
            if name not in {f"stet-{owner}", f"stet-db-{owner}", f"kafka-{owner}", *_PUBLIC}:
                yield f"{workload.place}: it reads the Secret {name}"
        login = urlsplit(workload.variables().get("STET_POSTGRES_DSN", "")).username
        if login not in {None, f"stet_{owner}"}:
            yield f"{workload.place}: it logs in to PostgreSQL as {login}"


def optional_job_secrets(manifests: Sequence[Manifest]) -> Objections:
    """A Job starts also where a Secret is missing that has the operators' own keys alone.

    External Secrets makes no Secret of an entry without keys, so the Job would wait for it forever.
    """
    made = {one["metadata"]["name"] for one in of_kind(manifests, "ExternalSecret")}
    for workload in workloads(manifests):
        if workload.manifest["kind"] != "Job" or not workload.is_ours:
            continue
        name = f"stet-{workload.name}"
        for source in workload.secret_sources():
            if source["name"].startswith(name) and source.get("optional") is not True:
                yield f"{workload.place}: it does not start without the Secret {name}"
        if name in made:
            yield f"ExternalSecret {name}: its entry needs no key"


def immutable_config(manifests: Sequence[Manifest]) -> Objections:
    """A ConfigMap is never changed: another content is another name, and the pods are replaced."""
    there = {one["metadata"]["name"]: one for one in of_kind(manifests, "ConfigMap")}
    for name, config in there.items():
        if config.get("immutable") is not True and "grafana_dashboard" not in config["metadata"].get("labels", {}):
            yield f"ConfigMap {name}: it can be changed under the pods that read it"
    for workload in workloads(manifests):
        for name in workload.config_maps():
            if name not in there:
                yield f"{workload.place}: no ConfigMap {name}"


def restarts_on_change(manifests: Sequence[Manifest]) -> Objections:
    """A process ends itself for a Secret that others change: an operator, External Secrets, a person.

    A kubelet changes the files of a volume, unless the volume is mounted by a part of it.
    """
    for workload in _services(manifests):
        if float(workload.variables().get("STET_SECRETS_RESTART_SECONDS", 0)) <= 0:
            yield f"{workload.place}: a changed Secret does not restart it"
        for mount in workload.pod["containers"][0]["volumeMounts"]:
            if mount["name"] == "secrets" and mount.get("subPath"):
                yield f"{workload.place}: a changed Secret does not reach it"


# ------------------------------------------------------------------ ports and networks


def ports_of_listeners(manifests: Sequence[Manifest]) -> Objections:
    """A declared port is one that the process listens on, and the other way round."""
    for workload in _services(manifests):
        variables = workload.variables()
        if str(workload.ports.get("health")) != variables.get("STET_HEALTH_PORT"):
            yield f"{workload.place}: STET_HEALTH_PORT is not the port health"
        if workload.service != "ingest":
            continue
        is_public = variables.get("STET_LISTEN_ADDRESS", "127.0.0.1") not in {"127.0.0.1", "::1", "localhost"}
        if is_public != ("http" in workload.ports):
            yield f"{workload.place}: STET_LISTEN_ADDRESS and the port http do not fit"
        if is_public and str(workload.ports.get("http")) != variables.get("STET_LISTEN_PORT"):
            yield f"{workload.place}: STET_LISTEN_PORT is not the port http"
    for service in of_kind(manifests, "Service"):
        yield from _service_ports(service, manifests)


def _service_ports(service: Manifest, manifests: Sequence[Manifest]) -> Objections:
    pods = selected(manifests, {"matchLabels": service["spec"].get("selector", {})})
    if not pods:
        yield f"{place(service)}: it selects no pod"
    for port in service["spec"]["ports"]:
        target = port.get("targetPort", port["port"])
        if any(target not in {*pod.ports, *pod.ports.values()} for pod in pods):
            yield f"{place(service)}: its pods have no port {target}"


OPERATOR_PORTS: dict[tuple[str, str], tuple[str | int, ...]] = {
    # pods that operators make: their label, and the ports that their manuals name
    ("strimzi.io/cluster", "stet"): (9090, 9091, 9093),
    ("cnpg.io/cluster", "stet-db"): (5432, 8000, 9187),
    ("acme.cert-manager.io/http01-solver", "true"): (8089,),
}


FOR_DEVELOPMENT = ("dev-runner",)
"""It plays the stories from inside the cluster, and reaches everything there."""


def network_policies(manifests: Sequence[Manifest]) -> Objections:
    """Nothing passes by default; each allowance is for pods that exist, on a port that they have."""
    policies = of_kind(manifests, "NetworkPolicy")
    deny = [
        one for one in policies if one["spec"]["podSelector"] == {} and not ({"ingress", "egress"} & {*one["spec"]})
    ]
    if not any(set(one["spec"]["policyTypes"]) == {"Ingress", "Egress"} for one in deny):
        yield "no NetworkPolicy refuses everything by default"
    for policy in policies:
        if policy["metadata"]["name"] in FOR_DEVELOPMENT:
            continue
        yield from (f"{place(policy)}: {fault}" for fault in _policy_faults(policy["spec"], manifests))


def _policy_faults(spec: Any, manifests: Sequence[Manifest]) -> Objections:
    if not _ports_of(spec["podSelector"], manifests):
        yield "it is for no pod"
    for rule in spec.get("ingress", ()):
        if not rule.get("from"):
            yield "it lets everybody in"
        yield from _port_faults(rule, spec["podSelector"], manifests)
    for rule in spec.get("egress", ()):
        if not rule.get("ports"):
            yield "it lets out to every port"
        for peer in rule.get("to", ()):
            if "podSelector" in peer and "namespaceSelector" not in peer:
                yield from _port_faults(rule, peer["podSelector"], manifests)


_PRIVATE_OF_IPV4 = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")


def _by_nat64(network: IPv4Network) -> str:
    """The addresses of IPv6 that NAT64 translates to a network of IPv4 (RFC 6052)."""
    prefix = IPv6Network("64:ff9b::/96")
    first = int(prefix.network_address) + int(network.network_address)
    return str(IPv6Network((first, prefix.prefixlen + network.prefixlen)))


_PRIVATE = {
    "0.0.0.0/0": _PRIVATE_OF_IPV4,
    "::/0": (
        *(_by_nat64(IPv4Network(network)) for network in _PRIVATE_OF_IPV4), "64:ff9b:1::/48", "fc00::/7", "fe80::/10",
    ),
}  # fmt: skip
"""The internet by either protocol, with its private and link-local networks; a cloud's metadata servers are there.

64:ff9b:1::/48 is for the NAT64 of a network of one's own (RFC 8215), which translates private addresses too.
"""


def internet_by_both_protocols(manifests: Sequence[Manifest]) -> Objections:
    """A way out to the internet is one by IPv4 and by IPv6, and none to private networks."""
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            blocks = {peer["ipBlock"]["cidr"]: peer["ipBlock"] for peer in rule.get("to", ()) if "ipBlock" in peer}
            if blocks.keys().isdisjoint(_PRIVATE):
                continue
            for cidr, private in _PRIVATE.items():
                if cidr not in blocks:
                    yield f"{place(policy)}: it lets out to the internet, and not to {cidr}"
                for network in sorted({*private} - {*blocks.get(cidr, {"except": private}).get("except", ())}):
                    yield f"{place(policy)}: it lets out to the private network {network}"


def _port_faults(rule: Any, selector: Any, manifests: Sequence[Manifest]) -> Objections:
    there = _ports_of(selector, manifests)
    if not rule.get("ports"):
        yield "it allows every port"
    for port in rule.get("ports", ()):
        if port["port"] not in there:
            yield f"the pods of {selector} have no port {port['port']}"


def _ports_of(selector: Any, manifests: Sequence[Manifest]) -> set[str | int]:
    found: set[str | int] = set()
    for workload in selected(manifests, selector):
        found |= {*workload.ports, *workload.ports.values()}
    for (key, value), ports in OPERATOR_PORTS.items():
        if selector.get("matchLabels", {}).get(key) == value:
            found |= set(ports)
    return found | ({"no port"} if selected(manifests, selector) else set())


def both_ends(manifests: Sequence[Manifest]) -> Objections:
    """Traffic that one policy lets out to pods of the namespace, another lets in there."""
    pods = [one.labels for one in workloads(manifests)] + [{key: value} for key, value in OPERATOR_PORTS]
    policies = [one for one in of_kind(manifests, "NetworkPolicy") if one["metadata"]["name"] not in FOR_DEVELOPMENT]
    for policy, rule, peer in _inner_egress(policies):
        for sender, receiver in product(pods, pods):
            if not matches(policy["spec"]["podSelector"], sender) or not matches(peer["podSelector"], receiver):
                continue
            refused = [
                p["port"] for p in rule["ports"] if not _is_let_in(policies, sender, receiver, p["port"], manifests)
            ]
            for port in refused if not _HAS_OWN_POLICY.items() <= receiver.items() else ():
                yield f"{place(policy)}: the pods of {peer['podSelector']} let nothing in on {port} from {sender}"


_HAS_OWN_POLICY = {"strimzi.io/cluster": "stet"}
"""Strimzi writes what may come in at its pods; the Kafka resource says who else (networkPolicyPeers)."""


def _inner_egress(policies: Sequence[Manifest]) -> Iterator[tuple[Manifest, Any, Any]]:
    for policy in policies:
        for rule in policy["spec"].get("egress", ()):
            for peer in rule.get("to", ()):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield policy, rule, peer


def _is_let_in(
    policies: Sequence[Manifest], sender: Any, receiver: Any, port: str | int, manifests: Sequence[Manifest]
) -> bool:
    names = {
        name: number for one in workloads(manifests) if one.labels == receiver for name, number in one.ports.items()
    }
    return any(
        names.get(str(allowed["port"]), allowed["port"]) == names.get(str(port), port)
        for policy in policies
        if matches(policy["spec"]["podSelector"], receiver)
        for rule in policy["spec"].get("ingress", ())
        if any("podSelector" in peer and matches(peer["podSelector"], sender) for peer in rule.get("from", ()))
        for allowed in rule.get("ports", ())
    )


_ANNOTATIONS = "haproxy-ingress.github.io/"
_BACKEND_SCOPE = frozenset({
    "limit-connections", "limit-rps", "timeout-http-request", "timeout-keep-alive", "timeout-server",
})  # fmt: skip
_OTHER_SCOPES = frozenset({
    "auth-tls-secret", "auth-tls-strict", "auth-tls-verify-client", "proxy-body-size", "ssl-redirect",
})  # fmt: skip
"""Of a host or a path. https://haproxy-ingress.github.io/docs/configuration/keys/"""


def annotations_of_ingresses(manifests: Sequence[Manifest]) -> Objections:
    """Each annotation is one that the controller reads from an Ingress, and holds for the Ingress that has it."""
    seen: dict[tuple[str, str], str] = {}
    for ingress in of_kind(manifests, "Ingress"):
        for name, value in ingress["metadata"].get("annotations", {}).items():
            key = name.removeprefix(_ANNOTATIONS)
            if name.startswith(_ANNOTATIONS) and key not in _BACKEND_SCOPE | _OTHER_SCOPES:
                yield f"{place(ingress)}: the controller reads no {key} from an Ingress"
            for service in _services_behind(ingress) if key in _BACKEND_SCOPE else ():
                if seen.setdefault((service, key), value) != value:
                    yield f"{place(ingress)}: {key} of Service {service} is {seen[service, key]} elsewhere"


def _services_behind(ingress: Manifest) -> set[str]:
    rules = ingress["spec"]["rules"]
    return {path["backend"]["service"]["name"] for rule in rules for path in rule["http"]["paths"]}


def way_to_rules(manifests: Sequence[Manifest]) -> Objections:
    """Where rules fetch a bundle, a policy lets them out to a block of addresses on the bundle's port."""
    policies = [one["spec"] for one in of_kind(manifests, "NetworkPolicy")]
    for workload in _services(manifests):
        bundle = urlsplit(workload.variables().get("STET_RULES_BUNDLE", ""))
        if not bundle.hostname:
            continue
        port = bundle.port or (80 if bundle.scheme == "http" else 443)
        ways = [
            rule
            for spec in policies
            if matches(spec["podSelector"], workload.labels)
            for rule in spec.get("egress", ())
            if any("ipBlock" in peer for peer in rule["to"]) and port in {one["port"] for one in rule["ports"]}
        ]
        if not ways:
            yield f"{workload.place}: no NetworkPolicy lets it out to port {port} of {bundle.hostname}"


def metrics_of_operators(manifests: Sequence[Manifest]) -> Objections:
    """Each address of STET_METRICS is a headless Service of one workload, and all services have one."""
    services = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "Service")}
    for workload in workloads(manifests):
        addresses = workload.variables().get("STET_METRICS", "").split() if workload.is_ours else []
        asked = set()
        for address in map(urlsplit, addresses):
            spec = services.get(address.hostname or "", {"selector": {}, "ports": []})
            pods = selected(manifests, {"matchLabels": spec["selector"]}) if spec["selector"] else []
            if spec.get("clusterIP") != "None" or address.port not in {one["port"] for one in spec["ports"]}:
                yield f"{workload.place}: {address.netloc} stands for no replicas"
            asked |= {pod.name for pod in pods}
            egress = [
                rule
                for one in of_kind(manifests, "NetworkPolicy")
                if matches(one["spec"]["podSelector"], workload.labels)
                for rule in one["spec"].get("egress", ())
                if address.port in {port["port"] for port in rule["ports"]}
                and any(matches(peer.get("podSelector", {}), pod.labels) for peer in rule["to"] for pod in pods)
            ]
            if not egress:
                yield f"{workload.place}: no NetworkPolicy lets it out to {address.netloc}"
        missing = {one.name for one in _services(manifests)} - asked if addresses else set()
        yield from (f"{workload.place}: it does not ask {name} for its metrics" for name in sorted(missing))


# ------------------------------------------------------------------ numbers


def scaling(manifests: Sequence[Manifest]) -> Objections:
    """The scaler of a workload owns its number of replicas; consumers never outnumber the partitions."""
    there = {(one.manifest["kind"], one.name): one for one in workloads(manifests)}
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target, spec = scaler["spec"]["scaleTargetRef"], scaler["spec"]
        workload = there.get((target["kind"], target["name"]))
        if workload is None:
            yield f"{place(scaler)}: nothing to scale"
            continue
        if "replicas" in workload.manifest["spec"]:
            yield f"{place(scaler)}: an apply sets the number of replicas back"
        most, least = (
            spec.get(a, spec.get(b))
            for a, b in (("maxReplicas", "maxReplicaCount"), ("minReplicas", "minReplicaCount"))
        )
        if workload.service != "ingest" and most > PARTITIONS:
            yield f"{place(scaler)}: {most} replicas for {PARTITIONS} partitions"
        if least < 2:
            yield f"{place(scaler)}: a single replica is away while it is replaced"
        for trigger in spec.get("triggers", ()):
            host = trigger["metadata"]["bootstrapServers"].partition(":")[0]
            if not host.endswith(f".{scaler['metadata']['namespace']}.svc"):
                yield f"{place(scaler)}: KEDA asks from its own namespace, where {host} is no name"


_BESIDE_THE_POOL = 3
"""Connections of a process outside its pool: the leader's lock, the relay's, the one that listens."""


def database_connections(manifests: Sequence[Manifest]) -> Objections:
    """A login may open what its most replicas need, and one more that a rollout adds; the server takes all logins."""
    most = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"].get(
            "maxReplicas", scaler["spec"].get("maxReplicaCount")
        )
        for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    }
    needed: Counter[str] = Counter()
    for workload in _services(manifests):
        spec, variables = workload.manifest["spec"], workload.variables()
        count = most.get(workload.name, spec.get("replicas", 1))
        count += spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
        each = int(variables.get("STET_POSTGRES_POOL", ServiceSettings.model_fields["postgres_pool"].default))
        needed[f"stet_{workload.service}"] += count * (each + _BESIDE_THE_POOL)
    for cluster in of_kind(manifests, "Cluster"):
        limits = {role["name"]: role.get("connectionLimit", 0) for role in cluster["spec"]["managed"]["roles"]}
        for login, count in needed.items():
            if limits[login] < count:
                yield f"{place(cluster)}: {login} may open {limits[login]} connections, and may need {count}"
        server = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
        if server < sum(limits.values()):
            yield f"{place(cluster)}: {server} connections, and its logins may open {sum(limits.values())}"


def replicas(manifests: Sequence[Manifest]) -> Objections:
    """One poll at a time; a name of its own for each replica of rules; a role for each workload of ingest."""
    for workload in _services(manifests):
        spec, variables = workload.manifest["spec"], workload.variables()
        if workload.name == "ingest-poll" and (spec.get("replicas") != 1 or spec["strategy"] != {"type": "Recreate"}):
            yield f"{workload.place}: two could poll at once"
        role = variables.get("STET_INGEST_ROLE", "all")
        if workload.service == "ingest" and role != workload.name.removeprefix("ingest-"):
            yield f"{workload.place}: its role is {role}"
        if workload.name == "rules" and "STET_INSTANCE" not in variables:
            yield f"{workload.place}: no static member of the consumer group"
        count = spec.get("replicas", 1)
        if workload.service in {"rules", "writeback"} and count > PARTITIONS:
            yield f"{workload.place}: {count} replicas for {PARTITIONS} partitions"


_ZONE = "topology.kubernetes.io/zone"


def spread_over_zones(manifests: Sequence[Manifest]) -> Objections:
    """The loss of a zone takes one of several: ours where the cluster lets them, and what keeps data in any case.

    Strimzi's `rack` asks for nodes that have a zone, and lets all brokers be in the same one.
    """
    for workload in _services(manifests):
        if workload.manifest["spec"].get("replicas") == 1:
            continue
        constraints = workload.pod.get("topologySpreadConstraints", ())
        if not _spreads(constraints, workload.labels):
            yield f"{workload.place}: all of it may be in one zone"
    for pool in of_kind(manifests, "KafkaNodePool"):
        labels = {"strimzi.io/cluster": pool["metadata"]["labels"]["strimzi.io/cluster"]}
        labels["strimzi.io/pool-name"] = pool["metadata"]["name"]
        if not _spreads(pool["spec"]["template"]["pod"].get("topologySpreadConstraints", ()), labels, strict=True):
            yield f"{place(pool)}: all brokers may be in one zone"
    for cluster in of_kind(manifests, "Cluster"):
        labels = {"cnpg.io/cluster": cluster["metadata"]["name"]}
        if not _spreads(cluster["spec"].get("topologySpreadConstraints", ()), labels, strict=True):
            yield f"{place(cluster)}: all instances may be in one zone"


def _spreads(constraints: Sequence[Any], labels: Mapping[str, str], *, strict: bool = False) -> bool:
    return any(
        constraint["topologyKey"] == _ZONE
        and matches(constraint["labelSelector"], labels)
        and (not strict or constraint["whenUnsatisfiable"] == "DoNotSchedule")
        for constraint in constraints
    )


# ------------------------------------------------------------------ helpers


def _services(manifests: Sequence[Manifest]) -> Iterator[Workload]:
    return (workload for workload in workloads(manifests) if workload.service)


def _settings_of(workload: Workload) -> set[str]:
    return {PREFIX + field.upper() for field in SETTINGS[workload.service or ""].model_fields}


def _secret_names(cls: Any) -> set[str]:
    return {
        PREFIX + field.upper()
        for field, info in cls.model_fields.items()
        if SecretStr.__name__ in repr(info.annotation)
    }


ALL = (
    restricted_pods, versioned_images, programs_of_the_image, bounded_resources, accounts_without_tokens,
    meaningful_probes, termination_grace, disruption_budgets, removable_nodes, known_settings, secrets_apart,
    own_secrets, optional_job_secrets, immutable_config, restarts_on_change, ports_of_listeners,
    network_policies, internet_by_both_protocols, both_ends, annotations_of_ingresses, way_to_rules,
    metrics_of_operators, scaling, database_connections, replicas, spread_over_zones,
)  # fmt: skip
"""Of every build. ``required_settings`` is for overlays, since hosts and names come with them."""
