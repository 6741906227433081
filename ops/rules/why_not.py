"""``stet rules why-not RULE PERSON SUBJECT [TIME]``: why a rule did not write to a person."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ops.command_line import (
    ExitCode,
    OperatorSettings,
    load_command_settings,
    print_error,
    print_json,
    print_lines,
    run,
)
from ops.database import operator_pool
from ops.rules.history import History
from ops.rules.output import ReportFormat, format_option
from ops.timeline import QUERIES, IdKind, kind_of, readable_chains
from ops.why import as_key, events_about
from services.rules.analysis.explain import WhyNot, explain, why_not_by_chain, why_not_by_conditions
from services.rules.analysis.replay import Replayer
from services.rules.conversation.chain import Chain
from services.rules.conversation.decision_inputs import DecisionInputs
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.model import Rule
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, Revision, RuleId
from shared.runtime.postgres import Pool

_AROUND = timedelta(days=1)
_MOST_CHAINS = 50


def why_not_command(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule that should have written.")],
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The person's id, or their contact's in Consonance.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="A work's id (61417), or request_id=R-9.")],
    time: Annotated[
        datetime | None,
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
    at = time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time

    async def command() -> int:
        async with operator_pool(settings) as pool:
            kind, person_id = await kind_of(pool, settings.tenant, person)
            if kind is not IdKind.PERSON:
                return print_error(f"no table knows a person or a contact {person}")
            found = await _why_not(pool, settings, RuleId(rule), PersonId(person_id), subject, at)
        if output is ReportFormat.JSON:
            print_json([{"got_a_message": each.got, "sentences": list(each.sentences)} for each in found])
        else:
            print_lines(line for each in found for line in each.sentences)
        return ExitCode.FINE

    run(command())


async def _why_not(
    pool: Pool, settings: OperatorSettings, rule_id: RuleId, person: PersonId, subject: str, at: datetime | None
) -> list[WhyNot]:
    history = History(pool, settings.tenant)
    await history.load_rulebooks()
    rule = _newest_rule(history, rule_id)
    key, tags = as_key(settings.tenant, subject)
    rows = await pool.fetch(QUERIES.chains_of_subject, settings.tenant, key, tags, _MOST_CHAINS)
    chains = [chain for chain, _ in readable_chains(rows) if chain.rule == rule_id and _is_near(chain.started_at, at)]
    if chains:
        return [why_not_by_chain(chain, _rule_of(history, chain), person) for chain in chains]
    if rule is None:
        return [WhyNot([_unknown_rule(history, rule_id)])]
    events = await events_about(settings, key, tags, None)
    return await _by_events(history, rule, [(e, n) for e, n in events if _is_near(e.time, at)], subject)


async def _by_events(history: History, rule: Rule, events: Sequence[tuple[Event, str]], subject: str) -> list[WhyNot]:
    begun_by = [(event, name) for event, name in events if name in rule.events]
    if not begun_by:
        listed = ", ".join(sorted({name for _, name in events})) or "none at all"
        wanted = " or ".join(rule.events)
        return [WhyNot([f"The rule begins with {wanted}; about {subject} came {listed}."])]
    found: list[WhyNot] = []
    for event, name in begun_by:
        inputs = await history.inputs_about(event.id)
        found += await _by_inputs(history, rule, event, name, inputs)
    return found


async def _by_inputs(
    history: History, rule: Rule, event: Event, name: str, inputs: Sequence[DecisionInputs]
) -> list[WhyNot]:
    """An event from which nothing followed has no inputs: no rule's conditions held."""
    await history.load_for(inputs)
    replayer = Replayer(history.rulebook)
    for one in inputs:
        if one.about != event.id:
            continue
        try:
            explanation, _ = explain(one, replayer, history.fact)
        except KeyError:
            break
        judged = next((each for each in explanation.judgements if each.rule == rule.name), None)
        if judged is not None and not judged.held:
            return [why_not_by_conditions(judged, name, event.time)]
        return [
            WhyNot([f"{name} came at {event.time:%Y-%m-%d %H:%M}Z: {sentence}." for sentence in explanation.verdicts])
        ]
    sentence = f"{name} came at {event.time:%Y-%m-%d %H:%M}Z, and nothing followed from it: no rule’s conditions held"
    return [WhyNot([f"{sentence}, or it was decided longer ago than what decisions were made from is kept."])]


def _newest_rule(history: History, rule: RuleId) -> Rule | None:
    """The rule in the newest rulebook that has it."""
    found = [history.rulebook(revision).rules.get(rule) for revision in history.revisions()]
    return next((one for one in reversed(found) if one is not None), None)


def _rule_of(history: History, chain: Chain) -> Rule | None:
    known = Revision(chain.revision) in set(history.revisions())
    return history.rulebook(chain.revision).rules.get(chain.rule) if known else None


def _unknown_rule(history: History, rule: RuleId) -> str:
    known = {name for revision in history.revisions() for name in history.rulebook(revision).rules}
    near = nearest_word(rule, sorted(known))
    return f"There is no rule “{rule}”{f'; did you mean “{near}”?' if near else ''}"


def _is_near(instant: datetime, at: datetime | None) -> bool:
    return at is None or abs(instant - at) <= _AROUND
