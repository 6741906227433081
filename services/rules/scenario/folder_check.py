"""A folder of rules judged as a whole: every fault of its files, then its stories in virtual time.

The services themselves only validate the rules; stories are read and played by ``stet rules`` alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.rules.matching.impossible_conditions import impossible_condition_faults
from services.rules.matching.self_starts import self_start_faults
from services.rules.rulebook.faults import FaultReport, FileFault
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import STORIES, read_folder, stem
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
    stories, story_faults = read_stories(files, lambda found: StoryValidation(validation, found).check)
    report.faults += [*validation.faults, *story_faults]
    if validation.has_people:
        _check_people(validation.rulebook, stories, report)
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
    checked = check_files(read_folder(folder, report), tested=tested)
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


def _check_tested(validation: Validation, files: Iterable[str], stories: Iterable[Story], report: FaultReport) -> None:
    """Each rule has a story, in a file of its name; a file that cannot be read may have one."""
    book, tested = validation.rulebook, {stem(file) for file in files if file.endswith(STORIES)}
    for rule in book.rules.values():
        if rule.name and rule.name not in tested:
            report.add(rule.location, f"“{rule.name}” has no story: write {rule.name}.test.yaml beside it")
    for story in stories:
        if story.rule not in book.rules and story.rule not in validation.unread_rules:
            report.unknown(story.location, f"there is no rule “{story.rule}” to test", story.rule, book.rules)


def play_stories(checked: Checked) -> Iterator[tuple[Story, list[FileFault]]]:
    """Each story of a rulebook without faults, with what differs from what it expects."""
    from services.rules.scenario.player import play_story  # noqa: PLC0415 -- only a rulebook without faults is played

    for story in checked.stories:
        yield story, play_story(story, checked.rulebook)
