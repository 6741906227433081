"""Writes the manifests that come from the code: ``python -m dev.deploy``. A test fails where one is outdated."""

import typer

from dev.deploy.generated import generated_files, outdated_files
from dev.layout import ROOT


def main() -> None:
    """Write the manifests that come from the code."""
    texts = generated_files()
    outdated = outdated_files()
    for path in outdated:
        path.write_text(texts[path])
        print(f"written: {path.relative_to(ROOT)}")
    if not outdated:
        print("nothing to do: every file is up to date")


if __name__ == "__main__":
    typer.run(main)
