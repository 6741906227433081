"""``make runtime``: the four services and the operators' commands start with what requirements.runtime.lock names.

Everything is imported by an interpreter whose environment holds the runtime lock and nothing else, in a folder that has
only the parts that the image has: a package or a module of development that they need is found here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from dev.layout import ROOT, SERVICES

PARTS = ("shared", "services", "ops")
_LATER = (
    "shared.runtime.consumer",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk.trace.export",
    "graphql",
)
"""Modules that a service imports at its start only by its settings, or by the work that it has."""
MODULES = (*(f"services.{name}.app" for name in SERVICES), *_LATER, "ops.rules.check", "ops.__main__")
_IMPORT = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


def check(folder: Path) -> int:
    """Make the environment in ``folder`` and import everything with it; returns the exit code of the first failure."""
    python = folder / "venv" / "bin" / "python"
    app = folder / "app"
    for part in PARTS:
        shutil.copytree(ROOT / part, app / part, ignore=shutil.ignore_patterns("__pycache__"))
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    commands = (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), "requirements.runtime.lock"],
        [str(python), "-c", _IMPORT, *MODULES],
        [str(python), "-m", "ops", "--help"],
    )
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for command in commands:
        own = command[0] == str(python)
        ran = subprocess.run(
            command,
            check=False,
            cwd=app if own else ROOT,
            env=environment | ({"PYTHONPATH": str(app)} if own else {}),
            stdout=subprocess.DEVNULL,
        )
        if ran.returncode != 0:
            print(f"failed: {' '.join(command[:4])}", file=sys.stderr)
            return ran.returncode
    return 0


def main() -> None:
    """Import the services and the commands with nothing but what requirements.runtime.lock names."""
    with tempfile.TemporaryDirectory(prefix="stet-runtime-") as folder:
        raise typer.Exit(check(Path(folder)))


if __name__ == "__main__":
    typer.run(main)
