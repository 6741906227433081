"""What happened, in the words of a story, and whether that is what was expected."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, assert_never

from services.rules.conversation.chain import Ending
from services.rules.conversation.context import (
    Effect,
    EndedChain,
    ExcludedPerson,
    RequestedMessage,
    RequestedWithdrawal,
    RequestedWrite,
)
from services.rules.conversation.document import read_path
from services.rules.conversation.facts import Facts
from services.rules.matching.conditions import is_present
from services.rules.rulebook.built_in import INBOX_RULE_PREFIX, PAUSED_RULE_PREFIX
from services.rules.rulebook.model import Verb
from services.rules.story.cast import Cast
from services.rules.story.model import Expected, Kind
from shared.contracts.ids import ContactId
from shared.contracts.values import format_instant, to_builtins
from shared.contracts.writes import CreateAcquisition, WriteInput, WriteOperation

_KINDS = {Verb.GIVE_UP: Kind.TELL, Verb.RECORD: Kind.TELL}


@dataclass(frozen=True, slots=True)
class Seen:
    """One effect: an ``Expected`` with everything filled in."""

    kind: Kind
    who: ContactId | str | None = None
    absent: ContactId | str | None = None
    say: str | None = None
    language: str | None = None
    line: str | None = None
    text: str | None = None
    operation: WriteOperation | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    reason: str | None = None
    end: Ending | None = None

    def __str__(self) -> str:
        """As it would be written under ``expect``."""
        match self.kind:
            case Kind.RECORD:
                return f"{{record: {self.operation}, with: {_spelled(self.values)}}}"
            case Kind.LEFT_OUT:
                return f"{{left_out: {{{self.who}: {self.reason}}}}}"
            case Kind.END:
                return f"{{end: {self.end}}}"
            case _:
                absent = f", for: {self.absent}" if self.absent else ""
                return f"{{{self.kind}: {self.who}{absent}, say: {self.say}, language: {self.language}}}"


def seen(effects: Iterable[Effect], facts: Facts, cast: Cast) -> list[Seen]:
    """In order. Somebody left out for one reason is left out once; the house's own chains end unseen."""
    found: list[Seen] = []
    for effect in effects:
        one = _seen(effect, facts, cast)
        if one is not None and not (one.kind is Kind.LEFT_OUT and one in found):
            found.append(one)
    return found


def _seen(effect: Effect, facts: Facts, cast: Cast) -> Seen | None:
    match effect:
        case RequestedMessage():
            return _said(effect, cast)
        case RequestedWrite(request):
            return Seen(Kind.RECORD, operation=request.input.operation, values=_values_of(request.input))
        case ExcludedPerson():
            return Seen(Kind.LEFT_OUT, who=cast.number(effect.who), reason=str(effect.reason))
        case RequestedWithdrawal(withdrawal):
            found = facts.chain_of_message(withdrawal.message_id)
            say = found[1].say if found else None
            return Seen(Kind.WITHDRAW, who=cast.number(withdrawal.person_id), say=say)
        case EndedChain():
            ours = facts.chains[effect.chain_id].rule.startswith((INBOX_RULE_PREFIX, PAUSED_RULE_PREFIX))
            return None if ours else Seen(Kind.END, end=effect.ending)
        case _:
            assert_never(effect)


def _values_of(asked: WriteInput) -> Mapping[str, object]:
    """The answers to a form's own fields stand beside the others, as their names do in the form."""
    values: Mapping[str, object] = to_builtins(asked)
    return {**asked.further, **values} if isinstance(asked, CreateAcquisition) else values


def _said(effect: RequestedMessage, cast: Cast) -> Seen:
    sent = effect.send
    return Seen(
        kind=_KINDS.get(effect.verb) or Kind(effect.verb),
        who=cast.number(sent.person_id),
        absent=cast.number(effect.on_behalf_of) if effect.on_behalf_of else None,
        say=sent.say,
        language=sent.language,
        line=sent.line,
        text=sent.body,
    )


# ------------------------------------------------------------------ as expected?


def singly(expected: Iterable[Expected]) -> Iterator[Expected]:
    """``left_out`` may name several people; each is an effect."""
    for one in expected:
        if not one.left_out:
            yield one
        for who, reason in one.left_out.items():
            yield Expected(one.place, one.kind, left_out={who: reason})


def pair(expected: Sequence[Expected], effects: Sequence[Seen]) -> dict[int, int]:
    """As many of the expected as can be, each with an effect of its own: expected → effect."""
    taken: dict[int, int] = {}

    def find(one: int, tried: set[int]) -> bool:
        for other, effect in enumerate(effects):
            if other in tried or not matches(expected[one], effect):
                continue
            tried.add(other)
            if other not in taken or find(taken[other], tried):
                taken[other] = one
                return True
        return False

    for one in range(len(expected)):
        find(one, set())
    return {one: other for other, one in taken.items()}


_EQUAL = ("who", "absent", "say", "language", "line", "operation", "end")


def matches(expected: Expected, effect: Seen) -> bool:
    """As a subset: what is not expected may be anything."""
    return (
        expected.kind is effect.kind
        and all(getattr(expected, name) in {None, getattr(effect, name)} for name in _EQUAL)
        and all(who == effect.who and why == effect.reason for who, why in expected.left_out.items())
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


def spelled(expected: Expected) -> str:
    """An expectation, as the story has it."""
    match expected.kind:
        case Kind.RECORD:
            return f"{{record: {expected.operation}{_with(expected.values)}}}"
        case Kind.LEFT_OUT:
            return f"{{left_out: {_spelled(expected.left_out)}}}"
        case Kind.END:
            return f"{{end: {expected.end}}}"
        case _:
            words = {"for": expected.absent, "say": expected.say, "language": expected.language, "line": expected.line}
            return _spelled({expected.kind: expected.who, **words, "text": expected.text})


def _with(values: Mapping[str, object]) -> str:
    return f", with: {_spelled(values)}" if values else ""


def _spelled(values: Mapping[Any, object]) -> str:
    said = (f"{key}: {_value(value)}" for key, value in values.items() if is_present(value))
    return f"{{{', '.join(said)}}}"


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return _spelled(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)
