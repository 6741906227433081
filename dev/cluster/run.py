"""One run of ``make cluster``: the steps in their order, each with its result; a step that fails ends the run."""

import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from dev.chaos.checks.verdict import RunVerdict
from dev.chaos.population import Population, draw_population, set_opening, write_records, write_rules
from dev.cluster import backup, policies
from dev.cluster.kubectl import RUNNER, CommandFailed, Kubectl
from dev.cluster.load import ClusterLoad
from dev.cluster.load_job import PEOPLE, WORKS
from dev.cluster.manifests import DEVELOPMENT_CLOCK, Variant, write_kustomization
from dev.cluster.memory import memory_by_workload
from dev.cluster.node import DEVELOPMENT_IMAGE, RUNTIME_IMAGE, ClusterNode, cluster_by_context
from dev.cluster.readiness import until_ready
from dev.cluster.report import Progress, StepResult
from services.rules.rulebook.rule_folder import read_folder, revision_of
from shared.contracts.errors import StetError

NAMESPACE, STORIES_NAMESPACE, STRANGER_NAMESPACE = "stet", "stet-stories", "stet-stranger"
READY_SECONDS = 600.0
_STORIES_SECONDS = 1800.0
_OPENS_AFTER = timedelta(minutes=4)
_WARM_SECONDS = 15.0
_BETWEEN_SECONDS = 5.0  # after a pod is back, before the next is killed
_AFTER_SECONDS = 20.0
_PROBE_AUTHORS = 3  # of the work of a probe: one may have sent STOP
_LEAST_WEBHOOKS = 20  # requests during a rollout: with fewer it proves nothing
FIRST_TAG, NEXT_TAG = "one", "two"
WORKLOADS = ("ingest-web", "ingest-poll", "rules", "dispatcher", "writeback")
LOAD_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "ingest-web": {
        "STET_CONSONANCE_POLLED": '["work.observed","metadata.changed"]',
        "STET_WHATSAPP_REDELIVERY_SECONDS": "12",
    },
    "ingest-poll": {"STET_CONSONANCE_POLLED": '["work.observed","metadata.changed"]'},
    "dispatcher": {
        "STET_SEND_TIMEOUT_SECONDS": "4",
        "STET_UNPROVEN_AFTER_SECONDS": "20",
        "STET_WHATSAPP_RATES": '{"main":20,"acquisitions":20}',
        "STET_WHATSAPP_TEMPLATES_SECONDS": "0",  # those of the run are registered after the start
    },
    "writeback": {"STET_CONSONANCE_TIMEOUT": "4", "STET_CONSONANCE_EFFECT_SECONDS": "4"},
}
"""As the chaos run has them: shorter than in production, so that what has to pass passes within minutes."""


class StepFailed(StetError):
    """A step saw something that must not be."""


_RECEIVER = "deployment/ingest-web"
_COUNT_FILES = (
    "python",
    "-c",
    "import pathlib; print(sum(path.is_file() for path in pathlib.Path('/files/received').rglob('*')))",
)


class ClusterStep(StrEnum):
    """In their order."""

    NODE = "node"
    IMAGES = "images"
    STORIES = "stories"
    APPLY = "apply"
    POLICIES = "policies"
    RULES = "rules"
    LOAD = "load"
    RESTORE = "restore"


@dataclass(frozen=True)
class RunSeed:
    """The seed and instant from which the population of a run is drawn; a later call of ``make cluster`` for the same
    pods draws the same one again.
    """

    seed: int
    at: datetime

    @property
    def population(self) -> Population:
        return draw_population(self.seed, self.at, PEOPLE, WORKS)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps({"seed": self.seed, "at": self.at.isoformat()}))

    @classmethod
    def read(cls, file: Path) -> "RunSeed":
        """Raises StepFailed where nothing was applied before."""
        if not file.exists():
            raise StepFailed(f"there is no {file}: the step “apply” comes first")
        found = json.loads(file.read_text())
        return cls(found["seed"], datetime.fromisoformat(found["at"]))


