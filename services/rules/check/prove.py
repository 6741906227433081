"""Everything that can be known of a rulebook without playing it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.rules.check.forms import check_defaults, check_form, size_notes
from services.rules.check.people import check_house
from services.rules.check.rules import check_rule
from services.rules.check.scope import Scope
from services.rules.check.stories import check_stories
from services.rules.check.templates import check_template, check_use
from services.rules.check.uses import begun_by, house_uses
from services.rules.language.faults import Fault, Report
from services.rules.language.folder import read_folder
from services.rules.language.loader import load_leniently
from services.rules.rulebook import Rulebook
from services.rules.story.model import Story
from services.rules.story.read import read_stories


@dataclass(frozen=True, slots=True)
class Proof:
    """``rulebook`` is whole only where there are no faults; ``notes`` are what holds less than it seems to."""

    rulebook: Rulebook
    stories: tuple[Story, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...] = ()


def prove(files: Mapping[str, str], *, tested: bool = True) -> Proof:
    """All faults at once. ``tested`` False: stories are not asked for (a service loads a book without them)."""
    loaded = load_leniently(files)
    stories, story_faults = read_stories(files)
    loaded.report.faults.extend(story_faults)
    scope = Scope(loaded)
    check_house(scope)
    for template in scope.book.templates.values():
        check_template(scope, template)
    _check_forms(scope)
    for rule in scope.book.rules.values():
        check_rule(scope, rule)
    for use in house_uses(scope):
        check_use(scope, use)
    check_stories(scope, stories)
    if tested:
        _check_tested(scope, stories)
    return Proof(scope.book, stories, tuple(loaded.report.sorted()), tuple(size_notes(scope)))


def prove_folder(folder: Path, *, tested: bool = True) -> tuple[Proof, dict[str, str]]:
    """The proof of a folder, with the texts it is of; files that cannot be read are among its faults."""
    report = Report()
    files = read_folder(folder, report)
    proof = prove(files, tested=tested)
    report.faults.extend(proof.faults)
    return replace(proof, faults=tuple(report.sorted())), files


def _check_forms(scope: Scope) -> None:
    for form in scope.book.forms.values():
        check_form(scope, form)
    for rule in scope.book.rules.values():
        for step in rule.steps:
            for name in begun_by(step):
                if name in scope.book.forms:
                    check_defaults(scope, rule, scope.book.forms[name])


def _check_tested(scope: Scope, stories: tuple[Story, ...]) -> None:
    """A rule's story is in the file of its name."""
    told = {story.about for story in stories}
    for rule in scope.book.rules.values():
        if rule.name and rule.name not in told:
            scope.report.add(rule.place, f"“{rule.name}” has no story: write {rule.name}.test.yaml beside it")
    for story in stories:
        if story.about not in scope.book.rules:
            names = scope.book.rules
            scope.report.unknown(story.place, f"there is no rule “{story.about}” to test", story.about, names)
