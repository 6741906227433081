"""The memory of the pods of a namespace, as the kubelet of their node counts it; no metrics server is needed."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from dev.cluster.kubectl import Kubectl

_MEBIBYTE = 1024 * 1024


def memory_by_workload(kubectl: Kubectl) -> dict[str, list[float]]:
    """The working set of each pod in MiB, by workload. Raises CommandFailed."""
    nodes = json.loads(kubectl.run("get", "nodes", "--output", "json"))["items"]
    found: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        for workload, size in working_sets(json.loads(kubectl.run("get", "--raw", path)), kubectl.namespace):
            found[workload].append(size)
    return dict(sorted(found.items()))


def working_sets(summary: Mapping[str, Any], namespace: str) -> list[tuple[str, float]]:
    """Workload and MiB of each pod of a namespace. Of one that has just started, the kubelet says 0 or nothing."""
    pods = (pod for pod in summary.get("pods", ()) if pod["podRef"]["namespace"] == namespace)
    return [
        (workload_of(pod["podRef"]["name"]), pod["memory"]["workingSetBytes"] / _MEBIBYTE)
        for pod in pods
        if pod.get("memory", {}).get("workingSetBytes")
    ]


def workload_of(pod: str) -> str:
    """``rules-0`` is of rules, ``ingest-web-5d8f9c7b6d-x2x7k`` of ingest-web."""
    head, _, last = pod.rpartition("-")
    return head if last.isdecimal() else head.rpartition("-")[0] or head
