"""A folder of rules judged as a whole: every fault of its files, then its stories in virtual time.

The services themselves only validate the rules; stories are read and played by ``stet rules`` alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from services.rules.matching.satisfiability import impossible_condition_faults
from services.rules.matching.self_starts import self_start_faults
from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.model import Location, Rulebook
from services.rules.rulebook.rule_folder import STORIES, is_unknown, read_folder, stem
from services.rules.rulebook.rule_validation import lines_of
from services.rules.rulebook.validation import Validation, validate
from services.rules.rulebook.validation_context import known_roles
from services.rules.scenario.story_file import Story, read_stories
from services.rules.scenario.story_validation import StoryValidation


@dataclass(frozen=True, slots=True)
class Checked:
    """A folder's rulebook and stories; both are complete only where there are no faults. ``notes`` are warnings."""

    rulebook: Rulebook
    stories: tuple[Story, ...]
    faults: tuple[FileFault, ...]
    notes: tuple[FileFault, ...]


def check_files(files: Mapping[str, str], *, tested: bool = True, circles: bool = True) -> Checked:
    """All faults of rules and stories at once. With ``tested``, each rule must have a story.

    Without ``circles``, rules may start themselves.
    """
    validation, report = validate(files), FaultReport()
    checks: list[StoryValidation] = []

    def check_with(found: FaultReport) -> Callable[[Story], None]:
        checks.append(StoryValidation(validation, found))
        return checks[-1].check

    stories, story_faults = read_stories(files, check_with)
    report.faults += [*validation.faults, *story_faults]
    if validation.has_people:
        _check_people(validation.rulebook, stories, report)
    _check_lines(validation.rulebook, [line for check in checks for line in check.lines], report)
    if tested:
        _check_tested(validation, files, stories, report)
    faulty = {fault.location.file for fault in validation.faults}
    report.faults += impossible_condition_faults(validation.rulebook, faulty)
    if circles:
        report.faults += self_start_faults(validation.rulebook, faulty)
    return Checked(validation.rulebook, stories, tuple(report.sorted()), validation.notes)


def check_folder(folder: Path, *, tested: bool = True) -> Checked:
    """``check_files`` of a folder; files that cannot be read are among the faults."""
    report = FaultReport()
    checked = check_files(read_folder(folder, report, misnamed=True), tested=tested)
    report.faults.extend(checked.faults)
    return Checked(checked.rulebook, checked.stories, tuple(report.sorted()), checked.notes)


def _check_people(book: Rulebook, stories: Iterable[Story], report: FaultReport) -> None:
    """The roles and teams that a story gives its people exist."""
    roles, teams = known_roles(book), book.people.teams
    for story in stories:
        for each in story.people.values():
            for role in each.roles:
                if role and role not in roles:
                    report.unknown(each.location, f"there is no role “{role}”", role, roles)
            if each.team is not None and each.team not in teams and each.team not in map(str.casefold, teams):
                report.unknown(each.location, f"people.yaml has no team “{each.team}”", each.team, teams)


def _check_lines(book: Rulebook, of_stories: Sequence[tuple[str, Location]], report: FaultReport) -> None:
    """A line that only rules name, or only stories, and nearly one of the others: the rarer name is misspelt.

    Where house.yaml lists all lines, each name is looked up there instead.
    """
    if book.tenant.lines:
        return
    of_rules = [named for rule in book.rules.values() for named in lines_of(rule)]
    count = Counter(name for name, _ in (*of_rules, *of_stories))
    count[book.tenant.default_line] += 1
    in_rules, in_stories = {name for name, _ in of_rules}, {name for name, _ in of_stories}
    for named, others, wrong in (
        (of_rules, in_stories, "no story writes to"),
        (of_stories, in_rules, "no rule is for"),
    ):
        for name, location in named:
            near = get_close_matches(name, others - {name}, 1, _NEARLY_A_LINE) if name not in others else []
            is_less = near and (count[name], named is of_rules) < (count[near[0]], True)
            if is_less and name != book.tenant.default_line:
                sentence = f"{wrong} a line “{name}”; if there is one, name it under “all_lines” in house.yaml"
                report.unknown(location, sentence, name, near)


_NEARLY_A_LINE = 0.8


def _check_tested(validation: Validation, files: Iterable[str], stories: Iterable[Story], report: FaultReport) -> None:
    """Each rule has a story, in a file of its name; a file that cannot be read may have one."""
    book = validation.rulebook
    tested = {stem(file) for file in files if file.endswith(STORIES) or is_unknown(file)}
    named = book.rules.keys() | {stem(rule.location.file) for rule in book.rules.values()}
    misnamed = {story.rule for story in stories} - named
    tested |= {nearest_word(name, book.rules) or "" for name in misnamed}
    for rule in book.rules.values():
        if rule.name and tested.isdisjoint((rule.name, stem(rule.location.file))):
            report.add(rule.location, f"“{rule.name}” has no story: write {rule.name}.test.yaml beside it")
    for story in stories:
        if story.rule not in named and story.rule not in validation.unread_rules:
            report.unknown(story.location, f"there is no rule “{story.rule}” to test", story.rule, book.rules)


def play_stories(checked: Checked) -> Iterator[tuple[Story, list[FileFault]]]:
    """Each story of a rulebook without faults, with what differs from what it expects."""
    from services.rules.scenario.player import play_story  # noqa: PLC0415 -- only a rulebook without faults is played

    for story in checked.stories:
        yield story, play_story(story, checked.rulebook)
