"""Makes one Rulebook of the texts of rule files; its revision is the hash of their contents.

Stories (``*.test.yaml``) are no part of a rulebook. A faulty file still yields the parts that could be read, so that
all faults are reported at once.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from services.rules.rulebook.calendar_schema import CalendarFile
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.form_schema import FormFile
from services.rules.rulebook.house_schema import HouseFile, LimitsFile
from services.rules.rulebook.model import Form, Location, Rule, Rulebook, Template
from services.rules.rulebook.people_schema import PeopleFile
from services.rules.rulebook.rule_folder import (
    FORM,
    KINDS,
    RULE,
    SINGLES,
    STORIES,
    TEMPLATE,
    base_name,
    is_read,
    is_unknown,
    revision_of,
    stem,
)
from services.rules.rulebook.rule_schema import RuleFile
from services.rules.rulebook.schema import Section
from services.rules.rulebook.template_schema import TemplateFile
from services.rules.rulebook.validation_context import LoadedFiles
from services.rules.rulebook.yaml_characters import find_garbled
from services.rules.rulebook.yaml_nodes import MappingNode, Node, SequenceNode, location_of
from services.rules.rulebook.yaml_tree import parse
from shared.contracts.ids import RuleId

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

Item = TypeVar("Item", Rule, Template, Form)


def load(files: Mapping[str, str]) -> tuple[Rulebook | None, list[FileFault]]:
    """The rulebook, or every fault of its schemas. ``validate`` checks what the files mean together.

    Files that were stored before a mistake was refused are read as they were.
    """
    loaded = read_rulebook(files)
    faults = [fault for fault in loaded.report.sorted() if not fault.only_new]
    return (None if faults else loaded.rulebook), faults


def read_rulebook(files: Mapping[str, str]) -> LoadedFiles:
    report = FaultReport()
    texts = {name: files[name] for name in sorted(files) if not name.endswith(STORIES)}
    read = {name: tree for name, text in texts.items() if is_read(name) and (tree := parse(name, text, report))}
    trees = {name: tree for name, tree in read.items() if not _is_of_another_kind(name, tree, report)}
    report.close_lines()
    for name, text in texts.items():
        if (garbled := find_garbled(text)) is not None:
            report.refuse(Location(name, garbled.line, garbled.column), garbled.sentence)
    _report_unknown_files(texts, read, report)
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
    faulty = frozenset(fault.location.file for fault in report.faults)
    return LoadedFiles(rulebook, trees, frozenset(texts.keys() - trees.keys()), report, faulty, texts)


def _read_named(
    suffix: str, trees: Mapping[str, Node], read: Callable[[Node], Item], report: FaultReport
) -> dict[str, Item]:
    """The parts of a kind by name, which is also the file's name. Reports a second one of the same name."""
    found: dict[str, Item] = {}
    misnamed: dict[str, Item] = {}
    for file, tree in trees.items():
        if not file.endswith(suffix):
            continue
        item = read(tree)
        if item.name and item.name != stem(file):
            kind = _FIRST_KEYS[suffix]
            sentence = f"the file is named “{stem(file)}”, and its {kind} “{item.name}”; name both alike"
            report.add(location_of(tree, kind), sentence)
            misnamed[item.name] = item
        if stem(file) in found:
            report.add(tree.location, f"“{stem(file)}” is also in {found[stem(file)].location.file}")
        found[stem(file)] = item
    return {**misnamed, **found}  # who names it by the name in the file means it, too


_FIRST_KEYS = {RULE: "rule", TEMPLATE: "template", FORM: "form"}


