"""The names that the code has: metrics with their labels, settings, paths, modules, make targets, and dotted names."""

import re
import subprocess
from functools import cache
from pathlib import Path

from dev.metrics_page import load_declarations
from ops.__main__ import COMMANDS
from ops.command_reference import commands_of
from services.rules.rulebook.catalogue import EVENTS, fields_of_event
from shared.runtime.setting_names import KNOWN_SETTINGS
from tests.docs.pages import ROOT

SERVICES = ("ingest", "rules", "dispatcher", "writeback")
_CODE = ("services", "shared", "ops", "dev", "rules", "bench")
_DOTTED = re.compile(r"(?<![\w.])[a-z][a-z_0-9]*(?:\.[a-z_][a-z_0-9]*)+(?![\w.])")
_KIND = re.compile(r"[a-z_]+(?:\.[a-z_]+)+\.v1")
_TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
_WORD = re.compile(r"\w+")
_OF_CODE = {".py", ".sql", ".yaml", ".toml", ".graphql", ".sh", ".json"}
_CONFIGURED = ("services/", "shared/", "ops/", "dev/", "deploy/", "rules/", "pyproject.toml", "compose.yaml")
_TABLE = re.compile(r"create table (?:if not exists )?(?:\w+\.)?(\w+)", re.IGNORECASE)


@cache
def files() -> frozenset[str]:
    """Every file of the repository, by its path from the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 -- the developer's own git
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return frozenset(path for path in listed.stdout.splitlines() if (ROOT / path).exists())


@cache
def identifiers() -> frozenset[str]:
    """Every word of the code, of its queries and of what it is configured by."""
    of_code = (path for path in files() if path.endswith(".py") or path.startswith(_CONFIGURED))
    texts = (ROOT / path for path in of_code if Path(path).suffix in _OF_CODE)
    return frozenset(word for path in texts for word in _WORD.findall(path.read_text("utf-8")))


@cache
def paths() -> frozenset[str]:
    """Every file and folder, the latter with and without a slash at the end."""
    folders = {parent.as_posix() for path in files() for parent in Path(path).parents if parent.name}
    return files() | folders | {f"{folder}/" for folder in folders}


@cache
def modules() -> frozenset[str]:
    """The modules that ``python -m`` runs: every module, and every package that has a ``__main__``."""
    dotted = {path.removesuffix(".py").replace("/", ".") for path in files() if path.endswith(".py")}
    return frozenset(dotted | {name.removesuffix(".__main__") for name in dotted if name.endswith(".__main__")})


@cache
def packages() -> frozenset[str]:
    return frozenset(path.replace("/", ".") for path in paths() if not path.endswith("/"))


@cache
def operator_commands() -> dict[tuple[str, ...], frozenset[str]]:
    """Every group and command of ``stet``, by the words to type, with its own options."""
    return {
        words: frozenset({"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))})
        for entry in COMMANDS
        for words, command in commands_of(entry)
    }


@cache
def required_options() -> dict[tuple[str, ...], list[frozenset[str]]]:
    """The options without which a command does not run, by its words; each with all its names."""
    return {
        words: [frozenset(one.opts) for one in command.params if one.required and one.opts[0].startswith("-")]
        for entry in COMMANDS
        for words, command in commands_of(entry)
    }


@cache
def commands_with_arguments() -> frozenset[tuple[str, ...]]:
    """The commands that do not run as they are: an argument or an option must follow."""
    return frozenset(
        words
        for entry in COMMANDS
        for words, command in commands_of(entry)
        if any(one.required for one in command.params)
    )


def command_part(words: list[str]) -> tuple[str, ...]:
    """The words of a command line that must be a command, without its arguments."""
    groups = {command[:-1] for command in operator_commands()}
    depth = next(depth for depth in range(len(words) + 1) if depth == len(words) or tuple(words[:depth]) not in groups)
    return tuple(words[:depth])


def options_below(command: tuple[str, ...]) -> frozenset[str]:
    """The options of a command; of a group, those of all its commands, since a page may write ``stet evidence …``."""
    below = (options for words, options in operator_commands().items() if words[: len(command)] == command)
    return frozenset().union(*below)


@cache
def targets() -> frozenset[str]:
    return frozenset(_TARGET.findall((ROOT / "Makefile").read_text("utf-8")))


@cache
def settings() -> frozenset[str]:
    return KNOWN_SETTINGS


@cache
def dotted_names() -> frozenset[str]:
    """Words with points anywhere in the code: log events, topics, kinds, fields of events, files; and schema.table."""
    found: set[str] = set()
    for path in files():
        if path.startswith(tuple(f"{folder}/" for folder in _CODE)):
            text = (ROOT / path).read_text("utf-8", errors="replace")
            found.update(_DOTTED.findall(text))
            found.update(kind.removesuffix(".v1").removeprefix("consonance.") for kind in _KIND.findall(text))
            service = next((name for name in SERVICES if path.startswith(f"services/{name}/")), None)
            found.update(f"{service}.{table}" for table in _TABLE.findall(text) if service)
    fields = {path for event in EVENTS for path in fields_of_event(event)}
    return frozenset(found | fields | {Path(path).name for path in files()})


@cache
def metrics() -> dict[str, frozenset[str]]:
    """The name of each metric with its labels."""
    declared = load_declarations().values()
    return {one.name: frozenset({"service", *(label.name for label in one.labels)}) for one in declared}
