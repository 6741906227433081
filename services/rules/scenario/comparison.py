"""Compares the effects of rules with those that a story expects, and describes both as a story writes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, assert_never

from services.rules.conversation.chain import Ending
from services.rules.conversation.context import Effect, EndedChain, ExcludedPerson, RequestedMessage
from services.rules.conversation.document import read_path
from services.rules.conversation.facts import Facts
from services.rules.matching.conditions import is_present
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Verb
from services.rules.scenario.story_file import EffectKind, ExpectedEffect, ExpectStep
from services.rules.scenario.story_world import StoryPeople
from shared.contracts.ids import ContactId
from shared.contracts.messages import AmendMessage, WithdrawMessage
from shared.contracts.values import format_instant, to_builtins
from shared.contracts.writes import CreateAcquisition, RequestWrite, WriteInput, WriteOperation

_KIND_OF_VERB = {Verb.GIVE_UP: EffectKind.TELL, Verb.RECORD: EffectKind.TELL}


@dataclass(frozen=True, slots=True)
class ObservedEffect:
    """An effect as a story would expect it, with everything filled in."""

    kind: EffectKind
    person: ContactId | str | None = None
    on_behalf_of: tuple[ContactId | str, ...] = ()
    template: str | None = None
    language: str | None = None
    line: str | None = None
    text: str | None = None
    attached: str | None = None
    record: WriteOperation | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    reason: str | None = None
    end: Ending | None = None

    def __str__(self) -> str:
        """The effect as a story would write it under ``expect``."""
        match self.kind:
            case EffectKind.RECORD:
                return f"{{record: {self.record}, with: {_format_mapping(self.values)}}}"
            case EffectKind.LEFT_OUT:
                return f"{{left_out: {{{self.person}: {self.reason}}}}}"
            case EffectKind.END:
                return f"{{end: {self.end}}}"
            case _:
                absent = f", for: {_format_holders(self.on_behalf_of)}" if self.on_behalf_of else ""
                file = f", attached: {self.attached}" if self.attached is not None else ""
                return f"{{{self.kind}: {self.person}{absent}, say: {self.template}, language: {self.language}{file}}}"


def observe_effects(effects: Iterable[Effect], facts: Facts, people: StoryPeople) -> list[ObservedEffect]:
    """The effects in order. A person is left out once for one reason; the end of a built-in rule is not shown."""
    found: list[ObservedEffect] = []
    for effect in effects:
        one = _observe(effect, facts, people)
        if one is not None and not (one.kind is EffectKind.LEFT_OUT and one in found):
            found.append(one)
    return found


def _observe(effect: Effect, facts: Facts, people: StoryPeople) -> ObservedEffect | None:
    match effect:
        case RequestedMessage():
            return _observe_message(effect, people)
        case RequestWrite():
            return ObservedEffect(EffectKind.RECORD, record=effect.input.operation, values=_values_of(effect.input))
        case ExcludedPerson():
            return ObservedEffect(EffectKind.LEFT_OUT, person=people.name_of(effect.who), reason=str(effect.reason))
        case WithdrawMessage():
            found, person = facts.chain_of_message(effect.message_id), people.name_of(effect.person_id)
            return ObservedEffect(EffectKind.WITHDRAW, person=person, template=found[1].say if found else None)
        case EndedChain():
            ours = facts.chains[effect.chain_id].rule.startswith(RESERVED_PREFIX)
            return None if ours else ObservedEffect(EffectKind.END, end=effect.ending)
        case AmendMessage():
            return None  # a story has one revision of the rules
        case _:
            assert_never(effect)


def _values_of(asked: WriteInput) -> Mapping[str, object]:
    """The answers to a form's own fields stand beside the others, as their names do in the form."""
    values: Mapping[str, object] = to_builtins(asked)
    return {**asked.further, **values} if isinstance(asked, CreateAcquisition) else values


def _observe_message(effect: RequestedMessage, people: StoryPeople) -> ObservedEffect:
    sent = effect.send
    return ObservedEffect(
        kind=_KIND_OF_VERB.get(effect.verb) or EffectKind(effect.verb),
        person=people.name_of(sent.person_id),
        on_behalf_of=tuple(people.name_of(holder) for holder in effect.on_behalf_of),
        template=sent.say,
        language=sent.language,
        line=sent.line,
        text=sent.body,
        attached=sent.document.name if sent.document is not None else None,
    )


# ------------------------------------------------------------------ comparison


def compare_effects(step: ExpectStep, observed: Sequence[ObservedEffect]) -> list[FileFault]:
    """The expected effects that are missing; else, as one fault, those that are not expected."""
    expected = tuple(_split_left_out(step.effects))
    pairs = match_effects(expected, observed)
    with_text = any(one.text is not None for one in step.effects)
    described = [_describe(effect, with_text=with_text) for effect in observed]
    missing = [one for index, one in enumerate(expected) if index not in pairs]
    if missing:
        listed = ", ".join(described) or "nothing"
        return [FileFault(one.location, f"expected {format_expected(one)}; what happened: {listed}") for one in missing]
    extra = [text for index, text in enumerate(described) if index not in pairs.values()]
    return [FileFault(step.location, f"also happened: {', '.join(extra)}")] if extra else []


@dataclass(frozen=True, slots=True)
class EffectRow:
    """An expected effect beside the one that happened, as a story writes them; None where one of the two is missing."""

    expected: str | None
    happened: str | None
    same: bool = False


