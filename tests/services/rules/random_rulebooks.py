"""Random rule files, in which the features of the language meet as no author has thought of.

A rule is made of random parts; ``stet rules check`` is the judge of which whole may stand.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import yaml

from services.rules.rulebook.catalogue import party_fields
from services.rules.rulebook.model import Rulebook
from services.rules.rulebook.rule_folder import RULE, STORIES, read_folder
from services.rules.scenario.folder_check import check_files
from tests.services.rules.stories import FOLDER

RULES = 3
"""In a rulebook, beside the house's rule of pitches."""
_ATTEMPTS = 15
_ROLES = ("author", "illustrator", "designer", "rights_holder", "editor", "commissioning_editor", "sales", "marketing")
_STAFF = ("rights_manager", "production_coordinator", "production_lead", "finance", "metadata_manager", "escalation_1")
_BUTTONS = {"yes": "Agreed", "no": "Not agreed", "other": "Ask"}
_AFTER = ("1 minute", "2 hours", "1 day", "2 working days at 10:00", "1 week", "5 working days")
_AT = ("{}", "2 working days before {}", "1 day after {}", "09:00 on the 2nd working day before {}")
_EVERY = ("monday at 09:00", "working day at 08:30", "1st working day of the month at 09:00")
_MOST_FOLLOW_UPS = 2
_UNLESS: tuple[Mapping[str, Any], ...] = (
    {"recipient.country": ["US"]},
    {"recipient.roles": {"includes": "author"}},
    {"recipient.language": "fr"},
    {"work.stage_key": "copyedit_assigned"},
    {"work.cancelled": True},
)
_FORM = """\
form: asked
welcome: pitch_welcome
fields:
  title: {max: 200, required: true}
  isbn: {type: isbn}
  day: {type: date, required: true}
  kind: {choose: [a, b]}
  paper: {document: [pdf], max_mb: 5}
confirm: asked_summary
record: acquisition.create
done: pitch_received
languages:
  en: {title: Title?, isbn: Which ISBN?, day: Which day?, kind: {ask: Which kind?, a: A, b: B}, paper: Send it.}
"""
_SUMMARY = """\
template: asked_summary
category: utility
version: 1
languages:
  en:
    body: "So it stands: {title}, {isbn}, {day}, {kind} and {paper}. Is it right?"
    buttons: {send: Send, change: Change, cancel: Cancel}
"""


@dataclass(frozen=True, slots=True)
class _Start:
    """Events that may start one rule, with the subject, the field of an ``at`` time, and the writes that they allow."""

    on: tuple[str, ...]
    about: tuple[str, ...]
    day: str | None = None
    until: str | None = None
    records: tuple[Mapping[str, Any], ...] = ()


_STARTS = (
    _Start(
        ("rights.approval_requested",),
        ("request_id",),
        "respond_by",
        "rights.request_withdrawn",
        tuple({"record": "rights.record_decision", "with": {"decision": each}} for each in ("approved", "declined")),
    ),
    _Start(("rights.approval_requested", "rights.request_changed"), ("request_id",), until="rights.request_withdrawn"),
    _Start(("rights.approval_requested", "metadata.confirmation_requested"), ("request_id",), "respond_by"),
    _Start(("rights.approval_requested", "work.stage_changed", "work.blocked"), ("work.work_id",)),
    _Start(
        ("schedule.date_set", "schedule.date_changed"),
        ("milestone_id",),
        "new_due",
        "milestone.completed",
        ({"record": "milestone.complete"},),
    ),
    _Start(("work.blocked",), ("block_id",), until="work.unblocked"),
    _Start(("royalty.statement_ready", "royalty.document_available"), ("payee.person_id",)),
    _Start(("rights.expiring",), ("work.work_id",), "expires_on"),
    _Start(("work.stage_changed",), ("work.work_id", "to_stage_key")),
    _Start(("metadata.confirmation_requested",), ("request_id",), "respond_by", None, ({"record": "metadata.apply"},)),
)
EVENTS = frozenset(name for start in _STARTS for name in (*start.on, start.until) if name is not None)


