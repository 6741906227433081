"""The pods of a set of manifests: containers, settings, ports."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.runtime.settings import ServiceSettings
from tests.deploy.manifests import Manifest, of_kind, place

SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "ingest": IngestSettings,
    "rules": RulesSettings,
    "dispatcher": DispatcherSettings,
    "writeback": WritebackSettings,
}
POD_KINDS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True, slots=True)
class Workload:
    manifest: Manifest
    manifests: Sequence[Manifest]

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def place(self) -> str:
        return place(self.manifest)

    @property
    def pod(self) -> Any:
        return self.manifest["spec"]["template"]["spec"]

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.manifest["spec"]["template"]["metadata"]["labels"])

    @property
    def containers(self) -> list[Any]:
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    @property
    def is_ours(self) -> bool:
        return self.labels.get("app.kubernetes.io/name") == "stet"

    @property
    def service(self) -> str | None:
        """The service it runs, by its command; none for the Jobs and for what is not ours."""
        command = self.pod["containers"][0].get("command", [])
        if command[:2] == ["python", "-m"] and command[2].startswith("services."):
            return str(command[2].removeprefix("services."))
        return None

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for one in self.pod["containers"] for port in one.get("ports", ())}

    def config_maps(self) -> list[str]:
        return [
            s["configMapRef"]["name"] for one in self.containers for s in one.get("envFrom", ()) if "configMapRef" in s
        ]

    def variables(self) -> dict[str, str]:
        """Name and value of the first container's variables; an empty value where it comes from elsewhere."""
        found: dict[str, str] = {}
        maps = {one["metadata"]["name"]: one.get("data", {}) for one in of_kind(self.manifests, "ConfigMap")}
        container = self.pod["containers"][0]
        for source in container.get("envFrom", ()):
            found |= maps.get(source["configMapRef"]["name"], {})
        return found | {entry["name"]: entry.get("value", "") for entry in container.get("env", ())}

    def secret_sources(self) -> list[Any]:
        """The Secrets that are files of the first container's settings folder."""
        volume: Any = next((one for one in self.pod.get("volumes", ()) if one["name"] == "secrets"), {})
        return [source["secret"] for source in volume.get("projected", {}).get("sources", ())]

    def secret_files(self) -> set[str]:
        """The settings that are files by name; of a Secret without a list the manifests may hold the keys."""
        secrets = {one["metadata"]["name"]: one for one in of_kind(self.manifests, "Secret")}
        found: set[str] = set()
        for source in self.secret_sources():
            secret = secrets.get(source["name"], {})
            found |= {item["path"] for item in source.get("items", ())}
            if "items" not in source:
                found |= {*secret.get("data", {}), *secret.get("stringData", {})}
        return found


def workloads(manifests: Sequence[Manifest]) -> Iterator[Workload]:
    return (Workload(manifest, manifests) for manifest in of_kind(manifests, *POD_KINDS))


def selected(manifests: Sequence[Manifest], selector: Any) -> list[Workload]:
    return [one for one in workloads(manifests) if matches(selector, one.labels)]


def matches(selector: Any, labels: Mapping[str, str]) -> bool:
    """A label selector of Kubernetes; an empty one selects everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(rule, labels) for rule in selector.get("matchExpressions", ()))


def _holds(rule: Any, labels: Mapping[str, str]) -> bool:
    value = labels.get(rule["key"])
    match rule["operator"]:
        case "In":
            return value in rule["values"]
        case "NotIn":
            return value not in rule["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"no operator {other}")
