"""Folders of rule files for benches: the house's own files, and as many rules as wanted."""

import shutil
from pathlib import Path

from bench.people import stage_of
from dev.layout import ROOT

_HOUSE = ("calendar.yaml", "house.yaml", "limits.yaml", "people.yaml", "house")

_RULE = """\
rule: {name}
owner: editorial
why: {{en: You work on this title and it has moved to a new stage.}}
on: work.stage_changed
if: {{to_stage: {stage}, work.title: {{exists: true}}}}
about: [work.work_id, to_stage]
steps:
  - tell: [author, illustrator]
    say: bench_told
"""

_TOLD = """\
template: bench_told
category: utility
version: 1
fields: {title: work.title, stage: to_stage}
languages:
  en:
    body: >-
      Good news about “{title}”, {person}: it is now at “{stage}”. There is nothing you need to do.
"""

_CONVERSATION = """\
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
      yes: {tell: editor, say: bench_answered}
      no: {tell: editor, say: bench_answered}
  - after: 7 days
    give_up: no answer
"""

_QUESTION = """\
template: bench_question
category: utility
version: 1
languages:
  en:
    body: Shall we go on, {person}? Please tap one of the two.
    buttons: {yes: Go on, no: Not now}
"""

_ANSWERED = """\
template: bench_answered
category: utility
version: 1
languages:
  en:
    body: Somebody has answered the bench, {person}, and nothing more is to do.
"""


def telling(folder: Path, rules: int) -> Path:
    """``rules`` rules on one kind of event, each for a stage of its own, each telling two people."""
    _house(folder)
    (folder / "bench_told.template.yaml").write_text(_TOLD)
    for number in range(rules):
        name = f"bench-{number:04d}"
        (folder / f"{name}.rule.yaml").write_text(_RULE.format(name=name, stage=stage_of(number)))
    return folder


def conversing(folder: Path) -> Path:
    """One rule: whoever writes is asked a question with two buttons."""
    _house(folder)
    for name, text in (("bench_question", _QUESTION), ("bench_answered", _ANSWERED)):
        (folder / f"{name}.template.yaml").write_text(text)
    (folder / "bench-question.rule.yaml").write_text(_CONVERSATION)
    return folder


def _house(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _HOUSE:
        source = ROOT / "rules" / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
