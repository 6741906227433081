"""A folder's texts become one Rulebook; its revision is the hash of what they say.

Stories (``*.test.yaml``) are no part of a rulebook: a test does not change what is decided. A file that is at fault
still yields what could be read of it, so that the checker can go on and report everything at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import TypeVar

from services.rules.language import calendar, house, people, rules, templates
from services.rules.language.faults import Fault, Report
from services.rules.language.nodes import Node, key_of, place_of
from services.rules.language.yaml_reader import parse
from services.rules.rulebook import Form, Rule, Rulebook, Template
from services.rules.terms import Place
from shared.contracts.ids import Revision, RuleId, derive_id

RULE, TEMPLATE, FORM, STORIES = ".rule.yaml", ".template.yaml", ".form.yaml", ".test.yaml"
SINGLES = ("people.yaml", "calendar.yaml", "limits.yaml", "house.yaml")

Item = TypeVar("Item", Rule, Template, Form)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What could be read; ``trees`` know the places, ``broken`` files are no YAML at all."""

    rulebook: Rulebook
    trees: Mapping[str, Node]
    broken: frozenset[str]
    report: Report = field(default_factory=Report)

    def place(self, file: str, *path: str | int) -> Place:
        """Where a word stands; ``key``: where it is asked for."""
        return place_of(self.trees[file], *path) if file in self.trees else Place(file, 1, 1)

    def key(self, file: str, *path: str | int) -> Place:
        return key_of(self.trees[file], *path) if file in self.trees else Place(file, 1, 1)


def load(files: Mapping[str, str]) -> tuple[Rulebook | None, list[Fault]]:
    """The rulebook, or every fault of form; what the words mean together is the checker's business."""
    loaded = load_leniently(files)
    faults = loaded.report.sorted()
    return (None if faults else loaded.rulebook), faults


def load_leniently(files: Mapping[str, str]) -> Loaded:
    report = Report()
    texts = {name: files[name] for name in sorted(files) if not name.endswith(STORIES)}
    trees = {name: tree for name, text in texts.items() if (tree := parse(name, text, report))}
    _refuse_strangers(texts, report)
    singles = {single: _single(single, texts, trees, report) for single in SINGLES}
    limits = house.limits(singles["limits.yaml"], report)
    found = _named(RULE, trees, partial(rules.rule, report=report), report)
    rulebook = Rulebook(
        revision=revision_of(texts),
        rules={RuleId(name): rule for name, rule in found.items()},
        templates=_named(TEMPLATE, trees, partial(templates.template, report=report), report),
        forms=_named(FORM, trees, partial(templates.form, report=report), report),
        people=people.people(singles["people.yaml"], report),
        calendar=calendar.calendar(singles["calendar.yaml"], report),
        tenant=house.house(singles["house.yaml"], limits, report),
    )
    return Loaded(rulebook, trees, frozenset(texts.keys() - trees.keys()), report)


def revision_of(files: Mapping[str, str]) -> Revision:
    """The same for the same texts under the same names; stories do not count."""
    return Revision(
        derive_id(*(part for name in sorted(files) if not name.endswith(STORIES) for part in (name, files[name])))
    )


def stem(file: str) -> str:
    """``rights/rights-approval.rule.yaml`` → ``rights-approval``."""
    return PurePosixPath(file).name.split(".")[0]


def _named(suffix: str, trees: Mapping[str, Node], read: Callable[[Node], Item], report: Report) -> dict[str, Item]:
    """By name, which is also the file's; a second one of the same name is a fault."""
    found: dict[str, Item] = {}
    for file, tree in trees.items():
        if not file.endswith(suffix):
            continue
        item = read(tree)
        if item.name and item.name != stem(file):
            report.add(tree.place, f"“{item.name}” is in a file named “{stem(file)}”")
        if stem(file) in found:
            report.add(tree.place, f"“{stem(file)}” is also in {found[stem(file)].place.file}")
        found[stem(file)] = item
    return found


def _single(name: str, texts: Mapping[str, str], trees: Mapping[str, Node], report: Report) -> Node | None:
    at = [file for file in texts if PurePosixPath(file).name == name]
    if not at:
        report.add(Place(name, 1, 1), f"the folder has no {name}")
    for extra in at[1:]:
        report.add(Place(extra, 1, 1), f"there is one {name}, and it is {at[0]}")
    return trees.get(at[0]) if at else None


def _refuse_strangers(texts: Mapping[str, str], report: Report) -> None:
    for file in texts:
        name = PurePosixPath(file).name
        if name not in SINGLES and not name.endswith((RULE, TEMPLATE, FORM)):
            kinds = (*(f"*{suffix}" for suffix in (RULE, TEMPLATE, FORM, STORIES)), *SINGLES)
            sentence = f"no file of a rulebook is called so; there are {', '.join(kinds)}"
            report.unknown(Place(file, 1, 1), sentence, f"*.{name.partition('.')[2]}", kinds)
