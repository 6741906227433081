"""What is known in a story besides what happens in it: the work, its launch and dates, the rights record.

State travels before change: what an event changes is known to be so when the event is judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec import ValidationError

from services.rules.conversation.facts import Facts, RightsFacts, WorkFacts
from services.rules.rulebook.faults import nearest_word
from services.rules.story.cast import Cast
from services.rules.story.changes import laid_over
from services.rules.story.happening import golden_data
from services.rules.story.model import Unplayable
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
from shared.contracts.values import convert, describe_error, to_builtins
from shared.contracts.vocabulary import WorkRef

_MOST = 3650
_STATE = ("stage_key", "cancelled", "embargo_until")
_LAUNCH = (Component.FRONT_COVER, Component.JACKET_COPY, Component.METADATA)


@dataclass(slots=True)
class Setting:
    cast: Cast
    facts: Facts
    _facts: dict[str, object] = field(default_factory=dict)

    def known(self, changes: Mapping[str, object], now: datetime) -> None:
        """From now on, of every work and record of the story."""
        self._facts.update(changes)
        for work in list(self.facts.works.values()):
            self.facts.set_work(self._with(work, changes, now))
        _apply_to_people(self.facts, self.cast, changes)
        _apply_to_records(self.facts, changes)

    def before(self, data: EventData, now: datetime) -> None:
        """Make known what this event says has changed."""
        if not isinstance(data, WorkEventData):
            return
        known = self.facts.works.get(data.work.work_id) or self._with(self._new(data.work), self._facts, now)
        state = _CHANGES.get(type(data), _unchanged)(known.state.replace(work=data.work), data)
        self.facts.set_work(known.replace(state=state))

    def _new(self, work: WorkRef) -> WorkFacts:
        """A work that is nowhere near its launch; the cast from outside the house works on it."""
        told = laid_over(golden_data(WorkObserved.kind), {"components": [], "embargo_until": None})
        people = [self.cast.party(self.cast.call(person), {"role": role}) for person, role in self.cast.on_the_work]
        return WorkFacts(state=convert(WorkObserved, {**told, "work": work, "people": people}))

    def _with(self, work: WorkFacts, changes: Mapping[str, object], now: datetime) -> WorkFacts:
        for path, value in changes.items():
            head, _, rest = path.partition(".")
            if head == "work" and rest == "open_blocks":
                work = work.replace(blocks=tuple(f"block-{n}" for n in range(_number(path, value))))
            elif head in _OF_WORK:
                changes = _OF_WORK[head](self, work.state, rest, value, now)
                work = work.replace(state=_changed(work.state, path, changes))
            elif head not in _ELSEWHERE:
                hint = nearest_word(head, (*_OF_WORK, *_ELSEWHERE))
                raise Unplayable(f"“{path}” is no fact a story can set" + (f"; did you mean “{hint}”?" if hint else ""))
        return work

    def _work(self, _state: WorkObserved, rest: str, value: object, _now: datetime) -> Mapping[str, object]:
        _refuse_unknown("work", rest, (*_STATE, *WorkRef.__struct_fields__))
        return {rest: value} if rest in _STATE else {f"work.{rest}": value}

    def _launch(self, state: WorkObserved, rest: str, value: object, _now: datetime) -> Mapping[str, object]:
        components = {seen.component: seen.state for seen in state.components}
        if rest == "complete":
            components |= dict.fromkeys(_LAUNCH, ComponentState.FINAL if value else ComponentState.DRAFT)
        elif rest in set(Component):
            components[Component(rest)] = ComponentState(str(value))
        else:
            raise Unplayable(f"of a launch a story can set complete, or a component: {', '.join(Component)}")
        return {"components": [{"component": one, "state": its} for one, its in components.items()]}

    def _days_to(self, state: WorkObserved, rest: str, value: object, now: datetime) -> Mapping[str, object]:
        """Working days of the house from today; below zero it is past."""
        office = self.cast.book.calendar.office
        days = _number(f"days_to.{rest}", value)
        day = now.date() if days == 0 else office.working_day_after(now.date(), days)
        day = now.date() + timedelta(days=days) if days < 0 else day
        return {f"products.{place}.{rest}": day for place in range(len(state.products))}


def _refuse_unknown(head: str, rest: str, known: Sequence[str]) -> None:
    name = rest.partition(".")[0]
    if name not in known:
        hint = nearest_word(name, known)
        raise Unplayable(f"“{head}” has no “{name}”" + (f"; did you mean “{hint}”?" if hint else ""))


def _number(path: str, value: object) -> int:
    if not isinstance(value, int) or abs(value) > _MOST:
        raise Unplayable(f"“{path}” is a number, at most {_MOST}")
    return value


_OF_WORK: Mapping[str, Callable[[Setting, WorkObserved, str, object, datetime], Mapping[str, object]]] = {
    "work": Setting._work,  # noqa: SLF001 -- its own table
    "launch": Setting._launch,  # noqa: SLF001 -- its own table
    "days_to": Setting._days_to,  # noqa: SLF001 -- its own table
}
_ELSEWHERE = ("rights", "sender")


def _changed(state: WorkObserved, path: str, changes: Mapping[str, object]) -> WorkObserved:
    try:
        return convert(WorkObserved, laid_over(to_builtins(state), changes))
    except ValidationError as error:
        raise Unplayable(f"“{path}” cannot be that: {describe_error(error, WorkObserved)}") from None


def _apply_to_people(facts: Facts, cast: Cast, changes: Mapping[str, object]) -> None:
    for path, value in changes.items():
        if path == "sender.open_acquisition":
            for person in cast.people.values():
                facts.set_acquisition(person.person_id, None if value is None else str(value))
        elif path.startswith("sender."):
            raise Unplayable("of a sender only open_acquisition is a fact; the rest is in “people”")


def _apply_to_records(facts: Facts, changes: Mapping[str, object]) -> None:
    rights = {path.removeprefix("rights."): value for path, value in changes.items() if path.startswith("rights.")}
    for path in rights:
        _refuse_unknown("rights", path, RightsFacts.__struct_fields__)
    if isinstance(count := rights.get("open_requests"), int):
        rights["open_requests"] = [f"R-{n}" for n in range(_number("rights.open_requests", count))]
    record_id = str(golden_data("consonance.rights.approval_requested.v1")["rights_record_id"])
    for each in {record_id, *facts.records} if rights else ():
        known = to_builtins(facts.records.get(each, RightsFacts()))
        facts.set_rights_record(each, convert(RightsFacts, {**known, **rights}))


# ------------------------------------------------------------------ what an event says has changed


def _unchanged(state: WorkObserved, _data: Any) -> WorkObserved:
    return state


def _staged(state: WorkObserved, data: StageChanged) -> WorkObserved:
    return state.replace(stage_key=data.to_stage_key)


def _component(state: WorkObserved, data: ComponentChanged) -> WorkObserved:
    others = (seen for seen in state.components if seen.component is not data.component)
    return state.replace(components=(*others, ObservedComponent(component=data.component, state=data.state)))


def _product(state: WorkObserved, data: PubDateChanged | PublishingStatusChanged) -> WorkObserved:
    others = tuple(product for product in state.products if product.product_id != data.product.product_id)
    return state.replace(products=(*others, data.product))


_CHANGES: Mapping[type[EventData], Callable[[WorkObserved, Any], WorkObserved]] = {
    StageChanged: _staged,
    ComponentChanged: _component,
    PubDateChanged: _product,
    PublishingStatusChanged: _product,
}
