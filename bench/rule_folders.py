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


def _copy_tenant_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _TENANT_FILES:
        source = ROOT / "rules" / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
