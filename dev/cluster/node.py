"""Where the pods run: the one-node Kubernetes that ``node.sh`` makes, or any cluster that ``kubectl`` reaches.

``node.sh`` is a script outside this repository: ``build``, ``up``, ``down``, ``env`` and ``image TAG CONTEXT FILE``.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.kubectl import Kubectl, run_command
from dev.layout import ROOT
from shared.contracts.errors import Misconfigured

DEFAULT_NODE = ROOT.parent / "shared" / "k8s-node" / "node.sh"
RUNTIME_IMAGE, DEVELOPMENT_IMAGE = "stet", "stet-dev"
RUNTIME_BASE = "localhost/stand-in-for-distroless-cc-debian12:latest"
"""A node is for machines that no image registry answers, so the base of the runtime image is made here."""

_RUNTIME_BASE_FILE = ROOT / "dev" / "cluster" / "runtime_base.Dockerfile"
_TARGETS = {RUNTIME_IMAGE: "stet", DEVELOPMENT_IMAGE: "stet-dev"}
_BUILD_SECONDS = 3600.0
_UP_SECONDS = 900.0
_EXPORT = re.compile(r"(\w+)='([^']*)'")


@dataclass(frozen=True)
class ClusterNode:
    """A node made by ``script``."""

    script: Path

    def __post_init__(self) -> None:
        if not (self.script.is_file() and os.access(self.script, os.X_OK)):
            raise Misconfigured("NODE", f"{self.script} is no program; name another node.sh, or a cluster by CONTEXT")

    def up(self) -> None:
        """Bring it up; the first time it is built, which takes ten minutes of two cores. Raises CommandFailed."""
        self._run("up", seconds=_BUILD_SECONDS)

    def down(self) -> None:
        self._run("down", seconds=_UP_SECONDS)

    def build_runtime_base(self) -> None:
        """Build ``RUNTIME_BASE``. Raises CommandFailed."""
        self._run("image", RUNTIME_BASE, str(ROOT), str(_RUNTIME_BASE_FILE), seconds=_BUILD_SECONDS)

    def build_image(self, name: str, tag: str, version: str) -> None:
        """Build a target of the Dockerfile, on ``RUNTIME_BASE``, and load it into the node. Raises CommandFailed."""
        arguments = {"VERSION": version, "RUNTIME_BASE": RUNTIME_BASE}
        given = [part for argument, value in arguments.items() for part in ("--build-arg", f"{argument}={value}")]
        options = ("--target", _TARGETS[name], *given)
        self._run("image", f"{name}:{tag}", str(ROOT), str(ROOT / "Dockerfile"), "--", *options, seconds=_BUILD_SECONDS)

    def kubectl(self, namespace: str) -> Kubectl:
        environment = dict(os.environ) | exported_variables(self._run("env"), os.environ)
        return Kubectl(("kubectl",), environment, namespace)

    def _run(self, *arguments: str, seconds: float = _UP_SECONDS) -> str:
        return run_command((str(self.script), *arguments), seconds=seconds)


def exported_variables(script: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that ``export NAME='value' …`` sets; ``$PATH`` in a value is the present one."""
    return {name: value.replace("$PATH", environment.get("PATH", "")) for name, value in _EXPORT.findall(script)}


def cluster_by_context(context: str, namespace: str) -> Kubectl:
    """A cluster that the present kubeconfig names."""
    return Kubectl(("kubectl", "--context", context), dict(os.environ), namespace)
