"""Explains a recorded decision: event, conditions with their values, who was chosen or left out, what comes next."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from services.rules.analysis.bundle import EVENT_KINDS
from services.rules.analysis.condition_text import comparison_text, value_text
from services.rules.analysis.pseudonyms import BUNDLE_KEYS, is_personal
from services.rules.analysis.replay import Documents, Replayer, with_button_of_bundle
from services.rules.conversation.chain import LOST, NO_EVENT, Chain, ChainMessage, DeliveryState, StepStatus
from services.rules.conversation.context import Decision, DecisionContext, ExclusionReason, Reason
from services.rules.conversation.decision_inputs import DecisionInputs, effects_digest, facts_of
from services.rules.conversation.document import MESSAGE_RECEIVED, Document, is_event_field
from services.rules.conversation.facts import Facts
from services.rules.conversation.schedule import due_of
from services.rules.matching.conditions import holds, is_present
from services.rules.rulebook.built_in import RESERVED_PREFIX
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, Field, NoneOf, Rule, Rulebook, Step, Team
from shared.contracts import consonance
from shared.contracts.envelope import Event, parse_event
from shared.contracts.ids import ChainId, PersonId
from shared.contracts.whatsapp import MessageReceived

EXCLUSIONS: Mapping[str, str] = {
    ExclusionReason.OPTED_OUT: "the person wrote STOP, and has not taken it back",
    ExclusionReason.NO_CONSENT: "house.yaml declares no basis for this role, and the person has not opted in",
    ExclusionReason.NO_ADDRESS: "no phone number and no WhatsApp id is known",
    ExclusionReason.UNREACHABLE: "WhatsApp could not deliver",
    ExclusionReason.UNKNOWN_ROLE: "nobody has this role: not the event, not the work, not people.yaml",
    ExclusionReason.UNKNOWN_PERSON: "Consonance has sent no contact for this person",
    ExclusionReason.ERASED: "the person’s data was erased",
    ExclusionReason.ABSENT: "the person is away",
    ExclusionReason.WRONG_PERSON: "the number is not theirs, as who has it wrote",
    ExclusionReason.CAPPED: "their cap leaves no room for the message within “send_within”",
    ExclusionReason.WAITING: "their cap leaves no room for the message now: it waits",
    ExclusionReason.NOT_STAFF: "a copy goes to staff alone, and the person is in no team of people.yaml",
    ExclusionReason.NO_DOCUMENT: "the event names no address of the document that goes with the message",
    ExclusionReason.UNLESS: "the “unless” of the step holds for this person",
}
"""The exclusion reasons in a sentence."""

_GONE = frozenset({DeliveryState.DROPPED, DeliveryState.WITHDRAWN})
"""Messages that were held, and will never go."""

_NOT_SHOWN = "there is one, which is not shown"

# ------------------------------------------------------------------ conditions


@dataclass(frozen=True, slots=True)
class ConditionLine:
    """One comparison with the value it had; or ``any of`` or ``not``, with what follows one ``depth`` deeper.

    ``field`` is the one compared, empty where it is no comparison.
    """

    text: str
    holds: bool
    value: str = ""
    depth: int = 0
    field: str = ""


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
    shown = _value(compare.field, values)
    text = comparison_text(compare, _operand(compare, values))
    return ConditionLine(text, holds(compare, values), f"{compare.field}: {shown}", depth, compare.field)


def _operand(compare: Compare, values: Document) -> str:
    if isinstance(compare.operand, Field):
        return f"{compare.operand.name} ({_value(compare.operand.name, values)})"
    return value_text(compare.operand)


def _value(field: str, values: Document) -> str:
    value = values.get(field)
    if not is_present(value):
        return "absent"
    return _NOT_SHOWN if is_personal(field) else value_text(value)


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
    "respond_by", "rights_record_id", "document_id", "issue_id", "reason", "line", "message_kind", "operation",
)  # fmt: skip
"""Fields that say what an event is about, and nothing personal."""


def explain(inputs: DecisionInputs, replayer: Replayer, document: Documents) -> tuple[Explanation, Facts]:
    """The decision made again and put into words, with the facts after it. Raises KeyError for a fact not kept."""
    inputs = with_button_of_bundle(inputs)
    decision = replayer.decide(inputs, document)
    book = replayer.rulebooks(inputs.revision)
    before = facts_of(inputs, document).chains
    event = None if inputs.event == NO_EVENT else parse_event(bytes(inputs.event), EVENT_KINDS)
    chains = tuple(decision.changes.chains[key] for key in _chains_of(decision))
    labels = _labels(chains)
    name = name_of(event) if event is not None else "a step fell due"
    explanation = Explanation(
        about=inputs.about,
        event=name,
        at=event.time if event is not None else inputs.now,
        decided_at=inputs.now,
        revision=inputs.revision,
        fields=_event_fields(event),
        judgements=() if event is None else _judgements(event, name, decision, book, inputs.now),
        verdicts=tuple(_verdicts(decision, labels)),
        people=tuple(_people_of(before, chains, labels)),
        chains=chains,
        repeated=effects_digest(decision) == inputs.effects,
    )
    return explanation, decision.changes


def _chains_of(decision: Decision) -> list[Any]:
    """The chains that the verdicts name, in their order."""
    verdicts = decision.record.verdicts if decision.record is not None else ()
    named = dict.fromkeys(verdict.chain_id for verdict in verdicts if verdict.chain_id is not None)
    return [key for key in named if key in decision.changes.chains]


def name_of(event: Event) -> str:
    """The name that rule files have for it; of an event that no rule begins with, its type."""
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


def _judgements(
    event: Event, name: str, decision: Decision, book: Rulebook, now: datetime
) -> tuple[RuleJudgement, ...]:
    answers = _answers_a_question(decision)
    return tuple(judge_rules(event, name, decision.changes, book, now, answers_a_question=answers))


_OF_ANSWERS = frozenset(
    {
        Reason.ANSWERED, Reason.WAITS_FOR_QUORUM, Reason.ADDENDUM, Reason.CLOSED_QUESTION, Reason.FREE_TEXT,
        Reason.FORM, Reason.ASKED_WHICH,
    }
)  # fmt: skip
"""Of a message that answered something: no rule was judged by it as by a new one."""


def _answers_a_question(decision: Decision) -> bool:
    return decision.record is not None and any(verdict.reason in _OF_ANSWERS for verdict in decision.record.verdicts)


def judge_rules(
    event: Event, name: str, facts: Facts, book: Rulebook, now: datetime, *, answers_a_question: bool = False
) -> Iterator[RuleJudgement]:
    """Every rule of the files that begins with such an event; those that began first."""
    sender = event.data.person_id if isinstance(event.data, MessageReceived) else None
    extra = {"answers_a_question": answers_a_question}
    values = Document(event.data, facts, book.calendar, now, sender=sender, extra=extra)
    rules = [rule for rule in book.rules.values() if name in rule.events and not rule.name.startswith(RESERVED_PREFIX)]
    judged = [
        RuleJudgement(rule.name, holds(rule.condition, values), tuple(condition_lines(rule.condition, values)))
        for rule in rules
    ]
    yield from sorted(judged, key=lambda one: (not one.held, one.rule))


_REASONS: Mapping[str, str] = {
    Reason.STARTED: "a chain began",
    Reason.JOINED: "the event joined a chain whose first message had not gone",
    Reason.REPLANNED: "the event came again: the chain was planned again",
    Reason.TOO_MANY_STARTS: "the rule has started about it as often as “restarts” allows, so it did not start again",
    Reason.ALREADY_LIVE: "a chain about it was running already, and the rule ignores a repetition",
    Reason.STEP_DUE: "a step was due",
    Reason.PAUSED: "an operator has paused the rule",
    Reason.ANSWERED: "an answer came",
    Reason.WAITS_FOR_QUORUM: "an answer came; the others are awaited",
    Reason.ADDENDUM: "a later answer, which is kept and changes nothing",
    Reason.CLOSED_QUESTION: "the question was closed already",
    Reason.FREE_TEXT: "words came in place of a button, and went to a colleague",
    Reason.FORM: "an answer to a form came",
    Reason.FILE_REFUSED: "a file was not taken, and the person was told why",
    Reason.ASKED_WHICH: "several questions were open, and the person was asked which one was meant",
    Reason.OPTED_OUT: "the person wrote STOP",
    Reason.OPTED_IN: "the person wrote START",
    Reason.AWAY: "a colleague wrote to be away",
    Reason.RETURNED: "a colleague wrote to be back",
    Reason.WRONG_PERSON: "the person wrote that the number is not theirs",
    Reason.MERGED: "two records of one person became one",
    Reason.SEPARATED: "two people had been taken for one: a message or a question goes to the right one",
    Reason.ASKED_WHY: "the person asked “why?”, and was told",
    Reason.SHOWN: "the message was shown from a digest",
    Reason.RELAYED: "words or a file answered no question, and went to a colleague",
    Reason.ACKNOWLEDGEMENT: "thanks or a sign came, which cause nothing",
    Reason.DELIVERY: "WhatsApp reported on a message",
    Reason.PINNED: "the rule has changed, and the chain keeps the steps it began with",
    Reason.MIGRATED: "the rule has changed, and the chain goes on by its new steps",
    Reason.CANCELLED: "the rule has changed, and its chain ended",
    Reason.AMENDED: "a message that had not gone was changed",
    Reason.FACTS_KEPT: "the facts were taken in, and nothing else followed",
    Reason.STALE: "a newer version of it is known already",
    Reason.OUTDATED: "the event came late: a newer one has said of the same matter what holds now",
    Reason.UNLESS: "the reason of a message that had not gone is gone: it was withdrawn",
    Reason.UNTIL: "what the rule waits for came true: the chain ended",
    Reason.OWN_WRITE: "the change is what we wrote ourselves",
    Reason.NOTHING_MATCHED: "no rule’s conditions held",
    Reason.WRITE_SETTLED: "a write came to its end",
    Reason.BRAKED: "the person wrote too often to be answered",
    Reason.STRANGERS_BRAKED: "people whom Consonance does not know wrote too often, all together, to be answered",
}


def _labels(chains: Sequence[Chain]) -> dict[ChainId, str]:
    """The rule of each chain; where the decision concerns several chains of it, also what the chain is about."""
    rules = Counter(chain.rule for chain in chains)
    return {
        chain.chain_id: f"{chain.rule} about {chain.subject}" if rules[chain.rule] > 1 else str(chain.rule)
        for chain in chains
    }


def _verdicts(decision: Decision, labels: Mapping[ChainId, str]) -> Iterator[str]:
    for verdict in decision.record.verdicts if decision.record is not None else ():
        number = f", step {int(verdict.step) + 1}" if verdict.step is not None else ""
        rule = labels.get(verdict.chain_id, verdict.rule) if verdict.chain_id is not None else verdict.rule
        yield f"{f'{rule}{number}: ' if rule else ''}{reason_sentence(verdict.reason)}"


def reason_sentence(reason: str) -> str:
    return f"{_REASONS.get(reason, reason)} ({reason})"


def _people_of(
    before: Mapping[ChainId, Chain], chains: Sequence[Chain], labels: Mapping[ChainId, str]
) -> Iterator[str]:
    """Sentences about the people of these chains; where there are several chains, each sentence names its own."""
    for chain in chains:
        of = f"{labels[chain.chain_id]}: " if len(chains) > 1 else ""
        yield from (f"{of}{sentence}" for sentence in _people(before.get(chain.chain_id), chain))


def _people(before: Chain | None, chain: Chain) -> Iterator[str]:
    """The people who get a message by this decision, and those whom it leaves out, with the reason."""
    known = {message.message_id: message for message in before.messages} if before is not None else {}
    for message in chain.messages:
        earlier = known.get(message.message_id)
        if message.requested_at is None and message.delivery in _GONE:
            continue  # its person is among those left out
        if earlier is None or (message.requested_at, message.held_until) != (earlier.requested_at, earlier.held_until):
            yield message_sentence(message)
    for index, state in enumerate(chain.steps):
        left_out = before.steps[index].left_out if before is not None and index < len(before.steps) else {}
        for who, why in state.left_out.items():
            if left_out.get(who) != why:
                yield f"{who} was left out of step {index + 1}: {exclusion_sentence(why)}"


def exclusion_sentence(reason: str) -> str:
    return f"{EXCLUSIONS[reason]} ({reason})" if reason in EXCLUSIONS else reason


def message_sentence(message: ChainMessage) -> str:
    stands_in = [person for person in message.holders if person != message.person_id]
    who = f"{message.person_id}, who stands in for {', '.join(stands_in)}," if stands_in else message.person_id
    if message.delivery is DeliveryState.HELD and message.held_until is not None:
        return f"{who} gets “{message.say}” at {message.held_until:%Y-%m-%d %H:%M}Z, in open hours"
    at = f" at {message.requested_at:%Y-%m-%d %H:%M}Z" if message.requested_at is not None else ""
    within = ", within a digest" if message.digest is not None else ""
    return f"{who} was chosen for “{message.say}”{at}{within}: {message.delivery}"


# ------------------------------------------------------------------ what comes next


def coming_steps(chain: Chain, facts: Facts, book: Rulebook, now: datetime) -> Iterator[str]:
    """The messages that wait, and then the steps that are not done yet: all that comes by time alone.

    A step has its place in the rule file, and when it is due as things stand.
    """
    held = (message for message in chain.messages if message.delivery is DeliveryState.HELD)
    yield from map(message_sentence, sorted(held, key=lambda message: message.held_until or now))
    if not chain.active or chain.rule not in book.rules:
        return
    context = DecisionContext(facts, book, lambda _: book, now, BUNDLE_KEYS)
    for step in book.rules[chain.rule].steps:
        if step.index < len(chain.steps) and chain.steps[step.index].status is StepStatus.PENDING:
            due = due_of(context, chain, step)
            chain = chain.replace(base_at=due or chain.base_at)  # what comes after it counts from then
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


def why_not_by_chain(chain: Chain, rule: Rule | None, person: PersonId) -> WhyNot:
    """Why a chain that began did not write to a person; or that it did."""
    return _by_messages(chain, rule, person) or _by_steps(chain, rule)


def _by_messages(chain: Chain, rule: Rule | None, person: PersonId) -> WhyNot | None:
    """The reason found in their messages, in a step that left them out, or in the messages of their stand-in."""
    mine = [message for message in chain.messages if message.person_id == person]
    sent = [message for message in mine if message.requested_at is not None and message.delivery not in LOST]
    if sent:
        return WhyNot([f"It did: {message_sentence(message)}." for message in sent], got=True)
    held = [message for message in mine if message.delivery is DeliveryState.HELD]
    if held:
        return WhyNot([f"Not yet: {message_sentence(held[-1])}."])
    lost = [message for message in mine if message.requested_at is not None]
    if lost:
        tried = [f"It tried, and no message reached them: {message_sentence(message)}." for message in lost]
        return WhyNot([*tried, *_left_out_sentences(chain, person)])
    for index, state in enumerate(chain.steps):
        if (why := state.left_out.get(person)) is not None:
            sentence = f"They were left out of step {index + 1}: {exclusion_sentence(why)}."
            return WhyNot([sentence, *_unless_sentence(rule, index, why), *_stand_ins(chain, person)])
    if mine:
        return WhyNot([f"The message for them was withdrawn before it went: {message_sentence(mine[-1])}."])
    stand_ins = list(_stand_ins(chain, person))
    return WhyNot(stand_ins) if stand_ins else None


def _left_out_sentences(chain: Chain, person: PersonId) -> Iterator[str]:
    for index, state in enumerate(chain.steps):
        if (why := state.left_out.get(person)) is not None:
            yield f"They were left out of step {index + 1}: {exclusion_sentence(why)}."


def _stand_ins(chain: Chain, person: PersonId) -> Iterator[str]:
    """A sentence for each message that another person got in the place of this one."""
    for message in chain.messages:
        if message.person_id != person and person in message.holders:
            yield f"Another person stands in for them: {message_sentence(message)}."


def _by_steps(chain: Chain, rule: Rule | None) -> WhyNot:
    """The reason for a person whom the chain has not written to: whom it wrote to, and which steps still follow."""
    others = sorted({message.person_id for message in chain.messages})
    sentence = f"Its messages are for {', '.join(others)}." if others else "It has written to nobody yet."
    empty = [
        f"No person was found for “{who}”: {exclusion_sentence(why)}."
        for state in chain.steps
        for who, why in state.left_out.items()
        if why == ExclusionReason.UNKNOWN_ROLE
    ]
    waiting = [index for index, state in enumerate(chain.steps) if state.status is StepStatus.PENDING]
    if waiting and chain.active and rule is not None:
        steps = [step for step in rule.steps if step.index in waiting]
        listed = "; ".join(f"step {step.index + 1}, {step_sentence(step)}" for step in steps)
        return WhyNot(
            [f"They are not among those it has written to so far. {sentence}", f"Still to come: {listed}.", *empty]
        )
    ended = f" It ended “{chain.ended or chain.closing}”." if not chain.active else ""
    return WhyNot([f"They are not among those it addresses.{ended} {sentence}", *empty])


def _unless_sentence(rule: Rule | None, step: int, why: str) -> Iterator[str]:
    """A sentence that names the place of the condition that left a person out."""
    if why == ExclusionReason.UNLESS and rule is not None and step < len(rule.steps):
        location = rule.steps[step].location
        yield f"The condition belongs to the step at {location.file}:{location.line}."


def why_not_by_conditions(judgement: RuleJudgement, event: str, at: datetime) -> WhyNot:
    """The conditions that did not hold, each with the value it was judged by."""
    failing = [line for group in _failing_groups(judgement.lines) for line in group]
    sentence = f"{event} came at {at:%Y-%m-%d %H:%M}Z, but the rule’s conditions did not hold:"
    return WhyNot([sentence, *map(_failing_line, failing)])


def why_not_by_current_facts(rule: Rule, event: Event, facts: Facts, book: Rulebook) -> WhyNot:
    """The same for an event from which nothing followed: the facts of its time were not kept.

    Conditions on the event itself are certain. The current facts are looked at only where all of those held.
    """
    name = name_of(event)
    judgement = next((one for one in judge_rules(event, name, facts, book, event.time) if one.rule == rule.name), None)
    groups = _failing_groups(judgement.lines) if judgement is not None else []
    certain = [group for group in groups if all(is_event_field(line.field) for line in group if line.field)]
    failing = [_failing_line(line) for group in certain or groups for line in group]
    came = f"{name} came at {event.time:%Y-%m-%d %H:%M}Z"
    if certain:
        return WhyNot([f"{came}, but the rule’s conditions did not hold:", *failing])
    if groups:
        sentence = f"{came}, and nothing followed from it. By what is known now, the rule’s conditions do not hold:"
        return WhyNot([sentence, *failing])
    return WhyNot(
        [
            f"{came}, and nothing that followed from it is kept. By what is known now, the rule’s conditions hold.",
            "The rule may have come into force later, a fact may have changed, or the decision is kept no longer.",
        ]
    )


def _failing_groups(lines: Sequence[ConditionLine]) -> list[list[ConditionLine]]:
    """Each condition of the outermost depth that did not hold, with what stands within it."""
    groups: list[list[ConditionLine]] = []
    for line in lines:
        if line.depth == 0:
            groups.append([])
        groups[-1].append(line)
    return [group for group in groups if not group[0].holds]


def _failing_line(line: ConditionLine) -> str:
    return f"{'  ' * line.depth}{line.text}: it was {line.value}" if line.value else f"{'  ' * line.depth}{line.text}"
