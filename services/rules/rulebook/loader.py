"""Reads a folder of rule files into one Rulebook; its revision is the hash of the files' contents.

Stories (``*.test.yaml``) are no part of a rulebook. A faulty file still yields the parts that could be read, so that
all faults are reported at once. Names that begin with a dot are skipped: a ConfigMap volume keeps its data in such
folders and links to it, and editors leave locks and drafts of that name.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from services.rules.rulebook.calendar_schema import CalendarFile
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.form_schema import FormFile
from services.rules.rulebook.house_schema import HouseFile, LimitsFile
from services.rules.rulebook.model import Form, Location, Rule, Rulebook, Template
from services.rules.rulebook.people_schema import PeopleFile
from services.rules.rulebook.rule_schema import RuleFile
from services.rules.rulebook.schema import Section
from services.rules.rulebook.template_schema import TemplateFile
from services.rules.rulebook.yaml_tree import Node, key_location_of, location_of, parse
from shared.contracts.ids import Revision, RuleId, derive_id

SUFFIXES: Final = (".yaml", ".yml")
RULE, TEMPLATE, FORM, STORIES = ".rule.yaml", ".template.yaml", ".form.yaml", ".test.yaml"
SCHEMAS: Mapping[str, type[Section]] = {
    "rule": RuleFile,
    "template": TemplateFile,
    "form": FormFile,
    "people": PeopleFile,
    "calendar": CalendarFile,
    "house": HouseFile,
    "limits": LimitsFile,
}
"""The schema of each kind of file."""
SINGLES = ("people.yaml", "calendar.yaml", "limits.yaml", "house.yaml")

LARGEST_FILE: Final = 4 * 2**20
"""Bytes; the 82 stories of the shipped rules have 40,000."""

Item = TypeVar("Item", Rule, Template, Form)

# ------------------------------------------------------------------ a folder to texts


def read_folder(folder: Path, report: FaultReport | None = None, *, stories: bool = True) -> dict[str, str]:
    """Relative name → text of every YAML file in ``folder`` and below, in the order of their names.

    A file that cannot be read is added to ``report``; one that is not UTF-8 is read with replacement characters, so
    that its other faults are reported too. With ``stories`` False, no ``*.test.yaml`` is opened.
    """
    report = report or FaultReport()
    found = sorted(_find_files(folder, folder, report))
    wanted = [(name, path) for name, path in found if stories or not name.endswith(STORIES)]
    texts = ((name, _read_text(path, Location(name, 1, 1), report)) for name, path in wanted)
    return {name: text for name, text in texts if text is not None}


def _find_files(
    root: Path, folder: Path, report: FaultReport, above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Path]]:
    """The paths named like a YAML file below ``folder``. Follows links to folders, except those back to one above."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        report.add(Location(_name(root, folder), 1, 1), f"the folder cannot be read: {error.strerror}")
        return
    for path in entries:
        if path.name.startswith("."):
            continue
        if os.path.isdir(path):  # noqa: PTH112 -- False, and no error, where access is denied
            yield from _find_files(root, path, report, above | {real})
        if path.name.lower().endswith(SUFFIXES):
            yield _name(root, path), path


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


def _read_text(path: Path, location: Location, report: FaultReport) -> str | None:
    try:
        if not path.is_file():
            report.add(location, _why_no_file(path))
            return None
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        report.add(location, f"the file cannot be read: {error.strerror}")
        return None
    if len(raw) > LARGEST_FILE:
        report.add(location, f"the file is larger than {LARGEST_FILE // 2**20} MB")
        return None
    return _decode(raw, location, report)


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "this is a folder, and is named like a file of rules"
    return "this is no file that could be read" if path.exists() else "this links to no file"


_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def _decode(raw: bytes, location: Location, report: FaultReport) -> str:
    if raw.startswith(_UTF_16):
        report.add(location, "the file is written in UTF-16; save it as UTF-8")
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        report.add(Location(location.file, line, column), "the file is not written in UTF-8; save it so")
        return raw.decode("utf-8", "replace")


