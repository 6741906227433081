"""Makes the opening of a story in which a rule starts: people, facts and an event with values that its condition needs.

Events are the golden ones, changed where the condition or a time of the rule needs it. An opening can be played, to
find out whether the rule starts in it, and written as a story file with what follows.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any

from services.rules.conversation.recurrence import next_occurrence
from services.rules.matching.satisfiability import PRESENT, SampleValues, solutions
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.catalogue import (
    MESSAGE_RECEIVED,
    RECIPIENT,
    STAFF_ROLES,
    FieldSpec,
    FieldType,
    party_fields,
    resolve,
)
from services.rules.rulebook.model import At, Condition, Every, Listing, Rule, Rulebook, Team
from services.rules.rulebook.periods import PERIODS
from services.rules.scenario.comparison import ObservedEffect
from services.rules.scenario.player import StoryPlayer
from services.rules.scenario.story_file import EffectKind, EventStep, Story, StoryStep, read_stories
from services.rules.scenario.story_world import golden_data
from shared.clients.public_holidays import has_subdivision
from shared.contracts import consonance
from shared.contracts.errors import StetError
from shared.contracts.ids import RuleId
from shared.contracts.vocabulary import Role, WorkRef

START = datetime(2027, 3, 3, 10, tzinfo=UTC)
"""A Wednesday morning, in no holidays."""
_AHEAD = date(2027, 5, 5)
"""The date in every field that a step is timed by."""
_SOON, _BEFORE_A_PERIOD = timedelta(days=7), timedelta(days=3)
_SENDER, _FIRST_STRANGER = 555, 9001
_ANY_PERSON = frozenset({"sender", "unanswered", "told", "awaited"})
_SET_BY_FACTS = frozenset({"launch", "days_to", "rights", "sender"})
_FIELD_OF_EVENT = {("rights.approval_requested", "rights.needs_signature"): "requires_signature"}
"""Facts that an event itself says."""
_WORK_STATE = frozenset({"work.stage_key", "work.cancelled", "work.embargo_until", "work.open_blocks"})


@dataclass(frozen=True, slots=True)
class StoryOpening:
    """The beginning of a story in which ``rule`` starts.

    ``people`` are as a story writes them, by contact id, and ``steps`` are the first steps, as a story writes them.
    ``beside`` are the rules whose open chains a recurring rule lists: they are played with it.
    """

    rule: str
    people: Mapping[int, Mapping[str, object]]
    steps: tuple[str, ...]
    beside: tuple[RuleId, ...] = ()

    def without(self, *, staff: bool) -> "StoryOpening":
        """The same opening, but the people outside the publisher have opted out; with ``staff``, members of staff have,
        too.
        """
        gone = {
            number: {**each, "opted_out": True} if staff or not _is_staff(each) else each
            for number, each in self.people.items()
        }
        return replace(self, people=gone)

    def in_country(self, country: str) -> "StoryOpening":
        """The same opening, but the people outside the publisher live in that country."""
        moved = {
            number: each if _is_staff(each) else {**each, "country": country} for number, each in self.people.items()
        }
        return replace(self, people=moved)

    def shared_with(self, other: "StoryOpening") -> "StoryOpening":
        """The same opening, but every second person is taken from the other one."""
        every_second = dict(list(other.people.items())[1::2])
        return replace(self, people={number: every_second.get(number, each) for number, each in self.people.items()})

    def text(self, sentence: str, more: tuple[str, ...] = ()) -> str:
        """A story file with this story."""
        people = "".join(f"    {number}: {flow(each)}\n" for number, each in self.people.items())
        steps = "".join(f"    - {step}\n" for step in (*self.steps, *more))
        start = f"{START:%Y-%m-%dT%H:%M:%SZ}"
        return f"- it: {sentence}\n  start: {start}\n  people:\n{people}  play:\n{steps}"

    def story(self, sentence: str = "goes on", more: tuple[str, ...] = ()) -> Story:
        return read_story(self.rule, self.text(sentence, more))


def read_story(rule: str, text: str) -> Story:
    """Raises ValueError for a text that is no story."""
    stories, faults = read_stories({f"{rule}.test.yaml": text})
    if faults or not stories:
        raise ValueError(f"{faults[0] if faults else 'there is no story'}:\n{text}")
    return stories[0]


@lru_cache(maxsize=4096)
def read_step(text: str) -> StoryStep:
    """A single step of a story."""
    return read_story(
        "step", f"- it: goes\n  start: 2027-03-03T10:00:00Z\n  people: {{}}\n  play:\n    - {text}\n"
    ).steps[0]


def flow(value: object) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {flow(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(flow, value))}]"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value not in _RESERVED else json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.]*")
_RESERVED = frozenset({"true", "false", "null"})


def _is_staff(person: Mapping[str, Any]) -> bool:
    return "team" in person or any(role in STAFF_ROLES for role in person.get("roles", ()))


# ------------------------------------------------------------------ an opening of a rule


def opening_of(book: Rulebook, rule: Rule, event: str, values: SampleValues) -> StoryOpening:
    """The opening at an event with these values; times of the rule lie ahead."""
    is_message = event == MESSAGE_RECEIVED
    if rule.every is not None:
        steps = _period_steps(book, rule.every)
    else:
        steps = _message_steps(book, values) if is_message else event_steps(rule, event, values)
    people = {number: _placed(each, values) for number, each in _people(book, rule, event, values).items()}
    return StoryOpening(rule.name, people, steps)


def _placed(person: Mapping[str, object], values: SampleValues) -> Mapping[str, object]:
    """The person with the country and language that a condition over the recipient needs; roles stay as they are."""
    placed = {key: values[f"{RECIPIENT}.{key}"] for key in _PLACES if values.get(f"{RECIPIENT}.{key}") is not None}
    if not has_subdivision(str(placed.get("country", person.get("country"))), str(placed.get("subdivision"))):
        placed.pop("subdivision", None)
    return {**person, **placed}


_PLACES = ("country", "subdivision", "language")


def event_steps(rule: Rule, event: str, values: SampleValues) -> tuple[str, ...]:
    """The facts, then the event."""
    wanted = {**_times_ahead(rule, event), **values}
    facts: dict[str, object] = {}
    of_event: dict[str, object] = {}
    for named, value in wanted.items():
        if value == PRESENT or "answers_a_question" in named or named.startswith(("chain.", "recipient.")):
            continue
        path = _FIELD_OF_EVENT.get((event, named), named)
        (facts if _is_fact(event, path) else of_event)[path] = list(value) if isinstance(value, tuple) else value
    with_ = f", with: {flow(of_event)}" if of_event else ""
    return (*([f"facts: {flow(facts)}"] if facts else []), f"{EVENT_STEP}{event}{with_}}}")


def _is_fact(event: str, path: str) -> bool:
    """Whether a story says it under ``facts``; what an event itself has comes before a fact of that name."""
    head, _, rest = path.partition(".")
    if head in _SET_BY_FACTS:
        return head not in golden_data(consonance.kind_of(event))
    return path in _WORK_STATE or (head == "work" and rest.partition(".")[0] not in WorkRef.__struct_fields__)


def _times_ahead(rule: Rule, event: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for step in rule.steps:
        if isinstance(step.timing, At) and (spec := resolve((event,), step.timing.field)) is not None:
            noon = datetime(_AHEAD.year, _AHEAD.month, _AHEAD.day, 12, tzinfo=UTC)
            if spec.type in {FieldType.DATE, FieldType.INSTANT}:
                found[spec.path] = noon if spec.type is FieldType.INSTANT else _AHEAD
    return found


def _period_steps(book: Rulebook, every: Every) -> tuple[str, ...]:
    """The waits until a recurring rule starts, which only time does. The last wait is one of days: chains that the rule
    lists may begin before it.
    """
    start = next_occurrence(every, book.calendar.office, START)
    if start is None:
        return ()
    days = (start.at - _BEFORE_A_PERIOD, start.at) if start.at - START > _SOON else (start.at,)
    return tuple(f"wait until: {flow(day)}" for day in days)


def _message_steps(book: Rulebook, values: SampleValues) -> tuple[str, ...]:
    line, text = values.get("line") or book.tenant.default_line, values.get("text") or "Good morning"
    facts = (
        {"sender.open_acquisition": values["sender.open_acquisition"]} if "sender.open_acquisition" in values else {}
    )
    reply = flow({"from": _SENDER, "text": text, "line": line})
    return (*([f"facts: {flow(facts)}"] if facts else []), f"reply: {reply}")


# ------------------------------------------------------------------ people


def _people(book: Rulebook, rule: Rule, event: str, values: SampleValues) -> dict[int, dict[str, object]]:
    """One person for every role that the rule addresses, and for each party of the event."""
    people: dict[int, dict[str, object]] = {}
    named = _parties(event, people)
    if event == MESSAGE_RECEIVED:
        known = bool(values.get("sender.known") or values.get("sender.roles"))
        roles = list(values.get("sender.roles") or ["author"]) if known else []  # type: ignore[call-overload]
        people[_SENDER] = {
            "country": values.get("sender.country") or "GB",
            **({"roles": roles} if known else {"visitor": True}),
        }
    strangers = iter(range(_FIRST_STRANGER, _FIRST_STRANGER + 500))
    teams = dict.fromkeys((rule.owner, book.people.inbox))
    for who in addressees_in(rule):
        if isinstance(who, Team):
            teams[who.name] = None
        elif who not in _ANY_PERSON and who not in named:
            _add(people, _contact_of(book, who) or next(strangers), _role_of(event, who))
    for team in teams:
        roles_of_team = list(book.people.teams.get(team, {}))
        if roles_of_team:
            people[next(strangers)] = {"roles": roles_of_team[:1], "team": team, "country": "GB"}
    return people


def _parties(event: str, people: dict[int, dict[str, object]]) -> frozenset[str]:
    """Adds the parties of the golden event; the names by which a rule may address them."""
    if event == MESSAGE_RECEIVED or event in PERIODS:
        return frozenset()
    data, named = golden_data(consonance.kind_of(event)), set[str]()
    for name in sorted(party_fields(event)):  # a set: its own order differs from run to run
        parties = data.get(name)
        for party in parties if isinstance(parties, list) else [parties] if parties else []:
            role, contact = str(party.get("role") or ""), party.get("contact_id")
            named |= {name, role}
            if contact is not None and role in set(Role):
                _add(people, int(contact), role)
    return frozenset(named)


def _add(people: dict[int, dict[str, object]], contact: int, role: str) -> None:
    known = people.setdefault(contact, {"roles": [], "country": "GB"})
    roles = known["roles"]
    if isinstance(roles, list) and role not in roles:
        roles.append(role)


def _role_of(event: str, who: str) -> str:
    """A party that the golden event does not name is played by a person of the work."""
    return who if who in set(Role) or who not in party_fields(event) else "author"


def _contact_of(book: Rulebook, role: str) -> int | None:
    return next(
        (ids[0] for roles in book.people.teams.values() for name, ids in roles.items() if name == role and ids), None
    )


def addressees_in(part: object) -> Iterator[str | Team]:
    """All people that a rule, or a part of it, addresses."""
    if isinstance(part, Mapping):
        for each in part.values():
            yield from addressees_in(each)
    elif isinstance(part, tuple):
        for each in part:
            yield from addressees_in(each)
    elif is_dataclass(part) and not isinstance(part, Team):
        for each in fields(part):
            value = getattr(part, each.name)
            if each.name in {"who", "cc"} and isinstance(value, tuple):
                yield from value
            else:
                yield from addressees_in(value)


# ------------------------------------------------------------------ one opening several times

EVENT_STEP = "{event: "
"""The beginning of a step that is an event."""
_FIRST_NUMBER = 7001


def with_repeated_events(rule: Rule, opening: StoryOpening, times: int) -> StoryOpening | None:
    """The opening with so many events, each about something else; fewer where there are no more things.

    None for a rule that a message starts.
    """
    *before, last = opening.steps
    step = read_step(last)
    if not isinstance(step, EventStep) or step.event == MESSAGE_RECEIVED:
        return None
    changes = _different_subjects(rule, step.event, times)
    events = (f"{EVENT_STEP}{step.event}, with: {flow({**step.values, **change})}}}" for change in changes)
    return replace(opening, steps=(*before, *events))


def _different_subjects(rule: Rule, event: str, times: int) -> Sequence[Mapping[str, object]]:
    """Values of one field of ``about``; nothing has to change where the event itself is the subject."""
    if not rule.about:
        return ({},) * times
    for name in rule.about:
        spec = resolve((event,), name)
        values = _different_values(spec, times) if spec is not None else ()
        if len(values) > 1:
            return [{name: value} for value in values]
    return ({},)


def _different_values(spec: FieldSpec, times: int) -> Sequence[object]:
    if spec.values:
        return spec.values[:times]
    if spec.path.endswith("person_id"):  # another person's messages are none of this one's
        return ()
    match spec.type:
        case FieldType.NUMBER:
            return range(_FIRST_NUMBER, _FIRST_NUMBER + times)
        case FieldType.TEXT if spec.code is None:
            return [f"mix-{number}" for number in range(1, times + 1)]
        case _:
            return ()


def own_rules(book: Rulebook) -> list[Rule]:
    """The rules of the publisher, without those of the service itself."""
    return [rule for name, rule in book.rules.items() if not name.startswith(RESERVED_PREFIX)]


# ------------------------------------------------------------------ playing an opening

MOST_OPENINGS = 12
"""Openings of one event that are tried, each with other values."""
LONG_WAIT = "wait: 400 days"
"""The step of a story after which everything that was due has happened."""


def with_rules_only(book: Rulebook, *rules: Rule) -> Rulebook:
    """The rulebook with these rules and no others."""
    return replace(book, rules={rule.name: rule for rule in rules})


UNPLAYABLE = (StetError, ValueError, TypeError, LookupError)
"""The errors of steps that go together with no rulebook, or not with this one."""


def play_opening(book: Rulebook, opening: StoryOpening, path: Iterable[str] = ()) -> StoryPlayer:
    """A player after the steps of an opening, and those of ``path``. Raises one of UNPLAYABLE."""
    player = StoryPlayer.of(opening.story(), book, has_second_engine=False)
    for step in (*opening.steps, *path):
        player.play(read_step(step))
    return player


def next_wait(player: StoryPlayer, due: datetime) -> str:
    """The step that waits until an instant, or not at all where it has passed."""
    return f"wait until: {flow(max(due, player.simulation.now).replace(microsecond=0))}"


def find_start(book: Rulebook, rule: Rule, event: str, condition: Condition) -> tuple[StoryOpening | None, int]:
    """The first opening in which the rule starts, and how many sets of values were tried."""
    tried = 0
    for values in islice(solutions(condition, event), MOST_OPENINGS):
        tried += 1
        for opening in _openings_with(book, rule, event, values):
            if _starts(rulebook_with(book, rule, opening), rule, opening):
                return opening, tried
    return None, tried


def _openings_with(book: Rulebook, rule: Rule, event: str, values: SampleValues) -> Iterator[StoryOpening]:
    """The opening with these values; of a rule with a list one for each rule whose chains it may list."""
    opening = opening_of(book, rule, event, values)
    count = values.get("open.count", 1)
    if rule.listing is not None and opening.steps and isinstance(count, int) and count > 0:
        yield from _with_open_chains(book, rule.listing, opening, count)
    yield opening


def _with_open_chains(book: Rulebook, listing: Listing, opening: StoryOpening, count: int) -> Iterator[StoryOpening]:
    listed = (
        rule for rule in own_rules(book) if rule.every is None and (not listing.rules or rule.name in listing.rules)
    )
    for rule in islice(listed, MOST_OPENINGS):
        before, _ = find_start(book, rule, rule.events[0], rule.condition)
        if before is not None and (before := with_repeated_events(rule, before, count) or before):
            people = {**opening.people, **before.people}
            *waits, start = opening.steps
            yield replace(opening, people=people, steps=(*waits, *before.steps, start), beside=(rule.name,))


def rulebook_with(book: Rulebook, rule: Rule, opening: StoryOpening) -> Rulebook:
    """The rulebook with the rule and those that are played beside it."""
    return with_rules_only(book, rule, *(book.rules[name] for name in opening.beside))


def _starts(book: Rulebook, rule: Rule, opening: StoryOpening) -> bool:
    try:
        player = play_opening(book, opening)
    except UNPLAYABLE:
        return False
    return any(chain.rule == rule.name for chain in player.simulation.facts.chains.values())


def played_story(book: Rulebook, opening: StoryOpening, path: Iterable[str], sentence: str) -> str:
    """The story file of these moves, which expects what happens now; ``sentence`` says what the rule does."""
    written: list[str] = []
    player = StoryPlayer.of(opening.story(), book, has_second_engine=False)
    for step in (*opening.steps, *path):
        player.play(read_step(step))
        effects = player.observed()
        written.append(step)
        if effects or step == LONG_WAIT:
            written.append(f"expect: [{', '.join(map(_short, effects))}]" if effects else "expect: nothing")
    return replace(opening, steps=()).text(sentence, tuple(written))


def _short(effect: ObservedEffect) -> str:
    match effect.kind:
        case EffectKind.RECORD:
            return f"{{record: {effect.record}}}"
        case EffectKind.LEFT_OUT | EffectKind.END:
            return str(effect)
        case _:
            return f"{{{effect.kind}: {effect.person}, say: {effect.template}, language: {effect.language}}}"
