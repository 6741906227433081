"""``stet rules owners``: CODEOWNERS of a rules repository, from the owner of each rule and the handles of the teams.

The handles of a forge stand in ``.owners.yaml`` in the folder of the rules: a team of people.yaml and its handle, or a
list of them; ``"*"`` is asked about every other file.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ops.command_line import print_error
from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, require_rules
from services.rules.rulebook.model import Rule, Rulebook
from services.rules.rulebook.validation import validate_folder
from shared.contracts.errors import Misconfigured

HANDLES_FILE = ".owners.yaml"
_EVERYTHING = "*"
_HEAD = (
    "# Written by `stet rules owners` from the owners of the rules and .owners.yaml; the last match of a file counts.\n"
)


def owners_command(
    folder: RuleFolder = DEFAULT_FOLDER,
    *,
    handles: Annotated[
        Path | None,
        typer.Option("--handles", metavar="FILE", help=f"The handles of the teams (default: FOLDER/{HANDLES_FILE})."),
    ] = None,
    prefix: Annotated[
        str, typer.Option("--prefix", help="Where the folder is in its repository, such as /rules/.")
    ] = "/",
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Print nothing; exit code 1 where FILE differs.")
    ] = None,
) -> None:
    """Print the CODEOWNERS of a rules repository: who is asked to review which file.

    Each rule belongs to the team that owns it, with its stories and with the templates that only its team uses. Exit
    code 1 where a team has no handle, or FILE of --check is not what is printed.
    """
    require_rules(folder)
    try:
        text = code_owners(folder, handles or folder / HANDLES_FILE, prefix)
    except Misconfigured as error:
        raise typer.Exit(print_error(str(error))) from None
    if check is None:
        sys.stdout.write(text)
    elif not check.is_file() or check.read_text("utf-8") != text:
        raise typer.Exit(print_error(f"{check} is not what the rules say: stet rules owners {folder} > {check}"))


def code_owners(folder: Path, handles: Path, prefix: str) -> str:
    """Raises Misconfigured for rules that do not pass, and for a team without a handle."""
    validation, files = validate_folder(folder)
    if validation.faults:
        raise Misconfigured(str(folder), f"its rules do not pass; the first fault: {validation.faults[0]}")
    known = _read_handles(handles)
    teams = _teams_of_files(validation.rulebook)
    missing = sorted({team for owners in teams.values() for team in owners} - known.keys())
    if missing:
        raise Misconfigured(
            str(handles), f'no handle of {", ".join(missing)}; add a line such as {missing[0]}: "@team"'
        )
    stories = dict(_stories_of(folder, validation.rulebook))
    lines = [f"{_EVERYTHING} {' '.join(known[_EVERYTHING])}"] if _EVERYTHING in known else []
    owned = {name: owners for name, owners in {**teams, **stories}.items() if name in files or name in stories}
    for name, owners in sorted(owned.items()):
        people = dict.fromkeys(handle for team in sorted(owners) for handle in known[team])
        lines.append(f"{prefix.rstrip('/')}/{name.replace(' ', chr(92) + ' ')} {' '.join(people)}")
    return _HEAD + "\n".join(lines) + "\n"


def _read_handles(file: Path) -> Mapping[str, tuple[str, ...]]:
    try:
        read = YAML(typ="safe").load(file.read_text("utf-8"))
    except FileNotFoundError:
        sentence = 'there is no such file; it has a line for each team of people.yaml, such as rights: "@team"'
        raise Misconfigured(str(file), sentence) from None
    except OSError as error:
        raise Misconfigured(str(file), f"it cannot be read: {error.strerror}") from None
    except YAMLError as error:
        raise Misconfigured(str(file), f"it is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(read, dict):
        raise Misconfigured(str(file), 'it must have a line for each team, such as rights: "@team"')
    return {str(team): tuple(map(str, one if isinstance(one, list) else [one])) for team, one in read.items()}


def _teams_of_files(book: Rulebook) -> Mapping[str, set[str]]:
    """The teams that own a file. A file that only the rules of one team use belongs to that team."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for rule in book.rules.values():
        owners[rule.location.file].add(rule.owner)
        for name in _names_in(rule):
            for item in (book.templates.get(name), book.forms.get(name)):
                if item is not None:
                    owners[item.location.file].add(rule.owner)
    return owners


def _names_in(rule: Rule) -> Iterator[str]:
    """Every text in a rule's steps; those that are names of templates or forms are what it uses."""
    return _texts((rule.steps, rule.until))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _all_texts(value.values())
    elif isinstance(value, tuple | list | frozenset):
        yield from _all_texts(value)
    elif (fields := getattr(value, "__dataclass_fields__", None)) is not None:
        yield from _all_texts(getattr(value, name) for name in fields)


def _all_texts(values: Iterable[object]) -> Iterator[str]:
    for each in values:
        yield from _texts(each)


def _stories_of(folder: Path, book: Rulebook) -> Iterator[tuple[str, set[str]]]:
    for rule in book.rules.values():
        name = rule.location.file.replace(".rule.", ".test.")
        if (folder / name).is_file():
            yield name, {rule.owner}
