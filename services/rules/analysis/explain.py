"""Explains a recorded decision: event, conditions with their values, who was chosen or left out, what comes next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from services.rules.analysis.bundle import EVENT_KINDS
from services.rules.analysis.pseudonyms import BUNDLE_KEYS
from services.rules.analysis.replay import Documents, Replayer
from services.rules.conversation.chain import NO_EVENT, Chain, ChainMessage, DeliveryState, StepStatus
from services.rules.conversation.context import DecisionContext, ExclusionReason, Reason
from services.rules.conversation.decider import Decision
from services.rules.conversation.decision_inputs import DecisionInputs, effects_digest
from services.rules.conversation.document import MESSAGE_RECEIVED, Document
from services.rules.conversation.facts import Facts
from services.rules.conversation.schedule import due_of
from services.rules.matching.conditions import holds, is_present
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    NoneOf,
    Operator,
    Rule,
    Rulebook,
    Step,
    Team,
)
from shared.contracts import consonance
from shared.contracts.envelope import Event, parse_event
from shared.contracts.ids import PersonId
from shared.contracts.whatsapp import MessageReceived

EXCLUSIONS: Mapping[str, str] = {
    ExclusionReason.OPTED_OUT: "the person wrote STOP, and has not taken it back",
    ExclusionReason.NO_CONSENT: "house.yaml declares no basis for this role, and the person has not opted in",
    ExclusionReason.NO_ADDRESS: "no phone number and no WhatsApp id is known",
    ExclusionReason.UNREACHABLE: "WhatsApp could not deliver",
    ExclusionReason.UNKNOWN_ROLE: "nobody has this role: not the event, not the work, not people.yaml",
    ExclusionReason.UNKNOWN_PERSON: "Consonance has sent no contact for this person",
    ExclusionReason.ERASED: "the person’s data was erased",
    ExclusionReason.NO_DOCUMENT: "the event names no address of the document that goes with the message",
    ExclusionReason.UNLESS: "the “unless” of the step holds for this person",
}
"""The exclusion reasons in a sentence; others are said by their word."""

_OPERATORS = {
    Operator.IS: "is",
    Operator.IS_NOT: "is not",
    Operator.ONE_OF: "is one of",
    Operator.AT_LEAST: "is at least",
    Operator.AT_MOST: "is at most",
    Operator.MORE_THAN: "is more than",
    Operator.LESS_THAN: "is less than",
    Operator.INCLUDES: "includes",
}


# ------------------------------------------------------------------ conditions


@dataclass(frozen=True, slots=True)
class ConditionLine:
    """One comparison with the value it had; or ``any of`` or ``not``, with what follows one ``depth`` deeper."""

    text: str
    holds: bool
    value: str = ""
    depth: int = 0


def condition_lines(condition: Condition, values: Document, depth: int = 0) -> Iterator[ConditionLine]:
    """Every comparison with the value it was judged by, in the order written."""
    match condition:
        case Compare():
            yield _comparison(condition, values, depth)
        case AllOf(parts):
            for part in parts:
                yield from condition_lines(part, values, depth)
        case AnyOf(parts):
            yield ConditionLine("any of", holds(condition, values), depth=depth)
            for part in parts:
                yield from condition_lines(part, values, depth + 1)
        case NoneOf(inner):
            yield ConditionLine("not", holds(condition, values), depth=depth)
            yield from condition_lines(inner, values, depth + 1)
        case _:
            assert_never(condition)


def _comparison(compare: Compare, values: Document, depth: int) -> ConditionLine:
    value = values.get(compare.field)
    shown = _shown(value) if is_present(value) else "absent"
    if compare.operator is Operator.EXISTS:
        text = f"{compare.field} {'exists' if compare.operand else 'does not exist'}"
    else:
        text = f"{compare.field} {_OPERATORS.get(compare.operator, str(compare.operator))} {_operand(compare, values)}"
    return ConditionLine(text, holds(compare, values), f"{compare.field}: {shown}", depth)


def _operand(compare: Compare, values: Document) -> str:
    if isinstance(compare.operand, Field):
        other = values.get(compare.operand.name)
        return f"{compare.operand.name} ({_shown(other) if is_present(other) else 'absent'})"
    return _shown(compare.operand)


def _shown(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


# ------------------------------------------------------------------ a decision


@dataclass(frozen=True, slots=True)
class RuleJudgement:
    """Whether a rule that begins with such an event began, and the conditions that decided it."""

    rule: str
    held: bool
    lines: Sequence[ConditionLine]


@dataclass(frozen=True, slots=True)
class Explanation:
    """``event`` is the short name, or says that a step fell due. ``verdicts`` and ``people`` are sentences."""

    about: str
    event: str
    at: datetime
    decided_at: datetime
    revision: str
    fields: Mapping[str, str]
    judgements: Sequence[RuleJudgement]
    verdicts: Sequence[str]
    people: Sequence[str]
    chains: Sequence[Chain]
    repeated: bool


_SHOWN_FIELDS = (
    "work.work_id", "work.title", "request_id", "block_id", "milestone_id", "milestone_key", "to_stage", "new_due",
    "respond_by", "rights_record_id", "document_id", "issue_id", "reason", "line", "message_kind",
)  # fmt: skip
"""Fields that say what an event is about, and nothing personal."""


def explain(inputs: DecisionInputs, replayer: Replayer, document: Documents) -> tuple[Explanation, Facts]:
    """The decision made again and put into words, with the facts after it. Raises KeyError for a fact not kept."""
    decision = replayer.decide(inputs, document)
    book = replayer.rulebooks(inputs.revision)
    event = None if inputs.event == NO_EVENT else parse_event(bytes(inputs.event), EVENT_KINDS)
    chains = tuple(decision.changes.chains[key] for key in _touched(decision))
    name = _name_of(event) if event is not None else "a step fell due"
    explanation = Explanation(
        about=inputs.about,
        event=name,
        at=event.time if event is not None else inputs.now,
        decided_at=inputs.now,
        revision=inputs.revision,
        fields=_event_fields(event),
        judgements=tuple(judge_rules(event, name, decision.changes, book, inputs.now)) if event is not None else (),
        verdicts=tuple(_verdicts(decision)),
        people=tuple(line for chain in chains for line in _people(chain, inputs.now)),
        chains=chains,
        repeated=effects_digest(decision) == inputs.effects,
    )
    return explanation, decision.changes


def _touched(decision: Decision) -> list[Any]:
    """The chains that the verdicts name, in their order."""
    verdicts = decision.record.verdicts if decision.record is not None else ()
    named = dict.fromkeys(verdict.chain_id for verdict in verdicts if verdict.chain_id is not None)
    return [key for key in named if key in decision.changes.chains]


def _name_of(event: Event) -> str:
    if isinstance(event.data, MessageReceived):
        return MESSAGE_RECEIVED
    return consonance.short_name(event.type) if event.type in consonance.KINDS else event.type.removesuffix(".v1")


def _event_fields(event: Event | None) -> dict[str, str]:
    if event is None:
        return {}
    found: dict[str, str] = {}
    for path in _SHOWN_FIELDS:
        value: Any = event.data
        for name in path.split("."):
            value = getattr(value, name, None)
        if value is not None and not isinstance(value, (tuple, list, dict)):
            found[path] = str(value)
    return found


def judge_rules(event: Event, name: str, facts: Facts, book: Rulebook, now: datetime) -> Iterator[RuleJudgement]:
    """Every rule of the files that begins with such an event; those that began first."""
    sender = event.data.person_id if isinstance(event.data, MessageReceived) else None
    values = Document(event.data, facts, book.calendar, now, sender=sender, extra={"answers_a_question": False})
    rules = [rule for rule in book.rules.values() if name in rule.events and not rule.name.startswith(RESERVED_PREFIX)]
    judged = [
        RuleJudgement(rule.name, holds(rule.condition, values), tuple(condition_lines(rule.condition, values)))
        for rule in rules
    ]
    yield from sorted(judged, key=lambda one: (not one.held, one.rule))


_REASONS: Mapping[str, str] = {
    Reason.STARTED: "a chain began",
    Reason.REPLANNED: "the event came again: the chain was planned anew",
    Reason.TOO_MANY_STARTS: "the rule has started about it as often as “restarts” allows, so it did not start again",
    Reason.ALREADY_LIVE: "a chain about it was running already, and the rule ignores a repetition",
    Reason.STEP_DUE: "a step was due",
    Reason.PAUSED: "an operator has paused the rule",
    Reason.ANSWERED: "an answer came",
    Reason.WAITS_FOR_QUORUM: "an answer came; the others are awaited",
    Reason.ADDENDUM: "a later answer, which is kept and changes nothing",
    Reason.CLOSED_QUESTION: "the question was closed already",
    Reason.FREE_TEXT: "words came in place of a button, and went to a colleague",
    Reason.OPTED_OUT: "the person wrote STOP",
    Reason.OPTED_IN: "the person wrote START",
    Reason.UNTIL: "what the rule waits for came true: the chain ended",
    Reason.OWN_WRITE: "the change is what we wrote ourselves",
    Reason.NOTHING_MATCHED: "no rule’s conditions held",
    Reason.WRITE_SETTLED: "a write came to its end",
    Reason.BRAKED: "the person wrote too often to be answered",
    Reason.STRANGERS_BRAKED: "people whom Consonance does not know wrote too often, all together, to be answered",
}


def _verdicts(decision: Decision) -> Iterator[str]:
    for verdict in decision.record.verdicts if decision.record is not None else ():
        number = f", step {int(verdict.step) + 1}" if verdict.step is not None else ""
        rule = f"{verdict.rule}{number}: " if verdict.rule else ""
        yield f"{rule}{_REASONS.get(verdict.reason, verdict.reason)} ({verdict.reason})"


def _people(chain: Chain, now: datetime) -> Iterator[str]:
    """The people who get a message by this decision, and those who are left out of the chain with the reason."""
    for message in chain.messages:
        if message.requested_at == now or (message.delivery is DeliveryState.HELD and message.held_until is not None):
            yield message_sentence(message)
    for index, state in enumerate(chain.steps):
        for who, why in state.left_out.items():
            yield f"{who} was left out of step {index + 1}: {exclusion_sentence(why)}"


def exclusion_sentence(reason: str) -> str:
    return f"{EXCLUSIONS[reason]} ({reason})" if reason in EXCLUSIONS else reason


def message_sentence(message: ChainMessage) -> str:
    if message.delivery is DeliveryState.HELD and message.held_until is not None:
        return f"{message.person_id} gets “{message.say}” at {message.held_until:%Y-%m-%d %H:%M}Z, in open hours"
    at = f" at {message.requested_at:%Y-%m-%d %H:%M}Z" if message.requested_at is not None else ""
    return f"{message.person_id} was chosen for “{message.say}”{at}: {message.delivery}"


# ------------------------------------------------------------------ what comes next


def coming_steps(chain: Chain, facts: Facts, book: Rulebook, now: datetime) -> Iterator[str]:
    """The steps that are not done yet, each with its place in the rule file and when it is due as things stand."""
    if not chain.active or chain.rule not in book.rules:
        return
    context = DecisionContext(facts, book, lambda _: book, now, BUNDLE_KEYS)
    for step in book.rules[chain.rule].steps:
        if step.index < len(chain.steps) and chain.steps[step.index].status is StepStatus.PENDING:
            due = due_of(context, chain, step)
            when = (
                f"{due:%Y-%m-%d %H:%M}Z, unless something ends the chain before"
                if due is not None
                else "no date is known"
            )
            yield f"step {step.index + 1} ({step_sentence(step)}, {step.location.file}:{step.location.line}): {when}"


def step_sentence(step: Step) -> str:
    who = ", ".join(f"team {name.name}" if isinstance(name, Team) else str(name) for name in step.who)
    say = f" with {step.say}" if step.say else ""
    return f"{step.verb.replace('_', ' ')} {who}".strip() + say


# ------------------------------------------------------------------ why not


@dataclass(frozen=True, slots=True)
class WhyNot:
    """``sentences``: the first is the answer, the others what it rests on. ``got``: the person did get a message."""

    sentences: Sequence[str]
    got: bool = False


_GONE = frozenset({DeliveryState.DROPPED, DeliveryState.WITHDRAWN})
"""Messages that were held, and will never go."""


def why_not_by_chain(chain: Chain, rule: Rule | None, person: PersonId) -> WhyNot:
    """Why a chain that began did not write to a person; or that it did."""
    mine = [message for message in chain.messages if message.person_id == person]
    sent = [message for message in mine if message.requested_at is not None]
    if sent:
        return WhyNot([f"It did: {message_sentence(message)}." for message in sent], got=True)
    if any(message.delivery not in _GONE for message in mine):
        return WhyNot([f"Not yet: {message_sentence(mine[-1])}."])
    for index, state in enumerate(chain.steps):
        if (why := state.left_out.get(person)) is not None:
            sentence = f"They were left out of step {index + 1}: {exclusion_sentence(why)}."
            return WhyNot([sentence, *_unless_sentence(rule, index, why)])
    if mine:
        return WhyNot([f"The message for them was withdrawn before it went: {message_sentence(mine[-1])}."])
    others = sorted({message.person_id for message in chain.messages})
    told = f"Its messages went to {', '.join(others)}." if others else "It has written to nobody yet."
    empty = [
        f"Nobody has the role “{who}”: {exclusion_sentence(why)}."
        for state in chain.steps
        for who, why in state.left_out.items()
        if why == ExclusionReason.UNKNOWN_ROLE
    ]
    waiting = [index for index, state in enumerate(chain.steps) if state.status is StepStatus.PENDING]
    if waiting and chain.active and rule is not None:
        steps = [step for step in rule.steps if step.index in waiting]
        listed = "; ".join(f"step {step.index + 1}, {step_sentence(step)}" for step in steps)
        return WhyNot(
            [f"They are not among those it has written to so far. {told}", f"Still to come: {listed}.", *empty]
        )
    ended = f" It ended “{chain.ended or chain.closing}”." if not chain.active else ""
    return WhyNot([f"They are not among those it addresses.{ended} {told}", *empty])


def _unless_sentence(rule: Rule | None, step: int, why: str) -> Iterator[str]:
    """Where the condition stands that left a person out."""
    if why == ExclusionReason.UNLESS and rule is not None and step < len(rule.steps):
        location = rule.steps[step].location
        yield f"The condition belongs to the step at {location.file}:{location.line}."


def why_not_by_conditions(judgement: RuleJudgement, event: str, at: datetime) -> WhyNot:
    """The conditions that did not hold, each with the value it was judged by."""
    failing = [line for line in judgement.lines if not line.holds]
    lines = [f"{'  ' * line.depth}{line.text}: it was {line.value}" if line.value else line.text for line in failing]
    return WhyNot([f"{event} came at {at:%Y-%m-%d %H:%M}Z, but the rule’s conditions did not hold:", *lines])
