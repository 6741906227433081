"""A folder of rules judged as a whole: every fault of its files, then its stories in virtual time.

The services themselves only validate the rules; stories are read and played by ``stet rules`` alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

from services.rules.matching.satisfiability import impossible_condition_faults
from services.rules.matching.self_starts import self_start_faults
from services.rules.rulebook.faults import FaultReport, FileFault, nearest_word
from services.rules.rulebook.model import Location, Rulebook
from services.rules.rulebook.rule_folder import STORIES, is_unknown, read_folder, stem
from services.rules.rulebook.rule_validation import lines_of
from services.rules.rulebook.validation import Validation, validate
from services.rules.rulebook.validation_context import known_roles
from services.rules.scenario.story_file import Story, read_story_files
from services.rules.scenario.story_validation import StoryValidation


@dataclass(frozen=True, slots=True)
class Checked:
    """A folder's rulebook and stories; both are complete only where there are no faults. ``notes`` are warnings."""

    rulebook: Rulebook
    stories: tuple[Story, ...]
    faults: tuple[FileFault, ...]
    notes: tuple[FileFault, ...]


class FolderCheck:
    """A folder that is being checked: its rules at once, then its stories, one file after the other.

    Only what later checks need is kept of a story, so that thousands of them take no memory. Without ``cycles``,
    rules that start themselves are no fault. Faults that ``report`` has already are the folder's, too.
    """

    def __init__(self, files: Mapping[str, str], report: FaultReport | None = None, *, cycles: bool = True) -> None:
        self._files = {file: text if file.endswith(STORIES) else "" for file, text in files.items()}
        """The texts of stories, and the names of the other files."""
        self._validation = validate(files)
        self._report = report or FaultReport()
        self._of_stories = FaultReport()
        self._tests: list[tuple[str, Location]] = []
        """The rule of each story, and where the story begins."""
        self._lines: list[tuple[str, Location]] = []
        """The lines that stories name."""
        faulty = {fault.location.file for fault in self._validation.faults}
        self._report.faults += [*self._validation.faults, *impossible_condition_faults(self.rulebook, faulty)]
        if cycles:
            self._report.faults += self_start_faults(self.rulebook, faulty)

    @property
    def rulebook(self) -> Rulebook:
        return self._validation.rulebook

    @property
    def has_faults(self) -> bool:
        """Whether a fault was found so far."""
        return bool(self._report.faults or self._of_stories.faults)

    @property
    def story_files(self) -> int:
        return sum(file.endswith(STORIES) for file in self._files)

    def read_stories(self) -> Iterator[list[Story]]:
        """The stories of each file, checked."""
        check = StoryValidation(self._validation, self._of_stories)
        owners = {rule.owner for rule in self.rulebook.rules.values()}  # one that is no team is reported there
        roles, teams = known_roles(self.rulebook), owners | self.rulebook.people.teams.keys()
        for stories in read_story_files(self._files, self._of_stories, check.check):
            for story in stories:
                self._tests.append((story.rule, story.location))
                if self._validation.has_people:
                    _check_people(story, roles, teams, self._report)
            yield stories
        self._lines += check.lines

    def finish(self, stories: Iterable[Story] = (), *, tested: bool = True) -> Checked:
        """All faults, once the stories are read. With ``tested``, each rule must have a story."""
        _check_lines(self.rulebook, self._lines, self._report)
        if tested:
            _check_tested(self._validation, self._files, self._tests, self._report)
        self._report.faults += self._of_stories.sorted()
        return Checked(self.rulebook, tuple(stories), tuple(self._report.sorted()), self._validation.notes)


def check_files(
    files: Mapping[str, str], report: FaultReport | None = None, *, tested: bool = True, cycles: bool = True
) -> Checked:
    """All faults of rules and stories at once, those of ``report`` included, and the stories."""
    return _finish(FolderCheck(files, report, cycles=cycles), tested=tested)


def check_folder(folder: Path, *, tested: bool = True) -> Checked:
    """``check_files`` of a folder; files that cannot be read are among the faults."""
    report = FaultReport()
    return _finish(FolderCheck(read_folder(folder, report, misnamed=True), report), tested=tested)


def _finish(check: FolderCheck, *, tested: bool) -> Checked:
    stories = list(chain.from_iterable(check.read_stories()))
    return check.finish(stories, tested=tested)


def _check_people(story: Story, roles: Collection[str], teams: Collection[str], report: FaultReport) -> None:
    """The roles and teams that a story gives its people exist."""
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


def _check_tested(
    validation: Validation, files: Iterable[str], tests: Sequence[tuple[str, Location]], report: FaultReport
) -> None:
    """Each rule has a story, in a file of its name; a file that cannot be read may have one.

    ``tests`` are the rule of each story, and where the story begins.
    """
    book = validation.rulebook
    tested = {stem(file) for file in files if file.endswith(STORIES) or is_unknown(file)}
    named = book.rules.keys() | {stem(rule.location.file) for rule in book.rules.values()}
    misnamed = {name for name, _ in tests} - named
    tested |= {nearest_word(name, book.rules) or "" for name in misnamed}
    for rule in book.rules.values():
        if rule.name and tested.isdisjoint((rule.name, stem(rule.location.file))):
            report.add(rule.location, f"“{rule.name}” has no story: write {rule.name}.test.yaml beside it")
    for name, location in tests:
        if name not in named and name not in validation.unread_rules:
            report.unknown(location, f"there is no rule “{name}” to test", name, book.rules)


def play_stories(checked: Checked) -> Iterator[tuple[Story, list[FileFault]]]:
    """Each story of a rulebook without faults, with what differs from what it expects."""
    from services.rules.scenario.player import play_story  # noqa: PLC0415 -- only a rulebook without faults is played

    for story in checked.stories:
        yield story, play_story(story, checked.rulebook)
