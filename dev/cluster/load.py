"""The load of a chaos run from outside: starts it in the runner's pod, stops it, fetches its files and judges them."""

import io
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from dev.chaos.checks.verdict import RunVerdict, judge
from dev.chaos.population import Population, population_facts
from dev.chaos.recorder import RunLog
from dev.cluster.in_cluster import LINES
from dev.cluster.kubectl import RUNNER, CommandFailed, Kubectl
from dev.cluster.load_job import LEFT, STARTED, STOP
from shared.contracts.errors import StetError

PER_SECOND = 80
"""Messages of one number that the WhatsApp simulator takes in a second; the dispatcher has a lower rate."""

_THERE = "/tmp/load"  # noqa: S108 -- in the pod, which has no other folder to write to
_START_SECONDS = 180.0
_DRAIN_SECONDS = 900.0
_POLL_SECONDS = 1.0
_LEAST: Mapping[str, int] = {"sends in doubt": 0, "messages held for the morning": 0, "STOPs": 0, "pitches recorded": 0}
"""A run in a cluster provokes no faults of the neighbours, and is too short for what is rare."""


class LoadFailed(StetError):
    """The load ended by itself; the sentence has the end of its log."""


@dataclass
class ClusterLoad:
    """``folder`` gets the files of the run; it has the folder ``rules``."""

    kubectl: Kubectl
    folder: Path
    seed: int
    drawn_at: datetime
    population: Population
    journal: RunLog = field(init=False)
    disruptions: int = 0
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.journal = RunLog(self.folder / "outside.jsonl")

    @contextmanager
    def running(self) -> Iterator[None]:
        """The load runs within the block; afterwards everything it began has ended, and its files are in ``folder``."""
        self.send_rules()
        with (self.folder / "load.log").open("wb") as log:
            command = self.kubectl.command("exec", RUNNER, "--", *self._job())
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(self.kubectl.environment))
            try:
                self._wait_until(lambda: self._exists(STARTED), _START_SECONDS)
                yield
                self.stop()
            finally:
                if self._process.poll() is None:
                    self._process.kill()
        self._fetch()

    def stop(self) -> None:
        """Let the load end, and wait until all work is done."""
        self.kubectl.execute(RUNNER, "touch", f"{_THERE}/{STOP}")
        self._wait_until(self._has_ended, _DRAIN_SECONDS)

    def check(self) -> None:
        """Raises LoadFailed where it has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise LoadFailed(f"the load has ended with code {self._process.returncode}:\n{self._log_tail()}")

    @contextmanager
    def disruption(self, how: str, target: str, names: list[str]) -> Iterator[None]:
        """Note in the journal what is done to ``names`` within the block."""
        self.disruptions += 1
        number = self.disruptions
        self.journal.note("disruption", number=number, how=how, target=target, names=names)
        yield
        self.journal.note("ready", number=number)

    def verdict(self, kinds: list[str]) -> RunVerdict:
        """Judge the files; ``kinds`` are the disruptions that must be among them."""
        left = orjson.loads((self.folder / LEFT).read_bytes())
        facts: dict[str, Any] = {
            **left,
            **population_facts(self.population, self.folder / "rules"),
            "seed": self.seed,
            "per_second": PER_SECOND,
            "lines": LINES,
            "kinds": kinds,
            "faults": [],
            "ended": [],
            "least": _LEAST,
        }
        (self.folder / "run.json").write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        with (self.folder / "journal.jsonl").open("ab") as journal:
            journal.write(self.journal.file.read_bytes())
        return judge(self.folder)

    def _job(self) -> tuple[str, ...]:
        drawn_at = f"{self.drawn_at:%Y-%m-%dT%H:%M:%S%z}"
        return ("python", "-m", "dev.cluster.load_job", "run", _THERE, "--seed", str(self.seed), "--at", drawn_at)

    def send_rules(self) -> None:
        """Copy the rules of the run into the pod, and register their templates with the WhatsApp simulator."""
        self.kubectl.execute(RUNNER, "rm", "-rf", _THERE)
        self.kubectl.execute(RUNNER, "mkdir", _THERE)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(self.folder / "rules", "rules")
        self._tar("--extract", content=content.getvalue())
        self.kubectl.execute(RUNNER, "python", "-m", "dev.cluster.load_job", "templates", _THERE)

    def _fetch(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(self._tar("--create", "."))) as archive:
            archive.extractall(self.folder, filter="data")

    def _tar(self, *arguments: str, content: bytes | None = None) -> bytes:
        """Run tar in the folder of the run, in the pod."""
        piped = () if content is None else ("--stdin",)
        command = self.kubectl.command("exec", *piped, RUNNER, "--", "tar", "--directory", _THERE, *arguments)
        done = subprocess.run(
            command, input=content, capture_output=True, env=dict(self.kubectl.environment), check=False
        )
        if done.returncode != 0:
            raise CommandFailed(command, f"ended with code {done.returncode}", done.stderr.decode(errors="replace"))
        return done.stdout

    def _exists(self, name: str) -> bool:
        self.check()
        return self.kubectl.execute(RUNNER, "find", _THERE, "-name", name).strip() != ""

    def _has_ended(self) -> bool:
        if self._process is None or self._process.poll() is None:
            return False
        if self._process.returncode != 0:
            raise LoadFailed(f"the load ended with code {self._process.returncode}:\n{self._log_tail()}")
        return True

    def _wait_until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise LoadFailed(f"the load was not ready or done after {seconds:.0f} s:\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _log_tail(self) -> str:
        lines = (self.folder / "load.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])
