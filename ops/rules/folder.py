"""The folder of rules that a verb is about: an argument of every verb that reads rule files."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error
from services.rules.rulebook.rule_folder import SINGLES, file_names, why_no_rules

RuleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        envvar="STET_RULES_DIR",
        show_envvar=False,
        show_default=False,
        help="Where the rule files are (default: STET_RULES_DIR, else rules).",
    ),
]
DEFAULT_FOLDER = Path("rules")


def require_folder(folder: Path) -> Path:
    """Exits with code 2 where there is no such folder."""
    if not folder.is_dir():
        raise typer.Exit(print_error(_fault_of(folder), code=ExitCode.CANNOT_RUN))
    return folder


def require_rules(folder: Path) -> Path:
    """Exits with code 2 where there is no such folder, no file of rules in it, or it is only a part of the rules.

    The same where it is far above the rules: no file is opened then.
    """
    if (why := why_no_rules(require_folder(folder))) is not None:
        raise typer.Exit(print_error(f"{folder}: {why}", code=ExitCode.CANNOT_RUN))
    found = file_names(folder)
    if not found.isdisjoint(SINGLES):
        return folder
    above = next((each for each in folder.resolve().parents if (each / "people.yaml").is_file()), None)
    if found and above is None:
        return folder
    lacks = f"it has none of {', '.join(SINGLES)}" if found else "no file of rules is in it"
    meant = "name the folder that has house.yaml and people.yaml" + (f": {_shown(above)}" if above else "")
    raise typer.Exit(print_error(f"{folder}: {lacks}; {meant}", code=ExitCode.CANNOT_RUN))


def _shown(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) and folder != here else folder


@contextmanager
def refuse_unwritable() -> Iterator[None]:
    """Exits with code 2 where a file or folder cannot be written."""
    try:
        yield
    except OSError as error:
        is_file = isinstance(error, FileExistsError | NotADirectoryError)
        why = "there is a file where a folder belongs" if is_file else f"it cannot be written: {error.strerror}"
        sentence = f"{error.filename}: {why}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN)) from None


def _fault_of(folder: Path) -> str:
    if folder.exists():
        return f"{folder} is a file; name the folder that it is in: {folder.parent}"
    beside = [each.name for each in _children(folder.parent) if each.is_dir() and not each.name.startswith(".")]
    if (near := get_close_matches(folder.name, beside, 1)) != []:
        return f"{folder}: there is no such folder (did you mean “{folder.parent / near[0]}”?)"
    if folder == DEFAULT_FOLDER:
        return f"{folder}: there is no such folder in {Path.cwd()}; go to the folder that has it, or name another one"
    return f"{folder}: there is no such folder; name the one that has house.yaml and people.yaml, or one above them"


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
