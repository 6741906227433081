"""``make image``: builds the images, tries them, prints their sizes and says where their bills of materials are."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dev.image.build import (
    LARGEST,
    SERVICES_TARGET,
    TARGETS,
    build_command,
    copy_documents,
    describe,
    find_builder,
    run,
    size,
    try_out,
)
from dev.layout import ROOT
from shared.contracts.errors import StetError


def main(
    builder: Annotated[str | None, typer.Option(envvar="BUILDER", help="docker, podman, buildah or a program.")] = None,
    base: Annotated[str | None, typer.Option(envvar="BASE", help="The base image, by digest for a release.")] = None,
    runtime_base: Annotated[
        str | None, typer.Option(envvar="RUNTIME_BASE", help="The base of stet, by digest for a release.")
    ] = None,
    tag: Annotated[str | None, typer.Option(envvar="TAG", help="The tag (default: the version).")] = None,
    source: Annotated[str, typer.Option(envvar="SOURCE", help="The address of this repository, for a label.")] = "",
    folder: Annotated[Path, typer.Option(help="Where the documents go.")] = ROOT / ".run" / "image",
) -> None:
    """Build the images, try stet, print their sizes, and copy out their bills of materials and licences."""
    console = Console(stderr=True)
    try:
        program = find_builder(builder)
        build = describe(tag, {"BASE": base, "RUNTIME_BASE": runtime_base}, source)
        for target in TARGETS:
            run(build_command(program, target, build))
            image = f"{target}:{build.tag}"
            aim = f" (aim: at most {LARGEST} MB)" if target == SERVICES_TARGET else ""
            console.print(f"{image}: {size(program, image)}{aim}", highlight=False)
            if target == SERVICES_TARGET:
                try_out(program, image)
            for path in copy_documents(program, image, folder / target):
                console.print(f"  {path}", highlight=False)
    except StetError as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
