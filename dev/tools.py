"""Programs that tests and make targets need and that a bare machine lacks: ``python -m dev.tools promtool``.

kubectl (with kustomize in it) is a wheel that requirements.lock names. Prometheus has no wheel: Debian's package is
fetched the first time and unpacked into the user's cache; nothing is installed and no root is needed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from shared.contracts.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """``programs``: the paths inside the package."""

    name: str
    programs: tuple[str, ...]


WHEEL_PROGRAMS = ("kubectl",)
"""They lie beside this Python, since the development dependencies have them."""

PROMETHEUS = DebianPackage("prometheus", ("usr/bin/prometheus", "usr/bin/promtool"))
PACKAGES = {Path(path).name: package for package in (PROMETHEUS,) for path in package.programs}


def program(name: str, cache: Path | None = None) -> Path:
    """The path of a program, fetched the first time. Raises Misconfigured where it is not to be had here."""
    if name in WHEEL_PROGRAMS:
        return _of_wheel(name)
    if name not in PACKAGES:
        known = ", ".join(sorted((*WHEEL_PROGRAMS, *PACKAGES)))
        raise Misconfigured("dev/tools.py", f"it knows no program {name}, only {known}")
    package = PACKAGES[name]
    inside = next(path for path in package.programs if Path(path).name == name)
    folder = (cache or _cache()) / package.name
    return _newest(folder, inside) or _fetch(package, folder) / inside


def kustomize(folder: Path) -> str:
    """The manifests of a kustomization, as YAML. Raises CalledProcessError with kustomize's own sentence."""
    done = subprocess.run([program("kubectl"), "kustomize", folder], check=True, capture_output=True, text=True)
    return done.stdout


# ------------------------------------------------------------------ where programs come from


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stet" / "tools"


def _of_wheel(name: str) -> Path:
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise Misconfigured(
            "dev/tools.py", f"{path} is missing: run make setup (PyPI may have no wheel for this platform)"
        )
    return path


def _newest(folder: Path, inside: str) -> Path | None:
    """A version fetched earlier; a machine that is upgraded keeps it, so that results do not change under a test."""
    return max(folder.glob(f"[!.]*/{inside}"), key=lambda path: path.stat().st_mtime, default=None)


def _fetch(package: DebianPackage, folder: Path) -> Path:
    for needed in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise Misconfigured(
                "dev/tools.py",
                f"{package.name} is fetched from Debian, and {needed} is missing here: put it on a Debian",
            )
    with TemporaryDirectory(prefix="stet-tools-") as made:
        work = Path(made)
        options = _package_lists(package, work)
        version, digest = _candidate(package, options)
        print(f"tools: fetching Debian's {package.name} {version} into {folder}", file=sys.stderr)
        _run(["apt-get", *options, "download", f"{package.name}={version}"], work)
        archive = next(work.glob("*.deb"))
        check_digest(archive, digest)
        return _unpack(archive, folder / re.sub(r"[^\w.+-]", "-", version))


def check_digest(archive: Path, expected: str) -> None:
    """Raises Misconfigured unless the file is the one that Debian's signed list of packages names."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != expected:
        raise Misconfigured("dev/tools.py", f"{archive.name} has the SHA-256 {found}, not {expected}: fetch it again")


def _package_lists(package: DebianPackage, work: Path) -> list[str]:
    """Options for apt: none where this machine's lists know the package, else lists of our own, read without root."""
    if "SHA256:" in _run(["apt-cache", "show", "--no-all-versions", package.name], work, check=False):
        return []
    for needed in ("lists/partial", "archives/partial"):
        (work / needed).mkdir(parents=True)
    options = ["-o", f"Dir::State::lists={work / 'lists'}", "-o", f"Dir::Cache={work}"]
    _run(["apt-get", *options, "update"], work)
    return options


def _candidate(package: DebianPackage, options: Sequence[str]) -> tuple[str, str]:
    shown = _run(["apt-cache", *options, "show", "--no-all-versions", package.name], Path.cwd())
    fields = dict(re.findall(r"^(Version|SHA256): (\S+)$", shown, flags=re.MULTILINE))
    return fields["Version"], fields["SHA256"]


def _unpack(archive: Path, folder: Path) -> Path:
    """At once or not at all, as another process may fetch it meanwhile."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    _run(["dpkg-deb", "-x", str(archive), str(draft)], draft)
    try:
        draft.rename(folder)
    except OSError:  # the other process was first
        shutil.rmtree(draft)
    return folder


def _run(command: Sequence[str], folder: Path, *, check: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Misconfigured("dev/tools.py", f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def main(name: Annotated[str, typer.Argument(help="kubectl, promtool or prometheus")]) -> None:
    """Print the path of a program, fetching it the first time."""
    try:
        print(program(name))
    except Misconfigured as error:
        print(f"tools: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
