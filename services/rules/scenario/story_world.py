"""The people of a story, the facts it sets, and its events.

Events are the golden events of the contracts, with the story's values and people laid over them.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import orjson
from msgspec import ValidationError

from services.rules.conversation.fact_values import Consent, PersonFacts, RightsFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.rulebook.catalogue import STAFF_ROLES, fields_of_model, party_fields
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.model import Rulebook, StaffDirectory, StandIn
from services.rules.scenario.story_file import Story, StoryPerson, UnplayableStep
from shared.clients.working_calendar import WorkingCalendar, resolve_zone
from shared.contracts import consonance
from shared.contracts.consonance import (
    Component,
    ComponentChanged,
    ComponentState,
    ObservedComponent,
    PubDateChanged,
    PublishingStatusChanged,
    StageChanged,
    WorkEventData,
    WorkObserved,
)
from shared.contracts.envelope import EventData
from shared.contracts.errors import Misconfigured
from shared.contracts.golden import golden
from shared.contracts.ids import ContactId, PersonId, RuleId, TenantId, derive_id, person_id_of_contact
from shared.contracts.values import Value, convert, describe_error, to_builtins
from shared.contracts.vocabulary import Role, WorkRef

TENANT = TenantId("story")


def overlay(document: Any, changes: Mapping[str, object]) -> Any:
    """A new document with ``changes`` by dotted or nested path; neither argument is changed.

    None removes a field, a number is an index of a list, and a list is replaced whole.
    """
    for path, value in changes.items():
        document = _put(document, path.split("."), value)
    return document


def _put(document: Any, path: Sequence[str], value: object) -> Any:
    if not path:
        if isinstance(value, Mapping):
            return overlay(document if isinstance(document, Mapping) else {}, value)
        return value
    head, *rest = path
    if isinstance(document, list) and head.isdecimal():
        return [_put(each, rest, value) if index == int(head) else each for index, each in enumerate(document)]
    entries = dict(document) if isinstance(document, Mapping) else {}
    if rest or value is not None:
        return {**entries, head: _put(entries.get(head), rest, value)}
    entries.pop(head, None)
    return entries


@cache
def golden_data(kind: str) -> Mapping[str, Any]:
    """Read once, as most stories begin with one; not to be changed."""
    data: Mapping[str, Any] = orjson.loads(golden(kind))["data"]
    return data


# ------------------------------------------------------------------ people


@dataclass(frozen=True, slots=True)
class StoryPeople:
    """The people of a story by the number that the story gives them; no other people are known to the rules in it.

    ``book`` has them in place of people.yaml. ``outside`` are the people outside the publisher, with their role.
    ``strangers`` are persons that only an event names.
    """

    book: Rulebook
    people: dict[ContactId, PersonFacts]
    consent: dict[PersonId, Consent]
    outside: tuple[tuple[PersonFacts, str], ...]
    strangers: dict[PersonId, ContactId] = field(default_factory=dict)

    def party_of(self, contact: ContactId, like: Mapping[str, Any]) -> dict[str, Any]:
        """A party of an event: ``like``, but with this person's ids and name."""
        known = self.people.get(contact)
        if known is None:
            stranger = person_id_of_contact(TENANT, contact)
            self.strangers[stranger] = contact
            return {"display_name": f"Person {contact}", **like, "contact_id": contact, "person_id": stranger}
        ids = {"contact_id": known.contact_id, "person_id": known.person_id, "display_name": known.display_name}
        return {**like, **ids}

    def contact_of(self, person: PersonFacts) -> ContactId:
        return next(contact for contact, known in self.people.items() if known is person)

    def name_of(self, person_or_role: str) -> ContactId | str:
        """The number by which the story calls a person; a role that no person fills keeps its name."""
        known = {person.person_id: contact for contact, person in self.people.items()}
        person = PersonId(person_or_role)
        return known.get(person) or self.strangers.get(person) or person_or_role


def make_people(story: Story, book: Rulebook) -> StoryPeople:
    """Each person with a staff role, or in a team, is staff."""
    rule = book.rules.get(RuleId(story.rule))
    teams = _teams(story, book, rule.owner if rule else book.people.inbox)
    people = {contact: _person(contact, each, book) for contact, each in story.people.items()}
    opted_out = (people[contact].person_id for contact, each in story.people.items() if each.opted_out)
    return StoryPeople(
        book=replace(book, people=_staff(story, book, teams)),
        people=people,
        consent={person: Consent(opted_out_at=story.start) for person in opted_out},
        outside=tuple((people[contact], role) for contact, role in _outside_roles(story, book)),
    )


