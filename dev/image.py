"""``make image``: builds the images of the Dockerfile and writes down what is in them.

The builder is docker, podman or buildah, whichever is found first, or the one that BUILDER names. Another program than
these is called as ``BUILDER image TAG CONTEXT DOCKERFILE -- OPTIONS``, with the options of buildah.
"""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dev.layout import ROOT
from shared.contracts.errors import Misconfigured, StetError

BUILDERS = ("docker", "podman", "buildah")
TARGETS = ("stet", "stet-dev")
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


def describe(tag: str | None, base: str | None, source: str) -> Build:
    """The build of the tree as it is: version of pyproject.toml, revision and date of the commit."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    revision = _output("git", "rev-parse", "HEAD")
    if _output("git", "status", "--porcelain"):
        revision += "-modified"
    created = _output("git", "log", "-1", "--format=%ct")
    arguments = {"VERSION": version, "REVISION": revision, "SOURCE": source, "SOURCE_DATE_EPOCH": created}
    if base:
        arguments["BASE"] = base
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


def main(
    builder: Annotated[str | None, typer.Option(envvar="BUILDER", help="docker, podman, buildah or a program.")] = None,
    base: Annotated[str | None, typer.Option(envvar="BASE", help="The base image, by digest for a release.")] = None,
    tag: Annotated[str | None, typer.Option(envvar="TAG", help="The tag (default: the version).")] = None,
    source: Annotated[str, typer.Option(envvar="SOURCE", help="The address of this repository, for a label.")] = "",
    folder: Annotated[Path, typer.Option(help="Where the documents go.")] = ROOT / ".run" / "image",
) -> None:
    """Build stet and stet-dev, print their sizes, and copy out their bills of materials and licences."""
    console = Console(stderr=True)
    try:
        program, build = find_builder(builder), describe(tag, base, source)
        for target in TARGETS:
            _run(build_command(program, target, build))
            image = f"{target}:{build.tag}"
            console.print(f"{image}: {size(program, image)}", highlight=False)
            for path in copy_documents(program, image, folder / target):
                console.print(f"  {path}", highlight=False)
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None


def _run(command: Sequence[str]) -> None:
    if (code := subprocess.run(command, check=False).returncode) != 0:
        raise BuildFailed(f"{' '.join(command[:2])} ended with code {code}; what it wrote stands above")


def _output(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if ran.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:3])} ended with code {ran.returncode}: {ran.stderr.strip()}")
    return ran.stdout.strip()


if __name__ == "__main__":
    typer.run(main)
