"""Calls ``kubectl`` for one namespace of one cluster: apply, look, wait, run a command in a pod."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shared.contracts.errors import StetError

RUNNER = "deployment/dev-runner"
"""The pod of components/dev in which tools run inside the cluster."""

_SECONDS = 120.0  # for a call that names no other limit
_MOST_CHARACTERS = 2_000  # of an error


class CommandFailed(StetError):
    """A command ended with a code that is not 0, or was not done in time; ``output`` is what it wrote."""

    def __init__(self, command: Sequence[str], what: str, output: str) -> None:
        super().__init__(f"{' '.join(command)} {what}:\n{output.strip()[-_MOST_CHARACTERS:] or '(it wrote nothing)'}")
        self.output = output


def run_command(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
    seconds: float = _SECONDS,
) -> str:
    """Run ``command`` to its end with ``text`` as its input; returns its standard output. Raises CommandFailed."""
    try:
        done = subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(command, f"was not done after {seconds:.0f} s", _decoded(late.stderr)) from None
    except OSError as error:
        raise CommandFailed(command, "could not be started", str(error)) from None
    if done.returncode != 0:
        raise CommandFailed(command, f"ended with code {done.returncode}", done.stdout + done.stderr)
    return done.stdout


def _decoded(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


@dataclass(frozen=True)
class Kubectl:
    """``program`` is kubectl with its options for the cluster; ``environment`` is that of every call."""

    program: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    namespace: str

    def within(self, namespace: str) -> "Kubectl":
        return replace(self, namespace=namespace)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (*self.program, "--namespace", self.namespace, *arguments)

    def run(self, *arguments: str, text: str | None = None, seconds: float = _SECONDS) -> str:
        """Raises CommandFailed."""
        return run_command(self.command(*arguments), environment=self.environment, text=text, seconds=seconds)

    def items(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of ``kind`` in the namespace that ``selector`` takes. Raises CommandFailed."""
        chosen = ("--selector", selector) if selector else ()
        found: list[dict[str, Any]] = json.loads(self.run("get", kind, *chosen, "--output", "json"))["items"]
        return found

    def apply(self, folder: Path) -> None:
        """Apply a kustomization, and make its namespace first. Raises CommandFailed."""
        self.run("apply", "--server-side", "--force-conflicts", "--kustomize", str(folder), seconds=300)

    def execute(self, pod: str, *command: str, text: str | None = None, seconds: float = _SECONDS) -> str:
        """Run a command in a pod (or ``deployment/name``); returns its output. Raises CommandFailed."""
        piped = ("--stdin",) if text is not None else ()
        return self.run("exec", *piped, pod, "--", *command, text=text, seconds=seconds)

    def delete_namespace(self) -> None:
        """Delete the namespace, and return once it is gone. Raises CommandFailed."""
        self.run("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=240s", seconds=260)
