"""The Dockerfile, compose.yaml and the CI workflows say the same as the code and as each other."""

import os
import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dev.consonance import command as consonance_command
from dev.image.build import TARGETS, Build, BuildFailed, build_command, describe, find_builder, try_out
from dev.whatsapp import command as whatsapp_command
from ops.command_settings import OperatorSettings
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured
from shared.runtime.settings import ServiceSettings, load_settings
from tests.deploy.manifests import base_with
from tests.deploy.policies import PROGRAMS
from tests.deploy.workloads import workloads
from tests.dev.command_lines import options_of

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
_YAML = YAML(typ="safe")
COMPOSE = _YAML.load(ROOT / "compose.yaml")["services"]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "ingest": IngestSettings,
    "rules": RulesSettings,
    "dispatcher": DispatcherSettings,
    "writeback": WritebackSettings,
}


def instructions(stage: str) -> list[str]:
    """The instructions of one stage of the Dockerfile, each on one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)
    joined = text.replace("\\\n", " ").splitlines()
    stages = re.split(r"(?m)^(?=FROM )", "\n".join(joined))
    (found,) = [each for each in stages if each.splitlines()[0].endswith(f" AS {stage}")]
    return [re.sub(r"\s+", " ", line) for line in found.splitlines() if line]


def workflow_steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in _YAML.load(path)["jobs"].values():
            for step in job["steps"]:
                yield path.name, step


# ------------------------------------------------------------------ Dockerfile


def test_every_stage_begins_with_the_base_that_can_be_named_by_digest() -> None:
    bases = re.findall(r"(?m)^FROM (\S+) AS (\S+)", DOCKERFILE)
    own = {name for _, name in bases}
    assert {base for base, _ in bases if base not in own} == {"${BASE}", "${RUNTIME_BASE}"}
    assert {stage for base, stage in bases if base == "${RUNTIME_BASE}"} == {"runtime-base"}


def test_both_bases_are_of_one_release_of_debian() -> None:
    """Compiled modules of the one load libraries of the other."""
    releases = {"bookworm": "debian12", "trixie": "debian13"}
    base, runtime_base = (re.findall(rf"(?m)^ARG {name}=(\S+)$", DOCKERFILE)[0] for name in ("BASE", "RUNTIME_BASE"))
    assert runtime_base.endswith(f"-{releases[base.rpartition('-')[2]]}")
    stand_in = (ROOT / "dev/cluster/runtime_base.Dockerfile").read_text()
    assert f"FROM debian:{base.rpartition('-')[2]}-slim AS " in stand_in
    assert runtime_base in stand_in


def test_the_image_of_the_services_adds_no_program_to_its_base_but_python() -> None:
    """It is copied together: a RUN would need a shell, and would leave the files of the builder."""
    lines = instructions("stet")
    assert lines[0] == "FROM runtime-base AS stet"
    assert [line for line in lines if line.startswith("RUN ")] == []
    copied = [line.split()[1] for line in lines if line.startswith("COPY --from=")]
    assert copied == ["--from=assembly"] * 3 + ["--from=code"]


def test_the_default_target_is_the_runtime() -> None:
    assert re.findall(r"(?m)^FROM \S+ AS (\S+)", DOCKERFILE)[-1] == "stet"


@pytest.mark.parametrize("stage", TARGETS)
def test_an_image_runs_as_a_user_without_rights_and_says_what_it_is(stage: str) -> None:
    lines = instructions(stage)
    assert "USER 10001:10001" in lines
    labels = next(line for line in lines if line.startswith("LABEL "))
    for label in ("title", "description", "version", "revision", "source", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels


@pytest.mark.parametrize("stage", [*TARGETS, "debian"])
def test_no_compiler_and_no_shell_script_is_in_an_image(stage: str) -> None:
    runs = [line for line in instructions(stage) if line.startswith("RUN ")]
    assert all(line.startswith(("RUN groupadd ", "RUN mkdir /data ")) for line in runs)
    assert all(line.removeprefix("CMD ").startswith("[") for line in instructions(stage) if line.startswith("CMD "))


def test_the_image_copies_what_the_build_may_see() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    seen = {path.removeprefix("!") for path in ignored if path.startswith("!")}
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), line
                assert any(fnmatch(source, path) or source.startswith(f"{path}/") for path in seen), line


def test_the_rules_of_the_image_are_where_its_setting_says() -> None:
    lines = instructions("stet")
    assert "COPY rules /opt/stet/rules" in lines
    assert "ENV STET_RULES_DIR=/opt/stet/rules" in lines
    assert "ENV STET_RULES_DIR=/opt/stet/rules" in instructions("stet-operator")


# ------------------------------------------------------------------ make image


def test_a_build_is_described_by_its_commit() -> None:
    build = describe(None, {"BASE": "python@sha256:0", "RUNTIME_BASE": None}, "https://example.com/stet")
    assert re.fullmatch(r"[0-9a-f]{40}(-modified)?", build.arguments["REVISION"])
    assert build.arguments["BASE"] == "python@sha256:0"
    assert "RUNTIME_BASE" not in build.arguments
    assert build.tag == build.arguments["VERSION"]


@pytest.mark.parametrize(
    ("builder", "command"),
    [
        ("docker", "docker build --target stet --build-arg VERSION=1 --tag stet:1 ROOT"),
        ("buildah", "buildah build --target stet --timestamp 7 --build-arg VERSION=1 --tag stet:1 ROOT"),
        ("x/node.sh", "x/node.sh image stet:1 ROOT ROOT/Dockerfile -- --target stet --build-arg VERSION=1"),
    ],
)
def test_each_builder_gets_the_command_it_knows(builder: str, command: str) -> None:
    built = build_command(builder, "stet", Build("1", {"VERSION": "1"}, "7"))
    assert shlex.join(built).replace(str(ROOT), "ROOT") == command


def test_a_missing_builder_is_named() -> None:
    with pytest.raises(Misconfigured, match="BUILDER"):
        find_builder("no-such-builder")


def test_a_new_image_of_the_services_has_to_check_its_rules_and_import_every_service(
    tmp_path: Path,
) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    docker.chmod(0o755)
    try_out(str(docker), "stet:1")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert all(call.startswith("run --rm --read-only --network none ") for call in calls)
    assert "stet:1 stet rules check /opt/stet/rules" in calls[0]
    assert all(f"services.{service}.app" in calls[1] for service in SETTINGS)
    docker.write_text("#!/bin/sh\necho libz.so.1 is missing >&2\nexit 1\n")
    with pytest.raises(BuildFailed, match=r"libz\.so\.1 is missing"):
        try_out(str(docker), "stet:1")


# ------------------------------------------------------------------ compose.yaml


@pytest.mark.parametrize("service", SETTINGS)
def test_the_settings_of_compose_are_those_of_the_service(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STET_")]:
        monkeypatch.delenv(name)
    environment = COMPOSE[service]["environment"] | {"STET_RULES_DIR": str(ROOT / "rules")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(SETTINGS[service])
    known = {f"STET_{field.upper()}" for field in type(settings).model_fields} | {"STET_RULES_DIR"}
    assert environment.keys() <= known


@pytest.mark.parametrize("name", [name for name, service in COMPOSE.items() if "command" in service])
def test_each_command_of_compose_exists(name: str) -> None:
    command = COMPOSE[name]["command"]
    if command[:2] == ["python", "-m"]:
        assert find_spec(command[2]) is not None
    elif name != "prometheus":
        assert command[0] == "stet"


def test_a_container_of_the_services_image_starts_what_the_image_has() -> None:
    """It has no shell: the text form of a command or of a health check needs one."""
    ours = [service for service in COMPOSE.values() if service["image"].startswith("stet:")]
    assert len(ours) == 6
    for service in ours:
        assert service["command"][0] in PROGRAMS
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][0] == "CMD"
            assert service["healthcheck"]["test"][1] in PROGRAMS


def test_each_image_of_ours_is_built_by_one_service_of_compose_and_asked_of_no_registry() -> None:
    ours = [service for service in COMPOSE.values() if service["image"].startswith("stet")]
    assert all(service["pull_policy"] == "never" for service in ours)
    built = [(service["build"]["target"], service["image"]) for service in ours if "build" in service]
    assert sorted(built) == sorted({(image.partition(":")[0], image) for image in (one["image"] for one in ours)})


def test_the_simulators_of_compose_agree_with_the_services() -> None:
    whatsapp = options_of(whatsapp_command, COMPOSE["whatsapp"]["command"][3:5] + _without_rules("whatsapp"))
    consonance = options_of(consonance_command, COMPOSE["consonance"]["command"][3:])
    ingest, dispatcher = COMPOSE["ingest"]["environment"], COMPOSE["dispatcher"]["environment"]
    assert whatsapp.app_secret in ingest["STET_WHATSAPP_APP_SECRETS"]
    assert whatsapp.verify_token == ingest["STET_WHATSAPP_VERIFY_TOKEN"]
    assert whatsapp.token == dispatcher["STET_WHATSAPP_TOKEN"]
    assert {str(whatsapp.business_account)} == {of["STET_WHATSAPP_BUSINESS_ACCOUNT"] for of in (ingest, dispatcher)}
    assert consonance.key == ingest["STET_CONSONANCE_KEY"] == COMPOSE["writeback"]["environment"]["STET_CONSONANCE_KEY"]
    assert consonance.webhook_secret in ingest["STET_CONSONANCE_WEBHOOK_SECRETS"]


def _without_rules(name: str) -> list[str]:
    return [part for part in COMPOSE[name]["command"][5:] if not part.startswith("--rules")]


def test_each_container_of_ours_runs_without_capabilities_on_a_read_only_file_system() -> None:
    ours = {name: service for name, service in COMPOSE.items() if service["image"].startswith("stet")}
    assert len(ours) == 11
    for service in ours.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_people_of_compose_log_in_as_the_operator_and_ask_every_service(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = COMPOSE["operator"]
    assert operator["profiles"], "it would start with the others"
    for name, value in operator["environment"].items():
        monkeypatch.setenv(name, value)
    assert "//stet_operator:development@database:" in load_settings(OperatorSettings).dsn
    assert operator["environment"]["STET_METRICS"].split() == [f"http://{name}:9090" for name in SETTINGS]


def test_a_service_of_compose_has_the_time_to_end_that_its_pod_has() -> None:
    for name in SETTINGS:
        pods = [one for one in workloads(base_with(())) if one.service == name]
        longest = max(pod.pod["terminationGracePeriodSeconds"] for pod in pods)
        assert int(COMPOSE[name].get("stop_grace_period", "10s").removesuffix("s")) >= longest, name


def test_every_published_port_is_on_loopback_and_every_mounted_file_is_there() -> None:
    for service in COMPOSE.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).exists(), volume


# ------------------------------------------------------------------ CI


def test_every_action_is_pinned_by_its_commit_with_its_version_beside_it() -> None:
    used = re.findall(r"uses: (\S+)(.*)", "".join(p.read_text() for p in (ROOT / ".github/workflows").glob("*.yml")))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_the_workflows_call_targets_that_exist() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    lines = [line for _, step in workflow_steps() for line in step.get("run", "").splitlines()]
    gitlab = _YAML.load(ROOT / ".gitlab-ci.yml")
    lines += [line for job in gitlab.values() if isinstance(job, dict) for line in job.get("script", [])]
    called = {line.split()[1] for line in lines if line.startswith("make ")}
    assert called >= {"check", "test", "image", "runtime"}
    assert called <= targets


@pytest.mark.parametrize("image", ["stet", "stet-operator"])
def test_each_published_image_is_scanned_before(image: str) -> None:
    scanned = {
        (file, step["with"]["image-ref"]) for file, step in workflow_steps() if "image-ref" in step.get("with", {})
    }
    assert {("check.yml", f"{image}:checked"), ("release.yml", f"{image}:release")} <= scanned


def test_a_release_names_both_bases_by_digest() -> None:
    """As the Dockerfile names them."""
    for file in (".github/workflows/release.yml", ".gitlab-ci.yml"):
        named = set(re.findall(r"\$\(named (\S+)\)", (ROOT / file).read_text()))
        assert named == set(re.findall(r"(?m)^ARG (?:RUNTIME_)?BASE=(\S+)$", DOCKERFILE)), file


def test_the_pipelines_of_rules_run_in_the_image_with_a_shell() -> None:
    for file in ("rules/.github/workflows/rules.yml", "rules/.gitlab-ci.yml"):
        assert re.search(r"STET_IMAGE names the\s+(# )?image stet-operator", (ROOT / file).read_text()), file


def test_no_token_may_do_more_than_read_unless_a_job_says_so() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = _YAML.load(path)
        assert workflow["permissions"] in ({}, {"contents": "read"})
        for name, job in workflow["jobs"].items():
            granted = {scope for scope, right in job.get("permissions", {}).items() if right == "write"}
            assert granted == ({"packages", "id-token"} if name == "publish" else set())
