"""Builds the images of the Dockerfile, tries the one of the services, and copies out what is in them.

The builder is docker, podman or buildah, whichever is found first, or the one that BUILDER names. Another program than
these is called as ``BUILDER image TAG CONTEXT DOCKERFILE -- OPTIONS``, with the options of buildah.
"""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.layout import ROOT
from shared.contracts.errors import Misconfigured, StetError

BUILDERS = ("docker", "podman", "buildah")
SERVICES_TARGET = "stet"
TARGETS = (SERVICES_TARGET, "stet-operator", "stet-dev")
LARGEST = 200
"""Megabytes that the image of the services may have, unpacked."""

TRIALS = (
    ("stet", "rules", "check", "/opt/stet/rules"),
    ("python", "-c", "import services.ingest.app, services.rules.app, services.dispatcher.app, services.writeback.app"),
)
"""Commands that have to succeed in a new image of the services: without network, on a read-only file system."""

DOCUMENTS = ("sbom.cdx.json", "licences.md")
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Build:
    """An image to build: the tag, and the build arguments, which become labels."""

    tag: str
    arguments: dict[str, str]
    created: str  # seconds since 1970, of the commit: an image built twice has one date

    @property
    def options(self) -> list[str]:
        return [part for name, value in self.arguments.items() for part in ("--build-arg", f"{name}={value}")]


class BuildFailed(StetError):
    """The builder ended with an error."""


def describe(tag: str | None, bases: Mapping[str, str | None], source: str) -> Build:
    """The build of the tree as it is: version of pyproject.toml, revision and date of the commit.

    ``bases`` are BASE and RUNTIME_BASE, where others than those of the Dockerfile are named.
    """
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    revision = _output("git", "rev-parse", "HEAD")
    if _output("git", "status", "--porcelain"):
        revision += "-modified"
    created = _output("git", "log", "-1", "--format=%ct")
    arguments = {"VERSION": version, "REVISION": revision, "SOURCE": source, "SOURCE_DATE_EPOCH": created}
    arguments |= {name: base for name, base in bases.items() if base}
    return Build(tag or version, arguments, created)


def find_builder(named: str | None) -> str:
    """Raises Misconfigured where there is none."""
    for candidate in (named,) if named else BUILDERS:
        if shutil.which(candidate):
            return candidate
    raise Misconfigured("BUILDER", f"{named or 'none of ' + ', '.join(BUILDERS)} was found on the PATH")


def build_command(builder: str, target: str, build: Build) -> list[str]:
    name = f"{target}:{build.tag}"
    if Path(builder).name not in BUILDERS:
        return [builder, "image", name, str(ROOT), str(ROOT / "Dockerfile"), "--", "--target", target, *build.options]
    dated = [] if Path(builder).name == "docker" else ["--timestamp", build.created]
    return [builder, "build", "--target", target, *dated, *build.options, "--tag", name, str(ROOT)]


def size(builder: str, image: str) -> str:
    """The size of its layers, unpacked, or that it is built where the builder does not tell."""
    match Path(builder).name:
        case "docker" | "podman":
            return f"{int(_output(builder, 'image', 'inspect', '--format', '{{.Size}}', image)) / _MEGABYTE:.0f} MB"
        case "buildah":
            return str(json.loads(_output(builder, "images", "--json", image))[0]["size"])
        case _:
            return "built"


def try_out(builder: str, image: str) -> None:
    """Run ``TRIALS`` in the image, where the builder runs images. Raises BuildFailed."""
    if Path(builder).name not in ("docker", "podman"):
        return
    for command in TRIALS:
        _output(builder, "run", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL", image, *command)


def copy_documents(builder: str, image: str, folder: Path) -> list[Path]:
    """Copy the bill of materials and the licences out of the image; none where the builder cannot."""
    if Path(builder).name not in ("docker", "podman"):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    container = _output(builder, "create", image)
    try:
        for document in DOCUMENTS:
            _output(builder, "cp", f"{container}:/opt/stet/{document}", str(folder / document))
    finally:
        _output(builder, "rm", container)
    return [folder / document for document in DOCUMENTS]


def run(command: Sequence[str]) -> None:
    if (code := subprocess.run(command, check=False).returncode) != 0:
        raise BuildFailed(f"{' '.join(command[:2])} ended with code {code}; what it wrote stands above")


def _output(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if ran.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:3])} ended with code {ran.returncode}: {ran.stderr.strip()}")
    return ran.stdout.strip()
