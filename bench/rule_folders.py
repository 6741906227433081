"""Rule folders for benches: the tenant's own files of rules/, and any number of generated rules."""

import shutil
from pathlib import Path

from bench.records import stage_of
from dev.layout import ROOT

_TENANT_FILES = ("calendar.yaml", "house.yaml", "limits.yaml", "people.yaml", "house")

_NOTICE_RULE = """\
rule: {name}
owner: editorial
why: {{en: You work on this title and it has moved to a new stage.}}
on: work.stage_changed
if: {{to_stage: {stage}, work.title: {{exists: true}}}}
about: [work.work_id, to_stage]
steps:
  - tell: [author, illustrator]
    say: bench_notice
"""

_NOTICE_TEMPLATE = """\
template: bench_notice
category: utility
version: 1
fields: {title: work.title, stage: to_stage}
languages:
  en:
    body: >-
      Good news about “{title}”, {person}: it is now at “{stage}”. There is nothing you need to do.
"""

_QUESTION_RULE = """\
rule: bench-question
owner: editorial
why: {en: You wrote to the bench.}
on: message.received
if: {line: main, answers_a_question: false}
about: message_id
steps:
  - ask: sender
    say: bench_question
    answers:
      yes: {tell: editor, say: bench_answer}
      no: {tell: editor, say: bench_answer}
  - after: 7 days
    give_up: no answer
"""

_QUESTION_TEMPLATE = """\
template: bench_question
category: utility
version: 1
languages:
  en:
    body: Shall we go on, {person}? Please tap one of the two.
    buttons: {yes: Go on, no: Not now}
"""

_ANSWER_TEMPLATE = """\
template: bench_answer
category: utility
version: 1
languages:
  en:
    body: The question of the bench was answered, {person}. There is nothing you need to do.
"""

_DEADLINE_RULE = """\
rule: {name}
owner: production
why: {{en: You work on this title., fr: Vous travaillez sur ce titre.}}
on: [schedule.date_set, schedule.date_changed]
if: {{new_due: {{exists: true}}, work.title: Title {name}}}
about: milestone_id
steps:
  - at: 3 working days before new_due
    tell: affected
    say: deadline_near
  - at: new_due
    hand_over: production_lead
    say: {name}_late
until:
  - milestone.completed
"""

_DEADLINE_TEMPLATE = """\
template: {name}_late
category: utility
version: 1
fields: {{title: work.title}}
languages:
  en:
    body: The corrections of “{{title}}” ({name}) are not back. Can you take it?
    buttons: {{take: Take it, not_me: Not me}}
"""

_DEADLINE_STORY = """\
- it: goes so
  start: 2027-03-15T10:00:00Z
  people: {{830: {{roles: [designer], country: GB}}, 21: {{roles: [production_lead], country: GB}}}}
  play:
    - event: schedule.date_set
      with: {{new_due: 2027-04-01, affected: [830], work.title: Title {name}}}
    - expect: nothing
    - wait until: 2027-03-25T09:00:00Z
    - expect: [{{tell: 830, say: deadline_near, text: 1 April 2027}}]
    - wait until: 2027-04-02T08:00:00Z
    - expect: [{{hand_over: 21, say: {name}_late}}]
    - reply: {{from: 21, button: take}}
    - expect: [{{tell: 21, say: taken}}]
"""


def write_notice_rules(folder: Path, rules: int) -> Path:
    """``rules`` rules on one kind of event, each for a stage of its own and with a notice to two people."""
    _copy_tenant_files(folder)
    (folder / "bench_notice.template.yaml").write_text(_NOTICE_TEMPLATE)
    for number in range(rules):
        name = f"bench-{number:04d}"
        (folder / f"{name}.rule.yaml").write_text(_NOTICE_RULE.format(name=name, stage=stage_of(number)))
    return folder


def write_question_rule(folder: Path) -> Path:
    """One rule: each sender of a message gets a question with two buttons."""
    _copy_tenant_files(folder)
    for name, text in (("bench_question", _QUESTION_TEMPLATE), ("bench_answer", _ANSWER_TEMPLATE)):
        (folder / f"{name}.template.yaml").write_text(text)
    (folder / "bench-question.rule.yaml").write_text(_QUESTION_RULE)
    return folder


def write_deadline_rules(folder: Path, rules: int) -> Path:
    """``rules`` rules, each with a template and a story of its own, beside the tenant's files."""
    _copy_tenant_files(folder)
    shutil.copy(ROOT / "rules" / "deadlines" / "deadline_near.template.yaml", folder)
    return add_deadline_rules(folder, rules)


def add_deadline_rules(folder: Path, rules: int) -> Path:
    """The same in a folder that has the other files, and the template ``deadline_near``."""
    for number in range(rules):
        name = f"r{number:04}"
        (folder / f"{name}.rule.yaml").write_text(_DEADLINE_RULE.format(name=name))
        (folder / f"{name}_late.template.yaml").write_text(_DEADLINE_TEMPLATE.format(name=name))
        (folder / f"{name}.test.yaml").write_text(_DEADLINE_STORY.format(name=name))
    return folder


def _copy_tenant_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _TENANT_FILES:
        source = ROOT / "rules" / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