def _staff(story: Story, book: Rulebook, teams: dict[str, dict[str, tuple[ContactId, ...]]]) -> StaffDirectory:
    stand_ins = tuple(
        StandIn(absent, contact, first=each.from_, last=each.to)
        for contact, each in story.people.items()
        for absent in each.stands_in_for
    )
    return replace(book.people, teams=teams, imprints={}, stands_in=stand_ins)


def _teams(story: Story, book: Rulebook, owner: str) -> dict[str, dict[str, tuple[ContactId, ...]]]:
    """Every team of the book exists, because it may own a rule; only the people of the story are in them."""
    filled: defaultdict[tuple[str, str], list[ContactId]] = defaultdict(list)
    for contact, each in story.people.items():
        for role in each.roles:
            for team in _teams_of(each, role, book, owner):
                filled[team, role].append(contact)
    teams: dict[str, dict[str, tuple[ContactId, ...]]] = {team: {} for team in book.people.teams}
    for (team, role), contacts in filled.items():
        teams.setdefault(team, {})[role] = tuple(contacts)
    return teams


def _teams_of(each: StoryPerson, role: str, book: Rulebook, owner: str) -> Iterator[str]:
    if each.team is not None:
        yield each.team
    elif _is_staff_role(role, book):
        yield next((team for team, roles in book.people.teams.items() if role in roles), owner)


def _is_staff_role(role: str, book: Rulebook) -> bool:
    return role in STAFF_ROLES or any(role in roles for roles in book.people.teams.values())


def _outside_roles(story: Story, book: Rulebook) -> Iterator[tuple[ContactId, str]]:
    """People outside the publisher who work on the title; Consonance lists its contacts only."""
    for contact, each in story.people.items():
        for role in each.roles:
            if not (each.visitor or each.team or _is_staff_role(role, book)):
                yield contact, role


def _person(number: ContactId, each: StoryPerson, book: Rulebook) -> PersonFacts:
    visitor = PersonId("v" + derive_id(TENANT, "visitor", number))
    return PersonFacts(
        person_id=visitor if each.visitor else person_id_of_contact(TENANT, number),
        contact_id=None if each.visitor else number,
        display_name=each.name or f"Person {number}",
        country=each.country or None,
        subdivision=each.subdivision,
        language=each.language or None,
        zone=resolve_zone(each.zone, each.country, None, book.calendar.office.zone),
        roles=tuple(role for role in each.roles if role in set(Role)),
        reachable=each.reachable,
    )


# ------------------------------------------------------------------ events


def event_data(event: str, values: Mapping[str, object], people: StoryPeople) -> EventData:
    """Raises UnplayableStep where the values make no such event."""
    kind = consonance.kind_of(event)
    model = consonance.KINDS[kind]
    for path in values:
        _refuse_unknown(event, path, model.__struct_encode_fields__)
    like = golden_data(kind)
    document: dict[str, Any] = {**overlay(like, values)}
    for name in party_fields(event):
        if name in document:
            document[name] = _parties(document[name], like.get(name), people)
    try:
        return convert(model, document)
    except ValidationError as error:
        raise UnplayableStep(f"there is no such event: {_in_plain_words(describe_error(error, model))}") from None


_WRONG_TYPE = re.compile(r"Expected ([a-z| ]+), got ([a-z]+)")
_TYPES: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping, like {key: value}",
    "date": "a date, like 2027-03-19",
    "null": "nothing",
}


def _in_plain_words(sentence: str) -> str:
    """The sentence of the decoder without the words of programming."""
    sentence = sentence.replace("Invalid RFC3339 encoded datetime", "it is no instant, like 2027-03-03T10:00:00Z")
    sentence = sentence.replace("Invalid RFC3339 encoded date", "it is no date, like 2027-03-19")
    found = _WRONG_TYPE.search(sentence)
    if found is None:
        return sentence
    wanted = [_TYPES.get(each, each) for each in found[1].split(" | ") if each != "null"]
    return sentence.replace(found[0], f"it is {_TYPES.get(found[2], found[2])}; {' or '.join(wanted)} belongs here")


def _parties(given: Any, like: Any, people: StoryPeople) -> Any:
    """A contact id stands for a person in the role that the golden event has there."""
    if not isinstance(given, list):
        return _party(given, like, people)
    models = like if isinstance(like, list) and like else [{}]
    return [_party(each, models[min(index, len(models) - 1)], people) for index, each in enumerate(given)]


def _party(given: Any, like: Any, people: StoryPeople) -> Any:
    if isinstance(given, int):
        return people.party_of(ContactId(given), like if isinstance(like, Mapping) else {})
    if isinstance(given, Mapping) and "contact_id" in given:
        return people.party_of(ContactId(given["contact_id"]), {**({} if like is None else like), **given})
    return given


