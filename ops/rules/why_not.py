"""``stet rules why-not RULE PERSON SUBJECT [TIME]``: why a rule did not write to a person."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error, print_json, print_lines
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.history import History, time_of
from ops.rules.output import ReportFormat, format_option
from ops.timeline import QUERIES, IdKind, kind_of, readable_chains, with_contacts
from ops.topic_reader import TopicScan
from ops.why import as_key, events_about
from services.rules.analysis.explain import (
    WhyNot,
    explain,
    why_not_by_chain,
    why_not_by_conditions,
    why_not_by_current_facts,
)
from services.rules.analysis.replay import Replayer
from services.rules.conversation.chain import Chain
from services.rules.conversation.decision_inputs import DecisionInputs
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.model import Rule, Rulebook
from shared.contracts.envelope import Event
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import PersonId, Revision, RuleId
from shared.contracts.topics import CONSONANCE_EVENTS

_AROUND = timedelta(days=1)
_MOST_CHAINS = 50
_STATE = ".observed"  # the facts that come before each change, by which no rule begins


def why_not_command(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule that should have written.")],
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The person's id, or their contact's in Consonance.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="A work's id (61417), or request_id=R-9.")],
    time: Annotated[
        str | None,
        typer.Argument(metavar="[TIME]", help="About when (UTC): a day before and after it is looked at."),
    ] = None,
    *,
    output: Annotated[ReportFormat, format_option(ReportFormat.TEXT, ReportFormat.JSON)] = ReportFormat.TEXT,
) -> None:
    """Say why a rule did not write to a person about a subject; or that it did, and when.

    No event came, a condition did not hold, the person was left out, their turn has not come, or the rule addresses
    others: the first of these that is so is said, with what it rests on.
    """
    settings = load_command_settings(OperatorSettings)
    at = None if time is None else time_of(time)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            kind, person_id = await kind_of(pool, settings.tenant, person)
            if kind is not IdKind.PERSON:
                return print_error(f"no table knows a person or a contact {person}")
            history = History(pool, settings.tenant)
            await history.load_rulebooks()
            if RuleId(rule) not in _rules_of(history):
                return print_error(_unknown_rule(history, rule), code=ExitCode.CANNOT_RUN)
            found = await _why_not(history, settings, RuleId(rule), PersonId(person_id), subject, at)
            sentences = (sentence for each in found for sentence in each.sentences)
            lines = await with_contacts(pool, settings.tenant, sentences)
        if output is ReportFormat.JSON:
            print_json([{"got_a_message": each.got, "sentences": list(each.sentences)} for each in found])
        else:
            print_lines(lines)
        return ExitCode.FINE

    run(command())


async def _why_not(
    history: History, settings: OperatorSettings, rule_id: RuleId, person: PersonId, subject: str, at: datetime | None
) -> list[WhyNot]:
    key, tags = as_key(settings.tenant, subject)
    rows = await history.pool.fetch(QUERIES.chains_of_subject, settings.tenant, key, tags, _MOST_CHAINS)
    readable = ((chain, changed_at) for chain, changed_at in readable_chains(rows) if chain.rule == rule_id)
    chains = [chain for chain, changed_at in readable if ran_near(chain, changed_at, at)]
    if chains:
        return [why_not_by_chain(chain, _rule_of(history, chain), person) for chain in chains]
    scan = TopicScan(settings, [CONSONANCE_EVENTS])
    events = await events_about(scan, key, tags, None)
    if scan.missing:
        raise Misconfigured("STET_KAFKA_BOOTSTRAP", scan.missing)
    book = _newest_rulebook(history, rule_id)
    near = [(event, name) for event, name in events if _is_near(event.time, at)]
    begun_by = [(event, name) for event, name in near if name in book.rules[rule_id].events]
    if not begun_by:
        return [_no_event(book.rules[rule_id], {name for _, name in near}, subject, at)]
    found: list[WhyNot] = []
    for event, name in begun_by:
        inputs = await history.inputs_about(event.id)
        found += await _by_inputs(history, book, rule_id, event, name, inputs)
    return found


def _no_event(rule: Rule, came: set[str], subject: str, at: datetime | None) -> WhyNot:
    when = "" if at is None else f" from {at - _AROUND:%Y-%m-%d %H:%M}Z to {at + _AROUND:%Y-%m-%d %H:%M}Z"
    listed = " and ".join(sorted(name for name in came if not name.endswith(_STATE)))
    came_instead = f"about {subject} came only {listed}" if listed else f"nothing came about {subject}"
    return WhyNot([f"The rule begins with {' or '.join(rule.events)}; {came_instead}{when}."])


async def _by_inputs(
    history: History, book: Rulebook, rule_id: RuleId, event: Event, name: str, inputs: Sequence[DecisionInputs]
) -> list[WhyNot]:
    """An event from which nothing followed has no inputs: what it says is judged, and the facts of now."""
    await history.load_for(inputs)
    replayer = Replayer(history.rulebook)
    for one in inputs:
        if one.about != event.id:
            continue
        try:
            explanation, _ = explain(one, replayer, history.fact)
        except KeyError:
            break
        judged = next((each for each in explanation.judgements if each.rule == rule_id), None)
        if judged is not None and not judged.held:
            return [why_not_by_conditions(judged, name, event.time)]
        return [
            WhyNot([f"{name} came at {event.time:%Y-%m-%d %H:%M}Z: {sentence}." for sentence in explanation.verdicts])
        ]
    return [why_not_by_current_facts(book.rules[rule_id], event, await history.current_facts(event), book)]


def _newest_rulebook(history: History, rule: RuleId) -> Rulebook:
    """The newest rulebook that has the rule."""
    books = [history.rulebook(revision) for revision in history.revisions()]
    return next(book for book in reversed(books) if rule in book.rules)


def _rules_of(history: History) -> set[RuleId]:
    return {name for revision in history.revisions() for name in history.rulebook(revision).rules}


def _rule_of(history: History, chain: Chain) -> Rule | None:
    known = Revision(chain.revision) in set(history.revisions())
    return history.rulebook(chain.revision).rules.get(chain.rule) if known else None


def _unknown_rule(history: History, rule: str) -> str:
    near = nearest_word(rule, sorted(_rules_of(history)))
    return f"there is no rule “{rule}”{f'; did you mean “{near}”?' if near else ''}"


def ran_near(chain: Chain, changed_at: datetime, at: datetime | None) -> bool:
    """Whether the chain ran about then. It may have begun long before; its newest change is not before its end."""
    if at is None:
        return True
    return chain.started_at <= at + _AROUND and (chain.live or changed_at >= at - _AROUND)


def _is_near(instant: datetime, at: datetime | None) -> bool:
    return at is None or abs(instant - at) <= _AROUND