def _is_of_another_kind(file: str, tree: Node, report: FaultReport) -> bool:
    """Whether the file has the keys of another kind of file than its name says, which is reported."""
    kind = next((suffix for suffix in _FIRST_KEYS if file.endswith(suffix)), None)
    if kind is None or not isinstance(tree, MappingNode) or _FIRST_KEYS[kind] in tree.nodes:
        return False
    keys = {suffix: frozenset(SCHEMAS[key].known_keys()) for suffix, key in _FIRST_KEYS.items()}
    other = next((suffix for suffix in keys if suffix != kind and tree.nodes.keys() <= keys[suffix]), None)
    if other is None or _FIRST_KEYS[other] not in tree.nodes:
        return False
    name = f"{stem(file)}{other}"
    report.add(tree.location, f"this is a {_FIRST_KEYS[other]}, in a file for a {_FIRST_KEYS[kind]}; name it {name}")
    return True


def _find_single(name: str, texts: Mapping[str, str], trees: Mapping[str, Node], report: FaultReport) -> Node | None:
    at = [file for file in texts if base_name(file) == name]
    if not at and not any(is_unknown(file) and _meant_single(base_name(file)) == name for file in texts):
        report.add(Location(name, 1, 1), f"the folder has no {name}")
    for extra in at[1:]:
        report.add(Location(extra, 1, 1), f"there is one {name}, and it is {at[0]}")
    return trees.get(at[0]) if at else None


def _report_unknown_files(texts: Mapping[str, str], trees: Mapping[str, Node], report: FaultReport) -> None:
    for file in filter(is_read, texts):
        if is_unknown(file):
            name = base_name(file)
            if (kind := _kind_of(trees.get(file))) is not None:
                what = _FIRST_KEYS.get(kind, "list of stories")
                report.add(Location(file, 1, 1), f"this is a {what}; name the file {stem(file)}{kind}")
                continue
            kinds = (*(f"*{suffix}" for suffix in KINDS), *SINGLES)
            sentence = f"no file of a rulebook is called so; there are {', '.join(kinds)}"
            if (elsewhere := _ELSEWHERE.get(stem(file).casefold())) is not None and _meant_single(name) is None:
                report.add(Location(file, 1, 1), f"no file of a rulebook is called so; {elsewhere}")
                continue
            end = name.partition(".")[2]
            meant = _meant_single(name) or (f"*.{end}" if "." in end else name)
            report.unknown(Location(file, 1, 1), sentence, meant, kinds)


_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("absences", "absence", "leave", "away"), "who is away stands under “stands_in” in people.yaml"),
    **dict.fromkeys(("consent", "consents", "basis"), "why people are written to stands under “basis” in house.yaml"),
    **dict.fromkeys(("holidays", "closures", "closings", "fairs"), "days off stand under “closed” in calendar.yaml"),
    **dict.fromkeys(("roles", "teams", "contacts", "staff"), "who has which role stands under “teams” in people.yaml"),
    **dict.fromkeys(("settings", "config", "languages", "publisher"), "what the house chooses stands in house.yaml"),
    **dict.fromkeys(("caps", "quiet_hours", "digest"), "how many messages a person gets stands in limits.yaml"),
    **dict.fromkeys(("rollout", "canary", "shadow"), "a trial is begun by “stet rules rollout”"),
}
"""Where that stands for which authors begin a file of its own."""


def _kind_of(tree: Node | None) -> str | None:
    """The end of the name that a file should have by what is in it; None where that does not tell."""
    if isinstance(tree, SequenceNode) and tree.nodes and isinstance(tree.nodes[0], MappingNode):
        return STORIES if "it" in tree.nodes[0].nodes else None
    keys = tree.nodes if isinstance(tree, MappingNode) else {}
    return next((suffix for suffix, key in _FIRST_KEYS.items() if key in keys), None)


def _meant_single(name: str) -> str | None:
    """The single file, such as people.yaml, that an unknown file name was probably meant for."""
    if not is_read(name):
        return next((each for each in SINGLES if stem(each) == stem(name)), None)
    close = get_close_matches(name.casefold(), SINGLES, 1, _NEARLY)
    return close[0] if close else None


_NEARLY = 0.85
"""How similar the name must be."""
