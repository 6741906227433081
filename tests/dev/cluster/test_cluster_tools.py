"""The small parts of make cluster that need no cluster."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.cluster import clock_file
from dev.cluster.in_cluster import ClusterStack, PodAddresses
from dev.cluster.kubectl import CommandFailed, run_command
from dev.cluster.memory import working_sets, workload_of
from dev.cluster.node import RUNTIME_BASE, ClusterNode, exported_variables
from dev.cluster.policies import connections
from dev.cluster.webhook_counts import failed_attempts
from dev.layout import Neighbours
from shared.contracts.errors import Misconfigured
from shared.runtime.clock import DevelopmentClock


@pytest.mark.parametrize(
    ("pod", "workload"),
    [("rules-0", "rules"), ("ingest-web-5d8f9c7b6d-x2x7k", "ingest-web"), ("dev-database-0", "dev-database")],
)
def test_a_pod_names_its_workload(pod: str, workload: str) -> None:
    assert workload_of(pod) == workload


def test_the_memory_of_a_namespace_is_that_of_its_pods() -> None:
    def stats(namespace: str, size: int) -> dict[str, object]:
        return {"podRef": {"name": "rules-0", "namespace": namespace}, "memory": {"workingSetBytes": size}}

    unmeasured = {**stats("stet", 0), "memory": {}}
    summary = {"pods": [stats("stet", 100 * 1024 * 1024), stats("stet", 0), stats("other", 1), unmeasured]}
    assert working_sets(summary, "stet") == [("rules", 100.0)]


def test_the_variables_of_a_node_are_read_from_its_script() -> None:
    script = "export KUBECONFIG='/state/kubeconfig' KUBECACHEDIR='/state/cache' PATH='/state/bin:$PATH'"
    assert exported_variables(script, {"PATH": "/usr/bin"}) == {
        "KUBECONFIG": "/state/kubeconfig", "KUBECACHEDIR": "/state/cache", "PATH": "/state/bin:/usr/bin",
    }  # fmt: skip


def test_a_node_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"NODE: .*node\.sh is no program"):
        ClusterNode(tmp_path / "node.sh")
    with pytest.raises(Misconfigured, match=r"NODE: .* is no program"):
        ClusterNode(tmp_path)  # a folder may be entered, which is the right to execute it


def test_a_node_builds_the_base_of_the_runtime_image_that_no_registry_gives(tmp_path: Path) -> None:
    script = tmp_path / "node.sh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    script.chmod(0o755)
    node = ClusterNode(script)
    node.build_runtime_base()
    node.build_image("stet", "one", version="1")
    base, image = (tmp_path / "calls").read_text().splitlines()
    assert base.startswith(f"image {RUNTIME_BASE} ")
    assert base.endswith("dev/cluster/runtime_base.Dockerfile")
    assert f"--target stet --build-arg VERSION=1 --build-arg RUNTIME_BASE={RUNTIME_BASE}" in image


def test_a_failed_command_tells_what_it_wrote() -> None:
    with pytest.raises(CommandFailed, match=r"(?s)ended with code 3:\nno such pod"):
        run_command((sys.executable, "-c", "import sys; sys.stderr.write('no such pod'); sys.exit(3)"))


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandFailed, match="was not done after 0 s"):
        run_command((sys.executable, "-c", "import time; time.sleep(30)"), seconds=0.2)


def test_the_first_pod_makes_the_clock_and_the_others_leave_it(tmp_path: Path) -> None:
    file = tmp_path / "now"
    first, later = datetime(2027, 4, 12, 8, tzinfo=UTC), datetime(2027, 4, 13, tzinfo=UTC)
    clock_file.main(file, first)
    DevelopmentClock(file).set(later)
    clock_file.main(file, first)
    assert DevelopmentClock(file).now() == later
    assert list(tmp_path.iterdir()) == [file]


def test_every_pod_is_asked_whether_it_is_idle_and_the_polling_one_is_asked_to_poll() -> None:
    addresses = PodAddresses({"ingest-web-1": "10.0.0.1", "ingest-poll-1": "10.0.0.2", "rules-0": "10.0.0.3"})
    assert addresses.health_url("ingest") == "http://10.0.0.2:9090"
    assert addresses.idle_urls()["rules-0"] == "http://10.0.0.3:9090/development/idle"
    assert len(addresses.idle_urls()) == 5  # three pods and two simulators


def test_pods_on_the_real_clock_have_no_virtual_one() -> None:
    stack = ClusterStack(PodAddresses(), Neighbours("dev-broker:9092", "postgresql://dev-database/postgres"))
    with pytest.raises(RuntimeError, match="on the real clock"):
        _ = stack.virtual_clock


def test_every_answer_but_success_is_a_refused_webhook() -> None:
    assert failed_attempts([{"statuses": [0, 503, 202]}, {"statuses": [200]}, {"statuses": []}]) == 2


def test_each_refused_connection_is_tried_where_another_is_allowed() -> None:
    tried = connections("10.0.0.1", "elsewhere")
    allowed = {(one.host, one.port) for one in tried if one.allowed} | {one.source for one in tried if one.allowed}
    for one in tried:
        assert one.allowed or (one.host, one.port) in allowed or one.source in allowed, one
