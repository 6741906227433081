"""JSON schemas of the operators' resources that we use, from their CustomResourceDefinitions.

``python -m dev.deploy.crd_schemas FOLDER`` reads every CRD below a folder and writes tests/deploy/schemas. A JSON
schema refuses less than the API server: CEL rules (``x-kubernetes-validations``) are left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from dev.layout import ROOT

SCHEMAS = ROOT / "tests/deploy/schemas"
USED = (
    "Certificate", "Cluster", "ExternalSecret", "Issuer", "Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser",
    "PodMonitor", "PrometheusRule", "ScaledObject", "ScheduledBackup", "TriggerAuthentication",
)  # fmt: skip
_GROUPS = ("strimzi.io", "cnpg.io", "keda.sh", "monitoring.coreos.com", "cert-manager.io", "external-secrets.io")
_KEPT = (
    "additionalProperties", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "oneOf", "anyOf",
    "allOf", "not", "pattern", "properties", "required", "type", "uniqueItems",
)  # fmt: skip


def json_schema(node: Any) -> Any:
    """A structural schema as a strict JSON schema: a field that it does not name is an error, as for kubectl."""
    schema = {key: _part(key, value) for key, value in node.items() if key in _KEPT}
    if node.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
        schema.pop("anyOf", None)
    elif node.get("nullable") and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    if "properties" in schema and "additionalProperties" not in schema and not _is_open(node):
        schema["additionalProperties"] = False
    return schema


def _part(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: json_schema(node) for name, node in value.items()}
    if key in {"oneOf", "anyOf", "allOf"}:
        return [_condition(node) for node in value]
    if key == "not":
        return _condition(value)
    return json_schema(value) if key in {"items", "additionalProperties"} and isinstance(value, dict) else value


def _condition(node: Any) -> Any:
    """A part of oneOf and the like narrows what stands beside it, so it names only some of the fields."""
    return {key: value for key, value in node.items() if key in _KEPT}


def _is_open(node: Any) -> bool:
    return bool(node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-embedded-resource"))


def schemas_of(definition: Any) -> Iterator[tuple[str, Any]]:
    """File name and schema of each served version."""
    names, group = definition["spec"]["names"], definition["spec"]["group"]
    for version in definition["spec"]["versions"]:
        if version["served"]:
            schema = json_schema(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            schema["properties"].pop("status", None)
            yield schema_name(f"{group}/{version['name']}", names["kind"]), schema


def schema_name(api_version: str, kind: str) -> str:
    return f"{kind.lower()}.{api_version.replace('/', '.')}.json"


def main(folder: Annotated[Path, typer.Argument(help="The CRDs, as YAML files in any depth.")]) -> None:
    """Write the schemas of the resources that deploy/k8s uses."""
    SCHEMAS.mkdir(exist_ok=True)
    for path in sorted(folder.rglob("*.yaml")):
        for definition in yaml.safe_load_all(path.read_text()):
            spec = definition["spec"]
            if spec["names"]["kind"] in USED and spec["group"].endswith(_GROUPS):
                for name, schema in schemas_of(definition):
                    (SCHEMAS / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")
                    print(f"written: {name}")


if __name__ == "__main__":
    typer.run(main)