@dataclass(slots=True)
class _RandomRule:
    """One rule; ``templates`` are the texts that it says, each once, so that a message said twice is seen."""

    random: Random
    name: str
    roles: tuple[str, ...] = (*_ROLES, *_STAFF)
    templates: dict[str, str] = field(default_factory=dict)

    def write(self) -> dict[str, Any]:
        why = {"en": "You work on this title."}
        head = {
            "rule": self.name,
            "owner": "rights",
            "why": why,
            "severity": self._one_of(("info", "info", "critical")),
        }
        if self.random.random() < 0.3:
            head["on_change"] = self._one_of(("migrate", "cancel"))
        return head | (self._recurring() if self.random.random() < 0.15 else self._started(self._one_of(_STARTS)))

    def _recurring(self) -> dict[str, Any]:
        start, self.roles = _Start((), ()), _STAFF
        steps = [self._ask(start, []), *self._later_steps(start, [])]
        return {"every": self._one_of(_EVERY), "steps": [*steps, {"after": "2 weeks", "give_up": "left"}]}

    def _started(self, start: _Start) -> dict[str, Any]:
        parties = sorted(frozenset.intersection(*map(party_fields, start.on)))
        joins = self.random.random() < 0.2
        first = ({"after": "1 minute"} if joins else {}) | self._first_step(start, parties)
        steps = [first, *self._later_steps(start, parties), self._give_up()]
        about = (
            sorted({*start.about, "work.work_id"}) if joins and "payee.person_id" not in start.about else start.about
        )
        rule: dict[str, Any] = {"on": list(start.on), "about": list(about), "steps": steps}
        rule["on_repeat"] = "join" if joins else self._one_of(("replan", "ignore"))
        if start.day == "new_due":
            rule["if"] = {"new_due": {"exists": True}}
        if "'record'" in repr(steps):
            rule["restarts"] = {"at_most": 5, "within": "1 day"}
        if start.until is not None:
            told: dict[str, Any] = {"tell": self._one_of(("told", "rights_manager")), "say": self._words("late")}
            rule["until"] = [{"on": start.until} | (told if self.random.random() < 0.5 else {})]
        return rule

    def _first_step(self, start: _Start, parties: list[str]) -> dict[str, Any]:
        return self._ask(start, parties) if self.random.random() < 0.7 else self._tell(parties)

    def _later_steps(self, start: _Start, parties: list[str]) -> Iterator[dict[str, Any]]:
        for _ in range(self.random.randint(0, 4)):
            verb = self._one_of(("tell", "ask", "hand_over", "remind", "record"))
            if verb == "remind":
                step: dict[str, Any] = {"remind": "unanswered", "say": self._words("remind", _BUTTONS)}
            elif verb == "hand_over":
                step = {
                    "hand_over": self._who([], _STAFF),
                    "say": self._words("take", {"take": "Take", "not_me": "No"}),
                }
            elif verb == "record" and start.records:
                step = dict(self._one_of(start.records))
            else:
                step = self._ask(start, parties) if verb == "ask" else self._tell(parties)
            yield self._time(start, verb) | step | self._further(step)

    def _time(self, start: _Start, verb: str) -> dict[str, Any]:
        if start.day is not None and self.random.random() < 0.3:
            return {"at": self._one_of(_AT).format(start.day)}
        return {"after": self._one_of(_AFTER)} if verb == "remind" or self.random.random() < 0.7 else {}

    def _further(self, step: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "record" not in step and self.random.random() < 0.25:
            found["unless"] = self._one_of(_UNLESS)
        if "record" not in step and self.random.random() < 0.2:
            found["cc"] = self._one_of(_STAFF)
        return found

    def _give_up(self) -> dict[str, Any]:
        end = {"after": self._one_of(("2 weeks", "3 days")), "give_up": "no answer"}
        told = {"tell": self._one_of(("told", "unanswered", "rights_manager")), "say": self._words("late")}
        return end | (told if self.random.random() < 0.4 else {})

    def _tell(self, parties: list[str]) -> dict[str, Any]:
        return {"tell": self._who(parties), "say": self._words("tell")}

    def _ask(self, start: _Start, parties: list[str], depth: int = 0) -> dict[str, Any]:
        answers = {button: self._answer(start, parties, depth) for button in _BUTTONS}
        if all(answer.get("quorum") is None for answer in answers.values()):
            for answer in answers.values():
                answer.pop("veto", None)  # the first answer decides anyway
        return {"ask": self._who(parties), "say": self._words("ask", _BUTTONS), "answers": answers}

    def _answer(self, start: _Start, parties: list[str], depth: int) -> dict[str, Any]:
        verb = self._one_of(("tell", "sender", "continue", "record", "hand_over", "ask", "collect"))
        reply = {"tell": "sender", "say": self._words("reply")}
        if verb == "continue":
            return reply | {"continue": True}
        if verb == "collect":
            return {"collect": "sender", "form": "asked"}
        if verb == "hand_over" or (verb == "ask" and depth < _MOST_FOLLOW_UPS):
            offer = {"hand_over": self._who([], _STAFF)}
            goes_on = offer if verb == "hand_over" else self._ask(start, parties, depth + 1)
            return goes_on | ({"veto": True} if self.random.random() < 0.3 else {})
        told = self._tell(parties) if verb == "tell" else reply
        answer = dict(self._one_of(start.records)) if verb == "record" and start.records else told
        further: dict[str, Any] = self._one_of(({}, {}, {"veto": True}, {"quorum": "all"}, {"quorum": 2}))
        return answer | further

    def _who(self, parties: list[str], roles: tuple[str, ...] = ()) -> list[str]:
        pool = [*(roles or self.roles), *parties * 4]
        return sorted({self._one_of(pool) for _ in range(self._one_of((1, 1, 1, 2, 3)))})

    def _words(self, kind: str, buttons: Mapping[str, str] | None = None) -> str:
        name = f"{kind}_{self.name[-1]}_{len(self.templates)}"
        text: dict[str, Any] = {"body": f"This is {name} about “{{title}}” for you."}
        if buttons is not None:
            text["buttons"] = dict(buttons)
        head = {"template": name, "category": "utility", "version": 1}
        self.templates[name] = as_yaml(head | {"languages": {"en": text}})
        return name

    def _one_of(self, choices: Any) -> Any:
        return self.random.choice(choices)


def as_yaml(value: object) -> str:
    """YAML 1.2, in which ``yes``, ``no`` and ``on`` are words."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
    return text.replace("'yes'", "yes").replace("'no'", "no").replace("'on'", "on")


@cache
def random_rulebook(seed: int) -> Rulebook:
    """A rulebook of rules that ``check`` lets stand, always the same for a seed."""
    random, made = Random(seed), 0
    house = read_folder(FOLDER).items()
    files = {name: text for name, text in house if not name.endswith((RULE, STORIES)) or "pitch-intake.rule" in name}
    files |= {"asked.form.yaml": _FORM, "asked_summary.template.yaml": _SUMMARY}
    for _ in range(_ATTEMPTS):
        rule = _RandomRule(random, f"random-{made}")
        more = {f"{rule.name}{RULE}": as_yaml(rule.write())}
        more |= {f"{name}.template.yaml": text for name, text in rule.templates.items()}
        if made < RULES and not check_files(files | more, tested=False).faults:
            files, made = files | more, made + 1
    assert made, "none of the random rules may stand"
    return check_files(files, tested=False).rulebook