def _refuse_unknown(owner: str, path: str, known: Sequence[str]) -> None:
    name = path.partition(".")[0]
    if name not in known:
        raise UnplayableStep(f"{owner} has no “{name}”{_hint(name, known)}")


def _hint(word: str, known: Sequence[str]) -> str:
    near = nearest_word(word, known)
    return f"; did you mean “{near}”?" if near else ""


# ------------------------------------------------------------------ facts

_LARGEST_COUNT = 3650
_WORK_STATE = ("stage_key", "cancelled", "embargo_until")
_LAUNCH = (Component.FRONT_COVER, Component.JACKET_COPY, Component.METADATA)
_OTHER_FACTS = ("rights", "sender")


@cache
def known_facts() -> Mapping[str, tuple[str, ...]]:
    """The facts that a story can set, by path, with the values of those that have a closed set of them."""
    work = {f"work.{spec.path}": spec.values for spec in fields_of_model(WorkRef)}
    state = {f"work.{spec.path}": spec.values for spec in fields_of_model(WorkObserved) if spec.path in _WORK_STATE}
    components = {f"launch.{component}": tuple(ComponentState) for component in Component}
    rights = {f"rights.{spec.path}": spec.values for spec in fields_of_model(RightsFacts)}
    others = ("work.open_blocks", "days_to.pub_date", "days_to.planned_pub_date", "launch.complete")
    return {**work, **state, **components, **rights, **dict.fromkeys((*others, "sender.open_acquisition"), ())}


def refuse_fact(path: str, value: object, book: Rulebook, now: datetime) -> None:
    """Raises UnplayableStep where no work, rights record or person can have this value."""
    facts = Facts(TENANT)
    facts.set_work(WorkFacts(state=convert(WorkObserved, golden_data(WorkObserved.kind))))
    with suppress(Misconfigured):  # the house has no working day, which is reported
        StoryFacts(StoryPeople(book, {}, {}, ()), facts).set_facts({path: value}, now)


@dataclass(slots=True)
class StoryFacts:
    """Keeps the works, rights records and people of ``facts`` as the story's own facts and events make them."""

    people: StoryPeople
    facts: Facts
    _set: dict[str, object] = field(default_factory=dict)

    def set_facts(self, changes: Mapping[str, object], now: datetime) -> None:
        """Set facts from now on, for every work and record of the story. Raises UnplayableStep for what is no fact."""
        self._set.update(changes)
        for work in list(self.facts.works.values()):
            self.facts.set_work(self._change_work(work, changes, now))
        _set_sender_facts(self.facts, self.people, changes)
        _set_rights_facts(self.facts, changes)

    def apply_event(self, data: EventData, now: datetime) -> None:
        """Make known the state that this event says has changed; Consonance reports state before change."""
        if not isinstance(data, WorkEventData):
            return
        work = self.facts.works.get(data.work.work_id) or self._change_work(self._new_work(data.work), self._set, now)
        state = _CHANGES.get(type(data), _unchanged)(work.state.replace(work=data.work), data)
        self.facts.set_work(work.replace(state=state))

    def _new_work(self, work: WorkRef) -> WorkFacts:
        """A work with nothing ready for its launch, on which the people outside the publisher work."""
        document = overlay(golden_data(WorkObserved.kind), {"components": [], "embargo_until": None})
        outside = self.people.outside
        people = [self.people.party_of(self.people.contact_of(person), {"role": role}) for person, role in outside]
        return WorkFacts(state=convert(WorkObserved, {**document, "work": work, "people": people}))

    def _change_work(self, work: WorkFacts, changes: Mapping[str, object], now: datetime) -> WorkFacts:
        for path, value in changes.items():
            head, _, name = path.partition(".")
            if path == "work.open_blocks":
                work = work.replace(blocks=tuple(f"block-{n}" for n in range(_count(path, value))))
            elif head in _WORK_FACTS:
                change = FactChange(name, value, work.state, now.date(), self.people.book.calendar.office)
                work = work.replace(state=_overlay_state(work.state, path, _WORK_FACTS[head](change)))
            elif head not in _OTHER_FACTS:
                raise UnplayableStep(f"“{path}” is no fact a story can set{_hint(head, (*_WORK_FACTS, *_OTHER_FACTS))}")
        return work


@dataclass(frozen=True, slots=True)
class FactChange:
    """A new value of the fact ``name`` of a work."""

    name: str
    value: object
    state: WorkObserved
    today: date
    office: WorkingCalendar


def _work_fact(change: FactChange) -> Mapping[str, object]:
    _refuse_unknown("“work”", change.name, (*_WORK_STATE, *WorkRef.__struct_fields__))
    return {change.name if change.name in _WORK_STATE else f"work.{change.name}": change.value}


