"""All that the documentation names exists: metrics, log events, settings, paths, links, modules, commands, targets, and
the names of the code on the pages for developers.

A failure names the page, the line, the name and the nearest name that exists. Paths are checked in the code, too.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.docs import code_names, rule_snippets
from tests.docs.pages import PAGES, ROOT, Mention, links, spans

_METRIC = re.compile(r"(?<![\w./:-])(stet_[a-z_]+|[a-z][a-z_]*_total\b)(?:\{(\w+)=)?")
_ROLE = re.compile(r"stet_(ingest|rules|dispatcher|writeback|operator|migrate)")
_SETTING = re.compile(r"STET_[A-Z_]+…?")
_DOTTED = re.compile(r"^[a-z][a-z_0-9]*(?:\.[a-z_][a-z_0-9]*)+$")
_MODULE = re.compile(r"python -m ([a-z_][\w.]*)")
_OPERATION = re.compile(r"(?:^|\$ |bin/|exec .*-- (?:env (?:\w+=\S+ )+)?)stet((?: [a-z][a-z-]*(?=\s|$))+)([^|;&#]*)")
_OPTION = re.compile(r"(?<=[\s\[])--[a-z][a-z-]*")
_RUNBOOKS = [*sorted((ROOT / "docs/operations/runbooks").glob("Stet*.md")), ROOT / "docs/runbook.md"]
_OPTIONS_OF_ALL = {"--stack"}
"""Options of ``stet`` itself."""
_TARGET = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)")
_IDENTIFIER = re.compile(r"[a-z]+(?:_[a-z0-9]+)+|_?[A-Z]+(?:_[A-Z]+)+|[A-Z][a-z]+(?:[A-Z][a-z]+)+")
_PLACEHOLDER = re.compile(r"<\w+>|…")

TOP_FOLDERS = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and path.name not in {".git", ".venv"})
_CODE_FOLDERS = ("services/", "shared/", "ops/", "dev/", "bench/", "deploy/")
_CODE_SUFFIXES = {".py", ".sql", ".yaml", ".toml", ".sh", ".graphql"}
_PATH_IN_CODE = re.compile(r"(?<![\w/.\-])((?:docs|services|shared|ops|dev|bench|tests)/[\w./-]*\w)")
TO_BE_WRITTEN = {f"rules/{each.name}" for page in rule_snippets.PAGES for each in rule_snippets.snippets(page)}
"""Files that the pages for authors show, and ask their reader to write."""
MADE_AT_RUN_TIME = (".run/", "site/")
_FOR_DEVELOPERS = [
    page for page in PAGES if page.parent.name == "decisions" or page.name in {"CONTRIBUTING.md", "architecture.md"}
]
NAMES_OF_OTHERS = {
    *(ROOT / "docs/reference" / name for name in ("whatsapp.md", "consonance.md")),
    ROOT / "docs/rules/reference.md",
}
"""Pages about other systems, whose fields have points; and one that is written from the models."""


FOREIGN_IDENTIFIERS = {
    "publish_batch", "REJECT_ON_ERROR", "NACK_ON_ERROR",  # FastStream
    "header_read_timeout",  # granian
    "malloc_trim",  # the C library
}  # fmt: skip
"""Names of other projects, which our code does not use, on the pages for developers."""


def each_page(function: Callable[[Path], None]) -> Callable[[Path], None]:
    return pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))(function)


def missing(mention: Mention, name: str, known: Iterable[str], what: str) -> str:
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{mention}: no {what} “{name}”" + (f"; the nearest is “{nearest[0]}”" if nearest else "")


def none_missing(faults: Iterator[str]) -> None:
    found = list(faults)
    assert not found, "\n" + "\n".join(found)


@each_page
def test_every_metric_named_exists_with_its_label(page: Path) -> None:
    """Also within a query of Prometheus, and in blocks."""

    def faults() -> Iterator[str]:
        for mention in spans(page):
            for name, label in _METRIC.findall(mention.text):
                known = code_names.metrics().get(name.removesuffix("_bucket"))
                if _ROLE.fullmatch(name):
                    continue
                if known is None:
                    yield missing(mention, name, code_names.metrics(), "metric")
                elif label and label not in known:
                    yield missing(mention, label, known, f"label of {name}")

    none_missing(faults())


@each_page
def test_every_setting_named_exists(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in spans(page):
            for name in _SETTING.findall(mention.text):
                prefix = name.removesuffix("…")
                if name != prefix and any(known.startswith(prefix) for known in code_names.settings()):
                    continue
                if name not in code_names.settings() and name != "STET_":
                    yield missing(mention, name, code_names.settings(), "setting")

    none_missing(faults())


@each_page
def test_every_path_named_exists(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in spans(page):
            path = mention.text
            if mention.in_block or " " in path or not path.startswith(TOP_FOLDERS) or path in TO_BE_WRITTEN:
                continue
            if path.startswith(MADE_AT_RUN_TIME) or any(
                fnmatch(known, _as_pattern(path)) for known in code_names.paths()
            ):
                continue
            yield missing(mention, path, code_names.paths(), "path")

    none_missing(faults())


def test_every_path_named_in_the_code_exists() -> None:
    """In docstrings, comments and texts alike; ``docs/decisions/0051`` is short for the record of that number."""

    def faults() -> Iterator[str]:
        known = code_names.paths() | {path[: len("docs/decisions/0000")] for path in code_names.paths()}
        for file in sorted(code_names.files()):
            if not file.startswith(_CODE_FOLDERS) or Path(file).suffix not in _CODE_SUFFIXES:
                continue
            for number, line in enumerate((ROOT / file).read_text("utf-8").splitlines(), start=1):
                for name in _PATH_IN_CODE.findall(line):
                    if name not in known:
                        yield missing(Mention(ROOT / file, number, name), name, code_names.paths(), "path")

    none_missing(faults())


@each_page
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in links(page):
            target, _, heading = mention.text.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            place = (page.parent / target).resolve() if target else page
            if not place.exists():
                yield missing(mention, target, code_names.paths(), "file")
            elif heading and heading not in _headings(place):
                yield missing(mention, heading, _headings(place), f"heading in {target}")

    none_missing(faults())


@each_page
def test_every_module_that_a_command_runs_exists(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in spans(page):
            for name in _MODULE.findall(mention.text):
                if name.partition(".")[0] + "/" in TOP_FOLDERS and name not in code_names.modules():
                    yield missing(mention, name, code_names.modules(), "module")

    none_missing(faults())


@each_page
def test_every_command_for_operators_exists_with_its_options(page: Path) -> None:
    def faults() -> Iterator[str]:
        known = code_names.operator_commands()
        for mention in spans(page):
            for words, arguments in _OPERATION.findall(mention.text):
                command = code_names.command_part(words.split())
                if command not in known:
                    yield missing(mention, " ".join(command), map(" ".join, known), "command of stet")
                    continue
                options = code_names.options_below(command) | _OPTIONS_OF_ALL
                for option in _OPTION.findall(arguments):
                    if option not in options:
                        yield missing(mention, option, options, f"option of stet {' '.join(command)}")

    none_missing(faults())


@each_page
def test_every_command_that_is_written_with_its_arguments_has_the_options_it_needs(page: Path) -> None:
    """So it runs as it is typed. One without arguments is only named."""

    def faults() -> Iterator[str]:
        for mention in spans(page):
            for found in _OPERATION.finditer(mention.text):
                words, arguments = found[1].split(), found[2]
                command = code_names.command_part(words)
                if not arguments.strip() and len(words) == len(command):
                    continue
                for names in code_names.required_options().get(command, []):
                    if not names & {*arguments.split()}:
                        yield f"{mention}: `{found[0].strip()}` does not run without {' or '.join(sorted(names))}"

    none_missing(faults())


@pytest.mark.parametrize("page", _RUNBOOKS, ids=lambda page: page.name)
def test_a_page_for_the_person_on_call_has_every_command_as_it_is_typed(page: Path) -> None:
    """A command that is only named must be looked up at night."""

    def faults() -> Iterator[str]:
        for mention in spans(page):
            for words, arguments in _OPERATION.findall(mention.text):
                command = code_names.command_part(words.split())
                if command in code_names.commands_with_arguments() and not arguments.strip():
                    yield f"{mention}: `stet {' '.join(command)}` needs arguments, which the page does not say"

    none_missing(faults())


_KUBECTL = re.compile(r"(?:^|\$ )kubectl (?!create namespace|kustomize|drain|apply -k|get --raw)\w.*")


@each_page
def test_every_command_of_kubectl_says_its_namespace_and_is_taken_there(page: Path) -> None:
    """The namespace takes restricted pods alone, also beside a container that runs."""

    def faults() -> Iterator[str]:
        for mention in spans(page):
            for command in _KUBECTL.findall(mention.text.partition("#")[0].removesuffix("\\")):
                if not re.search(r" (-n|--namespace)[ =]?\S| cp ", command) and " " in command.removeprefix("kubectl "):
                    yield f"{mention}: `{command}` names no namespace"
                if " debug " in command and "--profile=restricted" not in command:
                    yield f"{mention}: `{command}` is refused without --profile=restricted"

    none_missing(faults())


@each_page
def test_every_make_target_named_exists(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in spans(page):
            for name in _TARGET.findall(mention.text):
                if name not in code_names.targets():
                    yield missing(mention, name, code_names.targets(), "make target")

    none_missing(faults())


@each_page
def test_every_log_event_and_other_dotted_name_exists(page: Path) -> None:
    if page in NAMES_OF_OTHERS:
        pytest.skip("the names of another system")

    def faults() -> Iterator[str]:
        known = code_names.dotted_names() | code_names.packages() | code_names.modules()
        for mention in spans(page):
            if not mention.in_block and _DOTTED.match(mention.text) and not _is_known(mention.text, known):
                yield missing(mention, mention.text, known, "log event, topic, kind, fact, table or file")

    none_missing(faults())


def _is_known(name: str, known: frozenset[str]) -> bool:
    """A module's own name may follow its path: ``shared.contracts.ids.derive``."""
    if name in known:
        return True
    module, _, attribute = name.rpartition(".")
    source = ROOT / (module.replace(".", "/") + ".py")
    return source.exists() and re.search(rf"\b{attribute}\b", source.read_text("utf-8")) is not None


def _as_pattern(path: str) -> str:
    return _PLACEHOLDER.sub("*", path)


def _headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _FOR_DEVELOPERS, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_of_code_on_the_pages_for_developers_exists(page: Path) -> None:
    def faults() -> Iterator[str]:
        for mention in spans(page):
            name = mention.text.removesuffix("()")
            is_known = name in code_names.identifiers() or name in FOREIGN_IDENTIFIERS or _SETTING.fullmatch(name)
            if not mention.in_block and _IDENTIFIER.fullmatch(name) and not is_known:
                yield missing(mention, name, code_names.identifiers(), "name in the code")

    none_missing(faults())