@dataclass
class ClusterRun:
    """``folder`` keeps what a later call with ``--only`` needs. ``node`` is None where ``context`` names a cluster."""

    folder: Path
    report: Progress
    node: ClusterNode | None
    context: str
    seed: int
    results: list[StepResult] = field(default_factory=list)
    memory: Mapping[str, list[float]] = field(default_factory=dict)
    _probes: int = 0

    def run(self, steps: Collection[ClusterStep]) -> bool:
        """Run these steps in the order of ``ClusterStep``; whether all passed."""
        doing: Mapping[ClusterStep, Callable[[], str]] = {
            ClusterStep.NODE: self._bring_up,
            ClusterStep.IMAGES: self._build_images,
            ClusterStep.STORIES: self._play_stories,
            ClusterStep.APPLY: self._apply,
            ClusterStep.POLICIES: self._try_policies,
            ClusterStep.RULES: self._switch_rules,
            ClusterStep.LOAD: self._disrupt_under_load,
            ClusterStep.RESTORE: self._restore,
        }
        return all(self._step(step, doing[step]) for step in ClusterStep if step in steps)

    def end(self) -> None:
        """Remove what the run made, and end the node."""
        if self.node is not None:
            self.report("ending the node")
            self.node.down()
            return
        for namespace in (NAMESPACE, STORIES_NAMESPACE, STRANGER_NAMESPACE):
            self._kubectl(namespace).delete_namespace()

    def _step(self, step: ClusterStep, do: Callable[[], str]) -> bool:
        self.report(f"— {step}")
        began = time.monotonic()
        try:
            sentence, passed = do(), True
        except StetError as failure:
            sentence, passed = str(failure), False
        self.results.append(StepResult(step, passed, sentence, time.monotonic() - began))
        self.report(f"{step}: {sentence}")
        return passed

    def _kubectl(self, namespace: str = NAMESPACE) -> Kubectl:
        return self.node.kubectl(namespace) if self.node else cluster_by_context(self.context, namespace)

    # ------------------------------------------------------------------ node and images

    def _bring_up(self) -> str:
        if self.node is not None:
            self.node.up()
        version = json.loads(self._kubectl().run("version", "--output", "json"))["serverVersion"]["gitVersion"]
        return f"Kubernetes {version} answers"

    def _build_images(self) -> str:
        """The runtime image twice: a rollout needs a second one."""
        if self.node is None:
            given = (f"{RUNTIME_IMAGE}:{FIRST_TAG}", f"{RUNTIME_IMAGE}:{NEXT_TAG}", f"{DEVELOPMENT_IMAGE}:{FIRST_TAG}")
            return f"taken as given: {', '.join(given)}"
        self.report("building the stand-in for the base of the runtime image")
        self.node.build_runtime_base()
        for name, tag in ((RUNTIME_IMAGE, FIRST_TAG), (RUNTIME_IMAGE, NEXT_TAG), (DEVELOPMENT_IMAGE, FIRST_TAG)):
            self.report(f"building {name}:{tag}")
            self.node.build_image(name, tag, version=f"0.1.0-{tag}")
        return f"built {RUNTIME_IMAGE} (two versions) and {DEVELOPMENT_IMAGE}"

    # ------------------------------------------------------------------ stories

    def _play_stories(self) -> str:
        """In a namespace of their own, whose pods share a development clock."""
        kubectl = self._kubectl(STORIES_NAMESPACE)
        variant = Variant(STORIES_NAMESPACE, self._images(FIRST_TAG), (DEVELOPMENT_CLOCK,))
        ready = self._start(kubectl, variant)
        pods = [f"{name}={address}" for name, address in _addresses(kubectl).items()]
        self.report(f"ready after {ready:.0f} s; playing the stories")
        job = ("python", "-m", "dev.cluster.stories_job", *pods)
        try:
            told = kubectl.execute(RUNNER, *job, seconds=_STORIES_SECONDS)
        except CommandFailed as failure:
            self._keep("stories.txt", failure.output)
            raise
        self._keep("stories.txt", told)
        stored = int(kubectl.execute(_RECEIVER, *_COUNT_FILES))
        if not stored:
            raise StepFailed("the manuscript of the pitch is not in the store of files")
        kubectl.delete_namespace()
        ended = f"eight stories ended as expected, {stored} files stored (ready after {ready:.0f} s)"
        return f"{ended}; {self.folder / 'stories.txt'}"

    # ------------------------------------------------------------------ apply

    def _apply(self) -> str:
        run_seed = RunSeed(self.seed, _now())
        shutil.rmtree(self._run_folder, ignore_errors=True)
        self._run_folder.mkdir(parents=True)
        run_seed.write(self._run_seed_file)
        write_records(run_seed.population, self._run_folder / "records.json")
        ready = self._start(self._kubectl(), self._variant(FIRST_TAG))
        self.memory = memory_by_workload(self._kubectl())
        total = sum(map(sum, self.memory.values()))
        pods = sum(map(len, self.memory.values()))
        return f"overlays/local: {pods} pods ready after {ready:.0f} s, {total:.0f} MiB in all"

    def _start(self, kubectl: Kubectl, variant: Variant) -> float:
        """Apply a variant to an empty namespace; returns the seconds until all is ready."""
        kubectl.delete_namespace()
        self.report(f"applying overlays/local to the namespace {variant.namespace}")
        began = time.monotonic()
        kubectl.apply(write_kustomization(variant, self.folder / "kustomize" / variant.namespace))
        until_ready(kubectl, READY_SECONDS, self.report)
        return time.monotonic() - began

    # ------------------------------------------------------------------ network policies

    def _try_policies(self) -> str:
        kubectl = self._kubectl()
        stranger = self._kubectl(STRANGER_NAMESPACE)
        stranger.delete_namespace()
        self._stranger_pod(stranger)
        health = next(address for name, address in _addresses(kubectl).items() if name.startswith("ingest-web-"))
        tried = policies.connections(health, STRANGER_NAMESPACE)
        wrong = policies.wrong(kubectl, tried)
        stranger.delete_namespace()
        if wrong:
            raise StepFailed("; ".join(wrong))
        refused = sum(not one.allowed for one in tried)
        return f"{refused} connections refused, {len(tried) - refused} beside them allowed"

    def _stranger_pod(self, stranger: Kubectl) -> None:
        stranger.run("create", "namespace", stranger.namespace)
        image = f"{DEVELOPMENT_IMAGE}:{FIRST_TAG}"  # the other has nothing that sleeps
        stranger.run("run", "stranger", f"--image={image}", "--restart=Never", "--command", "--", "sleep", "infinity")
        stranger.run("wait", "--for=condition=Ready", "pod/stranger", "--timeout=120s", seconds=150)

    # ------------------------------------------------------------------ rules

    def _switch_rules(self) -> str:
        """From the rules of the image to those of the chaos run, in a ConfigMap."""
        run_seed = RunSeed.read(self._run_seed_file)
        before = self._probe(run_seed, messages=0)["revision"]
        population = run_seed.population
        set_opening(population, _now() + _OPENS_AFTER)
        shutil.rmtree(self._rules, ignore_errors=True)
        write_rules(population, self._rules)
        self._opening_file.write_text(str(population.opens.timestamp()))
        ClusterLoad(self._kubectl(), self._run_folder, run_seed.seed, run_seed.at, population).send_rules()
        self._roll_out(FIRST_TAG)
        after = self._probe(run_seed, messages=1)["revision"]
        wanted = revision_of(read_folder(self._rules, stories=False))
        if after != wanted or after == before:
            raise StepFailed(f"decisions name the revision {after}, not {wanted}; before: {before}")
        return f"decisions name the revision {after[:12]} instead of {before[:12]}"

    def _roll_out(self, tag: str) -> float:
        """Apply the present variant with this image, and wait until it is in place; returns the seconds that took."""
        kubectl = self._kubectl()
        began = time.monotonic()
        kubectl.run("delete", "jobs", "--all")  # a Job's pod cannot be changed
        kubectl.apply(write_kustomization(self._variant(tag), self.folder / "kustomize" / NAMESPACE))
        until_ready(kubectl, READY_SECONDS, self.report)
        return time.monotonic() - began

    def _probe(self, run_seed: RunSeed, messages: int) -> dict[str, Any]:
        """Push one event, and follow it to its decision and, if there must be any, its message."""
        self._probes += 1
        word = f"P-{int(time.time())}-{self._probes}"
        work = next(number for number, work in run_seed.population.works.items() if len(work.authors) == _PROBE_AUTHORS)
        job = ("python", "-m", "dev.cluster.probe_job", str(work), word, "--messages", str(messages))
        found: dict[str, Any] = json.loads(self._kubectl().execute(RUNNER, *job, seconds=180))
        return found

    # ------------------------------------------------------------------ load

    def _disrupt_under_load(self) -> str:
        """Kill a pod of each workload, then roll out a new image of all, while the chaos run's load goes on."""
        run_seed, kubectl = RunSeed.read(self._run_seed_file), self._kubectl()
        if not self._rules.exists():
            self._switch_rules()
        load = ClusterLoad(kubectl, self._run_folder, run_seed.seed, run_seed.at, self._opened(run_seed))
        with load.running():
            self.report("the load runs")
            time.sleep(_WARM_SECONDS)
            for workload in WORKLOADS:
                self._kill_one(kubectl, load, workload)
            refused, seconds = self._roll_out_under(load)
            self.memory = memory_by_workload(kubectl)
            time.sleep(_AFTER_SECONDS)
            load.check()
            until_ready(kubectl, READY_SECONDS, self.report)
            self.report("the load is to end; waiting until all work is done")
        verdict = load.verdict([f"kill {workload}" for workload in WORKLOADS] + ["roll_out all"])
        self._keep("verdict.txt", "\n".join(str(one) for result in verdict.results for one in result.violations))
        if refused:
            raise StepFailed(f"{refused} webhook requests were refused during the rollout")
        if not verdict.holds:
            raise StepFailed(_violations(verdict))
        counts = verdict.counts
        return (
            f"a pod of each workload killed, a new image of all rolled out in {seconds:.0f} s, no webhook refused;"
            f" {counts['events accepted']} events, {counts['messages sent']} messages,"
            f" {counts['writes that stand']} writes: none lost, none doubled"
        )

    def _kill_one(self, kubectl: Kubectl, load: ClusterLoad, workload: str) -> None:
        pods = kubectl.items("pods", f"app.kubernetes.io/component={workload}")
        name = next(pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        self.report(f"killing {name}")
        with load.disruption("kill", workload, [name]):
            kubectl.run("delete", "pod", name, "--grace-period=0", "--force")
            until_ready(kubectl, READY_SECONDS, self.report)
        load.check()
        time.sleep(_BETWEEN_SECONDS)

    def _roll_out_under(self, load: ClusterLoad) -> tuple[int, float]:
        """The webhook requests refused meanwhile, and the seconds it took."""
        before = self._webhooks()
        self.report(f"rolling out {RUNTIME_IMAGE}:{NEXT_TAG}")
        with load.disruption("roll_out", "all", list(WORKLOADS)):
            seconds = self._roll_out(NEXT_TAG)
        after = self._webhooks()
        accepted = after["accepted"] - before["accepted"]
        self.report(f"rolled out in {seconds:.0f} s; {accepted} webhook requests were accepted meanwhile")
        if accepted < _LEAST_WEBHOOKS:
            raise StepFailed(f"the rollout proves nothing: {accepted} webhook requests came during it")
        return after["refused"] - before["refused"], seconds

    def _webhooks(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(
            self._kubectl().execute(RUNNER, "python", "-m", "dev.cluster.webhook_counts")
        )
        return found

    def _opened(self, run_seed: RunSeed) -> Population:
        """The population with the opening that its rules were written with."""
        population = run_seed.population
        population.opens = datetime.fromtimestamp(float(self._opening_file.read_text()), UTC)
        return population

    # ------------------------------------------------------------------ restore

    def _restore(self) -> str:
        run_seed = RunSeed.read(self._run_seed_file)
        before = self._webhooks()
        restored = backup.restore(self._kubectl(), self.report, READY_SECONDS)
        unchanged = self._webhooks()
        if unchanged["sends"] != before["sends"] or unchanged["repeated"]:
            raise StepFailed(f"messages were sent again after the restore: {before} → {unchanged}")
        probe = self._probe(run_seed, messages=int(self._rules.exists()))
        return (
            f"{restored.tables} tables equal in a fresh database, services away {restored.stopped_seconds:.0f} s, no"
            f" message sent again; the next event was decided and sent after {probe['seconds']} s"
        )

    # ------------------------------------------------------------------ files and variants

    @property
    def _run_folder(self) -> Path:
        return self.folder / "run"

    @property
    def _rules(self) -> Path:
        return self._run_folder / "rules"

    @property
    def _run_seed_file(self) -> Path:
        return self._run_folder / "run_seed.json"

    @property
    def _opening_file(self) -> Path:
        return self._run_folder / "opens"

    def _images(self, tag: str) -> dict[str, str]:
        return {RUNTIME_IMAGE: tag, DEVELOPMENT_IMAGE: FIRST_TAG}

    def _variant(self, tag: str) -> Variant:
        rules = self._rules if self._rules.exists() else None
        return Variant(NAMESPACE, self._images(tag), (), LOAD_SETTINGS, rules, self._run_folder / "records.json")

    def _keep(self, name: str, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)


def _addresses(kubectl: Kubectl) -> dict[str, str]:
    """The address of each pod of a service, by its name."""
    pods = kubectl.items("pods", f"app.kubernetes.io/component in ({','.join(WORKLOADS)})")
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods if not pod["metadata"].get("deletionTimestamp")
    }


def _violations(verdict: RunVerdict) -> str:
    found = [str(one) for result in verdict.results for one in result.violations]
    return f"{len(found)} violations: " + "; ".join(found[:5])


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 -- the run's own clock