# ------------------------------------------------------------------ texts to a rulebook


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """The parts that could be read. ``trees`` know the locations; ``broken`` files are no YAML."""

    rulebook: Rulebook
    trees: Mapping[str, Node]
    broken: frozenset[str]
    report: FaultReport = field(default_factory=FaultReport)

    def unread(self, suffix: str) -> frozenset[str]:
        """Files of a kind that are no YAML, and those whose name is that of no kind: they may be meant."""
        kinds = (RULE, TEMPLATE, FORM, STORIES)
        return frozenset(file for file in self.broken if file.endswith(suffix) or not file.endswith(kinds)) | frozenset(
            file for file in self.trees if _is_unknown(file)
        )

    def location(self, file: str, *path: str | int) -> Location:
        """The location of a single value, or of the key of anything larger."""
        return location_of(self.trees[file], *path) if file in self.trees else Location(file, 1, 1)

    def key_location(self, file: str, *path: str | int) -> Location:
        return key_location_of(self.trees[file], *path) if file in self.trees else Location(file, 1, 1)


def load(files: Mapping[str, str]) -> tuple[Rulebook | None, list[FileFault]]:
    """The rulebook, or every fault of its schemas. ``validate`` checks what the files mean together."""
    loaded = read_rulebook(files)
    faults = loaded.report.sorted()
    return (None if faults else loaded.rulebook), faults


def read_rulebook(files: Mapping[str, str]) -> LoadedFiles:
    report = FaultReport()
    texts = {name: files[name] for name in sorted(files) if not name.endswith(STORIES)}
    trees = {name: tree for name, text in texts.items() if (tree := parse(name, text, report))}
    _report_unknown_files(texts, report)
    singles = {name: _find_single(name, texts, trees, report) for name in SINGLES}
    limits = LimitsFile.read(singles["limits.yaml"], report)
    rules = _read_named(RULE, trees, lambda node: RuleFile.read(node, report).build(), report)
    rulebook = Rulebook(
        revision=revision_of(texts),
        rules={RuleId(name): rule for name, rule in rules.items()},
        templates=_read_named(TEMPLATE, trees, lambda node: TemplateFile.read(node, report).build(), report),
        forms=_read_named(FORM, trees, lambda node: FormFile.read(node, report).build(), report),
        people=PeopleFile.read(singles["people.yaml"], report).build(),
        calendar=CalendarFile.read(singles["calendar.yaml"], report).build(),
        tenant=HouseFile.read(singles["house.yaml"], report).build(limits),
    )
    return LoadedFiles(rulebook, trees, frozenset(texts.keys() - trees.keys()), report)


def revision_of(files: Mapping[str, str]) -> Revision:
    """A hash of the file names and texts. Stories do not count."""
    return Revision(
        derive_id(*(part for name in sorted(files) if not name.endswith(STORIES) for part in (name, files[name])))
    )


def stem(file: str) -> str:
    """``rights/rights-approval.rule.yaml`` → ``rights-approval``."""
    return PurePosixPath(file).name.split(".")[0]


def _read_named(
    suffix: str, trees: Mapping[str, Node], read: Callable[[Node], Item], report: FaultReport
) -> dict[str, Item]:
    """By name, which is also the file's. Reports a second one of the same name."""
    found: dict[str, Item] = {}
    for file, tree in trees.items():
        if not file.endswith(suffix):
            continue
        item = read(tree)
        if item.name and item.name != stem(file):
            report.add(tree.location, f"“{item.name}” is in a file named “{stem(file)}”")
        if stem(file) in found:
            report.add(tree.location, f"“{stem(file)}” is also in {found[stem(file)].location.file}")
        found[stem(file)] = item
    return found


def _find_single(name: str, texts: Mapping[str, str], trees: Mapping[str, Node], report: FaultReport) -> Node | None:
    at = [file for file in texts if PurePosixPath(file).name == name]
    if not at:
        report.add(Location(name, 1, 1), f"the folder has no {name}")
    for extra in at[1:]:
        report.add(Location(extra, 1, 1), f"there is one {name}, and it is {at[0]}")
    return trees.get(at[0]) if at else None


def _is_unknown(file: str) -> bool:
    name = PurePosixPath(file).name
    return name not in SINGLES and not name.endswith((RULE, TEMPLATE, FORM, STORIES))


def _report_unknown_files(texts: Mapping[str, str], report: FaultReport) -> None:
    for file in texts:
        if _is_unknown(file):
            name = PurePosixPath(file).name
            kinds = (*(f"*{suffix}" for suffix in (RULE, TEMPLATE, FORM, STORIES)), *SINGLES)
            sentence = f"no file of a rulebook is called so; there are {', '.join(kinds)}"
            report.unknown(Location(file, 1, 1), sentence, f"*.{name.partition('.')[2]}", kinds)