def _launch_fact(change: FactChange) -> Mapping[str, object]:
    components = {one.component: one.state for one in change.state.components}
    if change.name == "complete" and not isinstance(change.value, bool):
        raise UnplayableStep("“launch.complete” cannot be that: true or false belongs here")
    if change.name == "complete":
        components |= dict.fromkeys(_LAUNCH, ComponentState.FINAL if change.value else ComponentState.DRAFT)
    elif change.name in set(Component):
        components[Component(change.name)] = ComponentState(str(change.value))
    else:
        raise UnplayableStep(f"of a launch a story can set complete, or a component: {', '.join(Component)}")
    return {"components": [{"component": one, "state": its} for one, its in components.items()]}


def _days_to_fact(change: FactChange) -> Mapping[str, object]:
    """Working days of the office from today; below zero it is past, by calendar days."""
    days = _count(f"days_to.{change.name}", change.value)
    after = change.office.working_day_after(change.today, days) if days > 0 else change.today + timedelta(days=days)
    return {f"products.{index}.{change.name}": after for index in range(len(change.state.products))}


_WORK_FACTS: Mapping[str, Callable[[FactChange], Mapping[str, object]]] = {
    "work": _work_fact,
    "launch": _launch_fact,
    "days_to": _days_to_fact,
}


def _count(path: str, value: object) -> int:
    if not isinstance(value, int) or abs(value) > _LARGEST_COUNT:
        raise UnplayableStep(f"“{path}” is a number, at most {_LARGEST_COUNT}")
    return value


def _overlay_state(state: WorkObserved, path: str, changes: Mapping[str, object]) -> WorkObserved:
    try:
        return convert(WorkObserved, overlay(to_builtins(state), changes))
    except ValidationError as error:
        raise UnplayableStep(_no_such_value(path, error, WorkObserved)) from None


def _no_such_value(path: str, error: ValidationError, of: type[Value]) -> str:
    """The sentence about a fact that cannot have its value, without the name of the field within it."""
    sentence = describe_error(error, of)
    within, _, reason = sentence.partition(": ")
    return f"“{path}” cannot be that: {_in_plain_words(reason if reason and ' ' not in within else sentence)}"


def _set_sender_facts(facts: Facts, people: StoryPeople, changes: Mapping[str, object]) -> None:
    for path, value in changes.items():
        if path == "sender.open_acquisition":
            for person in people.people.values():
                facts.set_acquisition(person.person_id, None if value is None else str(value))
        elif path.startswith("sender."):
            raise UnplayableStep("of a sender only open_acquisition is a fact; the rest is in “people”")


def _set_rights_facts(facts: Facts, changes: Mapping[str, object]) -> None:
    rights = {path.removeprefix("rights."): value for path, value in changes.items() if path.startswith("rights.")}
    for path in rights:
        _refuse_unknown("“rights”", path, RightsFacts.__struct_fields__)
    if isinstance(count := rights.get("open_requests"), int):
        rights["open_requests"] = [f"R-{n}" for n in range(_count("rights.open_requests", count))]
    record_id = str(golden_data("consonance.rights.approval_requested.v1")["rights_record_id"])
    for each in {record_id, *facts.records} if rights else ():
        known = to_builtins(facts.records.get(each, RightsFacts()))
        try:
            facts.set_rights_record(each, convert(RightsFacts, {**known, **rights}))
        except ValidationError as error:
            wrong = next((path for path in rights if str(error).endswith(f"`$.{path}`")), next(iter(rights)))
            raise UnplayableStep(_no_such_value(f"rights.{wrong}", error, RightsFacts)) from None


# ------------------------------------------------------------------ the state that an event changes


def _unchanged(state: WorkObserved, _data: Any) -> WorkObserved:
    return state


def _change_stage(state: WorkObserved, data: StageChanged) -> WorkObserved:
    return state.replace(stage_key=data.to_stage_key)


def _change_component(state: WorkObserved, data: ComponentChanged) -> WorkObserved:
    others = (one for one in state.components if one.component is not data.component)
    return state.replace(components=(*others, ObservedComponent(component=data.component, state=data.state)))


def _change_product(state: WorkObserved, data: PubDateChanged | PublishingStatusChanged) -> WorkObserved:
    others = tuple(product for product in state.products if product.product_id != data.product.product_id)
    return state.replace(products=(*others, data.product))


_CHANGES: Mapping[type[EventData], Callable[[WorkObserved, Any], WorkObserved]] = {
    StageChanged: _change_stage,
    ComponentChanged: _change_component,
    PubDateChanged: _change_product,
    PublishingStatusChanged: _change_product,
}