def effects_side_by_side(step: ExpectStep, observed: Sequence[ObservedEffect]) -> tuple[EffectRow, ...]:
    """Expected effects in the order written, each beside its match, else beside the most similar one that is left."""
    expected = tuple(_split_left_out(step.effects))
    pairs = match_effects(expected, observed)
    left = [index for index in range(len(observed)) if index not in pairs.values()]
    rows = []
    for index, one in enumerate(expected):
        near = pairs.get(index)
        if near is None and (near := _most_similar(one, observed, left)) is not None:
            left.remove(near)
        happened = None if near is None else _format_observed(one, observed[near])
        rows.append(EffectRow(format_expected(one), happened, same=index in pairs))
    with_text = any(one.text is not None for one in expected)
    return (*rows, *(EffectRow(None, _describe(observed[index], with_text=with_text)) for index in left))


def _most_similar(one: ExpectedEffect, observed: Sequence[ObservedEffect], left: Sequence[int]) -> int | None:
    """The effect of the same kind that shares the most values with it; None where there is none of its kind."""
    alike = {index: _values_in_common(one, observed[index]) for index in left if observed[index].kind is one.kind}
    return max(alike, key=lambda index: alike[index], default=None)


def _values_in_common(one: ExpectedEffect, effect: ObservedEffect) -> int:
    named = [name for name in _EQUAL if getattr(one, name) is not None]
    equal = sum(bool(getattr(one, name) == getattr(effect, name)) for name in named)
    return equal + sum(_same(value, read_path(effect.values, path)) for path, value in one.values.items())


def _format_observed(one: ExpectedEffect, effect: ObservedEffect) -> str:
    """The values of a write that the expectation does not name are left out."""
    if effect.kind is EffectKind.RECORD:
        named = {path: _plain(read_path(effect.values, path)) for path in one.values}
        return f"{{record: {effect.record}{_format_values(named)}}}"
    line = f", line: {effect.line}" if one.line is not None else ""
    text = f", text: {effect.text}" if one.text is not None else ""
    return f"{str(effect)[:-1]}{line}{text}}}"


def _describe(effect: ObservedEffect, *, with_text: bool) -> str:
    if effect.text is None or not with_text:
        return str(effect)
    return f"{str(effect)[:-1]}, text: {effect.text}}}"


def _split_left_out(expected: Iterable[ExpectedEffect]) -> Iterator[ExpectedEffect]:
    """``left_out`` may name several people; each is an effect."""
    for one in expected:
        if not one.left_out:
            yield one
        for name, reason in one.left_out.items():
            yield one.model_copy(update={"left_out": {name: reason}})


def match_effects(expected: Sequence[ExpectedEffect], effects: Sequence[ObservedEffect]) -> dict[int, int]:
    """Match as many expected effects as possible, each with a different observed one; by their indexes."""
    alike = [[other for other, effect in enumerate(effects) if matches(one, effect)] for one in expected]
    taken: dict[int, int] = {}
    for one in range(len(expected)):
        _take_one(one, alike, taken, set())
    return {one: other for other, one in taken.items()}


def _take_one(one: int, alike: Sequence[Sequence[int]], taken: dict[int, int], tried: set[int]) -> bool:
    """Give the expected effect ``one`` of those that are like it; the one that has it takes another, if it can."""
    for other in alike[one]:
        if other in tried:
            continue
        tried.add(other)
        if other not in taken or _take_one(taken[other], alike, taken, tried):
            taken[other] = one
            return True
    return False


_EQUAL = ("person", "template", "language", "line", "attached", "record", "end")


def matches(expected: ExpectedEffect, effect: ObservedEffect) -> bool:
    """Whether the effect has everything that is expected; it may have more."""
    return (
        expected.kind is effect.kind
        and all(getattr(expected, name) in {None, getattr(effect, name)} for name in _EQUAL)
        and set(expected.on_behalf_of) <= set(effect.on_behalf_of)
        and all(name == str(effect.person) and why == effect.reason for name, why in expected.left_out.items())
        and (expected.text is None or expected.text in (effect.text or ""))
        and all(_same(value, read_path(effect.values, path)) for path, value in expected.values.items())
    )


def _same(expected: object, got: object) -> bool:
    if isinstance(expected, Mapping):
        return isinstance(got, Mapping) and all(_same(value, read_path(got, path)) for path, value in expected.items())
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        if not isinstance(got, Sequence) or len(got) != len(expected):
            return False
        return all(_same(one, other) for one, other in zip(expected, got, strict=True))
    return _plain(expected) == _plain(got)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_instant(value)
    return value.isoformat() if isinstance(value, date) else value


def format_expected(expected: ExpectedEffect) -> str:
    """The expected effect as a story writes it under ``expect``."""
    match expected.kind:
        case EffectKind.RECORD:
            return f"{{record: {expected.record}{_format_values(expected.values)}}}"
        case EffectKind.LEFT_OUT:
            return f"{{left_out: {_format_mapping(expected.left_out)}}}"
        case EffectKind.END:
            return f"{{end: {expected.end}}}"
        case _:
            written = {
                expected.kind: expected.person,
                "for": _format_holders(expected.on_behalf_of) if expected.on_behalf_of else None,
                "say": expected.template,
                "language": expected.language,
                "line": expected.line,
                "text": expected.text,
                "attached": expected.attached,
            }
            return _format_mapping(written)


def _format_holders(holders: Sequence[ContactId | str]) -> str:
    return str(holders[0]) if len(holders) == 1 else f"[{', '.join(map(str, holders))}]"


def _format_values(values: Mapping[str, object]) -> str:
    return f", with: {_format_mapping(values)}" if values else ""


def _format_mapping(values: Mapping[Any, object]) -> str:
    entries = (f"{key}: {_format_value(value)}" for key, value in values.items() if is_present(value))
    return f"{{{', '.join(entries)}}}"


def _format_value(value: object) -> str:
    if isinstance(value, Mapping):
        return _format_mapping(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_format_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
