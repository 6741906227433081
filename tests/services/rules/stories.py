"""Short stories for the rule files of this repository, for tests that need several of them or a table."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import RULE, STORIES, read_folder
from services.rules.scenario.folder_check import Checked, check_files
from services.rules.scenario.player import play_story
from services.rules.scenario.story_file import Story, read_stories

FOLDER = Path(__file__).parents[3] / "rules"
HEAD = """\
- it: goes so
  start: 2027-03-03T10:00:00Z
  people:
{people}
  play:
{play}
"""


@lru_cache(maxsize=1)
def own_rulebook() -> Rulebook:
    book, faults = load(read_folder(FOLDER))
    assert book is not None, faults
    return book


def story(people: str, *steps: str, rule: str = "rights-approval") -> Story:
    lines = "\n".join(f"    {line}" for line in people.splitlines())
    text = HEAD.format(people=lines, play="\n".join(f"    - {step}" for step in steps))
    stories, faults = read_stories({f"{rule}.test.yaml": text})
    assert not faults, faults
    return stories[0]


def faults_of_rule(
    rule: str,
    templates: Mapping[str, str],
    people: str,
    *steps: str,
    limits: str = "",
    forms: Mapping[str, str] | None = None,
) -> list[str]:
    """The faults of a story for a rule beside the house of this repository; ``templates`` are texts by name.

    ``limits`` are further lines of limits.yaml; ``forms`` are the texts of forms by their name.
    """
    checked = checked_rule(rule, templates, people, *steps, limits=limits, forms=forms)
    return [fault.sentence for one in checked.stories for fault in play_story(one, checked.rulebook)]


def checked_rule(
    rule: str,
    templates: Mapping[str, str],
    people: str,
    *steps: str,
    limits: str = "",
    forms: Mapping[str, str] | None = None,
) -> Checked:
    """The same rule with its story, to be played."""
    files = {name: text for name, text in read_folder(FOLDER).items() if not name.endswith((RULE, STORIES))}
    name = rule.partition("\n")[0].removeprefix("rule: ")
    lines = "\n".join(f"    {line}" for line in people.splitlines())
    files[f"{name}{RULE}"] = rule
    files["limits.yaml"] += limits
    files.update({f"{each}.template.yaml": text for each, text in templates.items()})
    files.update({f"{each}.form.yaml": text for each, text in (forms or {}).items()})
    files[f"{name}{STORIES}"] = HEAD.format(people=lines, play="\n".join(f"    - {step}" for step in steps))
    checked = check_files(files)
    assert [str(fault) for fault in checked.faults] == []
    return checked


def rule_head(name: str, on: str, about: str) -> str:
    """The text of a rule of the rights team before its steps."""
    return f"""\
rule: {name}
owner: rights
why: {{en: You work on this title., fr: Vous travaillez sur ce titre.}}
severity: warning
on: {on}
about: {about}
steps:
"""


def template_text(name: str, body: str, buttons: str | None = None, fields: str = "title: work.title") -> str:
    shown = f"    buttons: {{{buttons}}}\n" if buttons else ""
    head = f"template: {name}\ncategory: utility\nversion: 1\nfields: {{{fields}}}\n"
    return f"{head}languages:\n  en:\n    body: {body}\n{shown}"


def story_faults(people: str, *steps: str) -> list[str]:
    return [fault.sentence for fault in play_story(story(people, *steps), own_rulebook())]


FORMS = {
    "details": """\
form: details
welcome: ex_welcome
fields: {title: {required: true}, pitch: {required: true}}
confirm: ex_summary
record: acquisition.create
done: noted
languages: {en: {title: Which title?, pitch: What is it?}}
"""
}
"""A form of two fields by its name."""

WORDS_OF_FORM = {
    "ex_welcome": template_text("ex_welcome", "A few questions, {person}, if we may.", fields=""),
    "ex_summary": template_text(
        "ex_summary", "We have {title} and {pitch} here.", "send: Send, change: Change, cancel: Cancel", fields=""
    ),
}
