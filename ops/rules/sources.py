"""Rule files from a folder, or from a revision of Git: ``main``, ``HEAD~3``, a commit."""

import io
import subprocess
import tarfile
from pathlib import Path, PurePosixPath

import typer

from ops.command_line import ExitCode, print_error
from services.rules.rulebook.rule_folder import LARGEST_FILE, SUFFIXES, read_folder


def read_source(source: str, folder: Path) -> dict[str, str]:
    """The files of a folder of that name, else those that ``folder`` has in that revision of its repository.

    Exits with code 2 where it is neither.
    """
    path = Path(source)
    if path.is_dir():
        return read_folder(path)
    top = Path(_git(source, "rev-parse", "--show-toplevel", cwd=_existing(folder)).decode().strip())
    within = folder.resolve().relative_to(top.resolve())
    packed = _git(source, "archive", "--format=tar", source, "--", within.as_posix(), cwd=top)
    files: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive.getmembers():
            name = PurePosixPath(member.name).relative_to(within.as_posix())
            hidden = any(part.startswith(".") for part in name.parts)
            if member.isfile() and name.suffix in SUFFIXES and not hidden and member.size <= LARGEST_FILE:
                content = archive.extractfile(member)
                files[name.as_posix()] = content.read().decode("utf-8", "replace") if content else ""
    return dict(sorted(files.items()))


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.resolve().parents) if each.is_dir()), Path())


def _git(source: str, *arguments: str, cwd: Path) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, check=True)  # noqa: S603, S607
    except FileNotFoundError:
        raise typer.Exit(print_error("git is not installed: name a folder", code=ExitCode.CANNOT_RUN)) from None
    except subprocess.CalledProcessError as error:
        sentence = next(iter(error.stderr.decode("utf-8", "replace").strip().splitlines()), "")
        raise typer.Exit(print_error(_fault_of(source, sentence), code=ExitCode.CANNOT_RUN)) from None
    return done.stdout


def _fault_of(source: str, error: str) -> str:
    """The sentence about a source, by what Git said."""
    if "not a git repository" in error:
        return f"{source}: there is no such folder, and it is no revision, since this is no repository of Git"
    if "did not match any files" in error:
        return f"{source}: this revision of Git has no such folder of rules; name it by --folder"
    return f"{source}: neither a folder nor a revision of Git: {error}"
