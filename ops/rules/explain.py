"""``stet rules explain EVENT|CHAIN|MESSAGE``: why it was decided so, and what comes next."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ops.command_line import ExitCode, print_error, print_json, print_lines
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.history import QUERIES, History
from ops.rules.output import ReportFormat, format_option
from ops.timeline import HELD_UNTIL, NEXT_DUE, Entry, EntryStage, IdKind, kind_of, life_of, read_event, with_contacts
from ops.topic_reader import TopicScan
from services.rules.analysis.explain import (
    Explanation,
    WhyNot,
    coming_steps,
    explain,
    name_of,
    reason_sentence,
    why_not_by_current_facts,
)
from services.rules.analysis.replay import Replayer
from services.rules.conversation.chain import Chain
from services.rules.conversation.decision_inputs import DecisionInputs
from shared.contracts import consonance
from shared.contracts.decisions import DecisionRecorded, NoEffectRecorded
from shared.contracts.envelope import Event
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import MessageId
from shared.contracts.topics import CONSONANCE_EVENTS, DECISIONS, MESSAGES_EVENTS, WHATSAPP_MESSAGES, WRITES_EVENTS
from shared.contracts.values import decode
from shared.runtime.postgres import Pool


@dataclass(frozen=True, slots=True)
class FoundDecisions:
    """``missing`` counts the decisions whose facts are kept no longer. ``entries`` are the time line of a chain."""

    explanations: Sequence[Explanation]
    missing: int = 0
    entries: Sequence[Entry] = ()
    coming: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class EventWithoutEffect:
    """An event without an effect, with the conditions that did not hold, for each rule that begins with such an event.

    ``reason`` is that of the decision, where its record still says it.
    """

    event: Event
    name: str
    reason: str
    rules: Mapping[str, WhyNot]


def explain_command(
    thing: Annotated[str, typer.Argument(metavar="EVENT|CHAIN|MESSAGE", help="Its id, as traces and logs show it.")],
    *,
    output: Annotated[ReportFormat, format_option(ReportFormat.TEXT, ReportFormat.JSON)] = ReportFormat.TEXT,
) -> None:
    """Say why it was decided so: the event, each condition with its value, who was chosen and left out and why.

    Of a chain and of a message also the time line so far, and what comes next and when. It is said from what each
    decision was really made from (STET_KEEP_DECISION_INPUTS_DAYS), made again by the rules of its time. Ends with 1
    where no decision about it is kept.
    """
    settings = load_command_settings(OperatorSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            found = await _explain(pool, settings, thing)
            known = bool(found.explanations or found.entries)
            event = None if known else await _without_effect(pool, settings, thing)
            lines = await with_contacts(pool, settings.tenant, _lines(found))
        if event is not None:
            _print_without_effect(event, output)
            return ExitCode.FINE
        if not known:
            return print_error(f"no decision about {thing} is kept; stet trace {thing} says what else is known")
        if output is ReportFormat.JSON:
            print_json(_rows(found))
        else:
            print_lines(lines)
        return ExitCode.FINE

    run(command())


async def _explain(pool: Pool, settings: OperatorSettings, thing: str) -> FoundDecisions:
    kind, given = await kind_of(pool, settings.tenant, thing)
    if kind is IdKind.PERSON:
        raise Misconfigured(
            thing, f"it is a person: name an event, a chain or a message; stet trace {thing} lists theirs"
        )
    history = History(pool, settings.tenant)
    chain_id = given if kind is IdKind.CHAIN else None
    if kind is IdKind.MESSAGE:
        chain_id = await pool.fetchval(QUERIES.chain_of_message, given)
    row = await pool.fetchrow(QUERIES.chain, settings.tenant, chain_id) if chain_id else None
    chain = decode(Chain, row["document"]) if row is not None else None
    if chain is None:
        return await _found(history, await history.inputs_about(given), None, given)
    began = [chain.correlation] if chain.correlation else []
    found = await _found(history, await history.inputs_naming(chain.chain_id, began), chain, given)
    life = await life_of(pool, settings.tenant, chain.chain_id, None, None)
    return FoundDecisions(found.explanations, found.missing, life.entries, found.coming)


async def _without_effect(pool: Pool, settings: OperatorSettings, thing: str) -> EventWithoutEffect | None:
    """None for what is no event that rules reads."""
    topics = [CONSONANCE_EVENTS, WHATSAPP_MESSAGES, MESSAGES_EVENTS, WRITES_EVENTS, DECISIONS]
    scan = TopicScan(settings, topics)
    records = await scan.find_all([thing], None)
    events = [event for record in records if (event := read_event(record)) is not None]
    event = next((each for each in events if each.id == thing), None)
    if event is None and scan.missing:
        raise Misconfigured("STET_KAFKA_BOOTSTRAP", scan.missing)
    if event is None or isinstance(event.data, (DecisionRecorded, NoEffectRecorded)):
        return None
    without_effect = (each.data for each in events if isinstance(each.data, NoEffectRecorded))
    reason = next((record.reason for record in without_effect if thing in record.events), "")
    name = name_of(event)
    if event.type not in consonance.KINDS:
        return EventWithoutEffect(event, name, reason, {})
    history = History(pool, settings.tenant)
    await history.load_rulebooks()
    book = next((history.rulebook(revision) for revision in reversed(list(history.revisions()))), None)
    facts = await history.current_facts(event)
    rules = [rule for rule in book.rules.values() if name in rule.events] if book is not None else []
    return EventWithoutEffect(
        event,
        name,
        reason,
        {rule.name: why_not_by_current_facts(rule, event, facts, book) for rule in rules if book is not None},
    )


def _print_without_effect(found: EventWithoutEffect, output: ReportFormat) -> None:
    event, name = found.event, found.name
    verdicts = [reason_sentence(found.reason)] if found.reason else []
    if output is ReportFormat.JSON:
        rules = [{"rule": rule, "sentences": list(each.sentences)} for rule, each in found.rules.items()]
        print_json([{"about": event.id, "event": name, "at": event.time, "rules": rules, "verdicts": verdicts}])
        return
    lines = [f"{name}, {event.time:%Y-%m-%d %H:%M:%S}Z ({event.id})"]
    if found.rules:
        lines.append("Nothing followed from it.")
    elif event.type in consonance.KINDS:
        lines.append(f"No rule begins with {name}, so nothing followed.")
    else:
        lines.append(
            f"Nothing followed from it: {verdicts[0]}." if verdicts else "Nothing that followed from it is kept."
        )
    for rule, each in found.rules.items():
        lines += [f"Rule {rule}: {each.sentences[0]}", *(f"  {sentence}" for sentence in each.sentences[1:])]
    print_lines(lines)


async def _found(history: History, inputs: Sequence[DecisionInputs], chain: Chain | None, given: str) -> FoundDecisions:
    """Of a message only the decision that requested it; of a chain those that name it in a verdict."""
    await history.load_for(inputs)
    replayer, explanations, missing, coming = Replayer(history.rulebook), list[Explanation](), 0, list[str]()
    for one in inputs:
        try:
            explanation, facts = explain(one, replayer, history.fact)
        except KeyError:
            missing += 1
            continue
        own = chain is None or any(each.chain_id == chain.chain_id for each in explanation.chains)
        if not own or not _requests(explanation, chain, given):
            continue
        explanations.append(explanation)
        if chain is not None:
            book = replayer.rulebooks(chain.revision)
            coming = list(coming_steps(chain, facts, book, one.now))
    return FoundDecisions(explanations, missing, coming=coming)


def _requests(explanation: Explanation, chain: Chain | None, given: str) -> bool:
    """Whether the decision requested this message; true for what is no message of the chain."""
    if chain is None or (message := chain.message(MessageId(given))) is None:
        return True
    return message.requested_at is None or message.requested_at == explanation.decided_at


def _lines(found: FoundDecisions) -> Iterator[str]:
    for explanation in found.explanations:
        yield from explanation_lines(explanation)
        yield ""
    if found.missing:
        yield f"({found.missing} earlier decisions cannot be explained: what they were made from is kept no longer)"
    if found.entries:
        yield "So far:"
        yield from _time_line(found.entries)
        yield "What comes next:" if found.coming else "Nothing comes next by time alone."
        yield from (f"  {line}" for line in found.coming)


def _time_line(entries: Sequence[Entry]) -> Iterator[str]:
    """The past alone: “What comes next” follows it. Attempts and reports say of which message or write they are."""
    queued = {entry.about: entry.detail.partition(" by ")[0] for entry in entries if entry.stage is EntryStage.QUEUED}
    for entry in entries:
        if entry.what in (NEXT_DUE, HELD_UNTIL):
            continue
        of = entry.stage in (EntryStage.ATTEMPTED, EntryStage.REPORTED) and queued.get(entry.about)
        what = f"{entry.what} ({of})" if of else entry.what
        yield f"  {entry.at:%Y-%m-%d %H:%M}Z  {what}{f': {entry.detail}' if entry.detail else ''}"


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    yield f"{explanation.event}, {explanation.at:%Y-%m-%d %H:%M:%S}Z ({explanation.about})"
    yield from (f"  {name}: {value}" for name, value in explanation.fields.items())
    yield f"Decided at {explanation.decided_at:%Y-%m-%d %H:%M:%S}Z by rulebook {explanation.revision[:12]}:"
    yield from (f"  {sentence}" for sentence in explanation.verdicts)
    if not explanation.repeated:
        yield "  (this version of Stet would decide otherwise: what follows may differ from what happened)"
    for judgement in explanation.judgements:
        yield f"Rule {judgement.rule}: {'its conditions held' if judgement.held else 'a condition did not hold'}"
        for line in judgement.lines:
            mark, value = "✓" if line.holds else "✗", f"   ({line.value})" if line.value else ""
            yield f"  {'  ' * line.depth}{mark} {line.text}{value}"
    if explanation.people:
        yield "Who:"
        yield from (f"  {sentence}" for sentence in explanation.people)


def _rows(found: FoundDecisions) -> Iterator[dict[str, Any]]:
    for one in found.explanations:
        yield {
            "about": one.about,
            "event": one.event,
            "at": one.at,
            "decided_at": one.decided_at,
            "revision": one.revision,
            "fields": dict(one.fields),
            "rules": [
                {
                    "rule": judged.rule,
                    "held": judged.held,
                    "conditions": [
                        {"condition": line.text, "value": line.value, "held": line.holds} for line in judged.lines
                    ],
                }
                for judged in one.judgements
            ],
            "verdicts": list(one.verdicts),
            "people": list(one.people),
            "would_be_decided_so_again": one.repeated,
        }
    if found.entries:
        yield {
            "so_far": [{**entry.fields(reveal=False), "at": entry.at.isoformat()} for entry in found.entries],
            "next": list(found.coming),
        }
