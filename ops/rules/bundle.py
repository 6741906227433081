"""``stet rules bundle``: recorded decisions and events in one file, without personal data."""

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, OperatorSettings, load_command_settings, print_error, print_lines, run
from ops.database import operator_pool
from ops.rules.history import QUERIES, History, Last, span_of
from ops.rules.output import counted, track
from ops.timeline import read_event
from ops.topic_reader import TopicScan
from services.rules.analysis.bundle import Bundle, BundleHead
from services.rules.analysis.pseudonyms import Pseudonyms, contacts_named
from services.rules.analysis.recorded_stories import (
    add_chain,
    add_event,
    option_labels,
    person_state,
    record_stories,
    sort_events,
    state_event,
)
from services.rules.analysis.replay import BundleRecorder, NotAdded, Replayer
from services.rules.conversation.chain import Chain
from services.rules.conversation.decision_inputs import DecisionInputs
from services.rules.conversation.fact_values import Consent, PersonFacts, WorkFacts
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.story_file import read_stories
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId
from shared.contracts.topics import CONSONANCE_EVENTS, WHATSAPP_MESSAGES
from shared.contracts.values import decode
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool

_SENTENCES = {
    NotAdded.FACT_MISSING: "made from facts that are kept no longer",
    NotAdded.RULEBOOK_MISSING: "made by a rulebook that is not stored, or not readable by this version",
    NotAdded.DECIDED_OTHERWISE: "that this version makes otherwise",
    NotAdded.NOT_ANONYMOUS: "that would be others without personal data",
}


def bundle_command(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write: a gzip of JSON lines.")],
    last: Last = "14d",
    stories: Annotated[
        Path | None,
        typer.Option(
            "--stories", metavar="FOLDER", help="Record the decisions of FOLDER’s stories instead, for replay."
        ),
    ] = None,
) -> None:
    """Write recorded decisions and events into one file without personal data, for replay and diff.

    With --stories it has the decisions of stories alone, for replay: diff plays stories without a bundle.

    People outside the rule files get pseudonyms that hold within this file alone; there is no number, no name, no text
    of a person and no text of a message in it. A decision is added only if it comes out the same with them.
    """
    if stories is not None:
        raise typer.Exit(_bundle_stories(stories, out))
    if not out.absolute().parent.is_dir():
        sentence = f"--out: there is no folder {out.absolute().parent}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    span = span_of(last)
    settings = load_command_settings(OperatorSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            until = settings.clock().now()
            bundle = await live_bundle(pool, settings, until - span, until)
        return _write(bundle, out)

    run(command())


def _bundle_stories(folder: Path, out: Path) -> int:
    if not folder.is_dir():
        return print_error(f"{folder}: there is no such folder", code=ExitCode.CANNOT_RUN)
    files = read_folder(folder)
    stories, faults = read_stories(files)
    if faults:
        return print_error(str(faults[0]), code=ExitCode.CANNOT_RUN)
    found = record_stories(files, stories)
    left_out = {str(reason): count for reason, count in found.refused.items()}
    found.bundle.head = found.bundle.head.replace(left_out=left_out)
    return _write(found.bundle, out)


def _write(bundle: Bundle, out: Path) -> int:
    try:
        bundle.write(out)
    except OSError as error:
        return print_error(f"--out: {out} cannot be written: {error.strerror}", code=ExitCode.CANNOT_RUN)
    parts = [counted(len(bundle.decisions), "decision"), counted(len(bundle.events), "event")]
    left_out = [
        f"not in it: {counted(n, 'decision')} {_SENTENCES[NotAdded(why)]}" for why, n in bundle.head.left_out.items()
    ]
    print_lines([f"{out}: {', '.join(parts)}, {out.stat().st_size:,} bytes", *left_out])
    return ExitCode.FINE


async def live_bundle(pool: Pool, settings: OperatorSettings, since: datetime, until: datetime) -> Bundle:
    """The decisions, events and reactions of a time, from the tables of rules and the topics."""
    history = History(pool, settings.tenant)
    inputs = await history.inputs(since, until + timedelta(microseconds=1))
    await history.load_for(inputs)
    names = _pseudonyms(history, settings)
    bundle = Bundle(BundleHead(tenant=settings.tenant, written_at=machine_now(), since=since, until=until))
    left_out = _add_decisions(bundle, history, names, inputs)
    found = await TopicScan(settings, [CONSONANCE_EVENTS, WHATSAPP_MESSAGES]).find_all(
        [""], int(since.timestamp() * 1000) if settings.development_clock is None else None
    )
    for record in found:
        event = read_event(record)
        if event is not None and since <= event.recordedtime <= until:
            add_event(bundle, names, event)
    for row in await pool.fetch(QUERIES.chains_since, settings.tenant, since):
        add_chain(bundle, names, decode(Chain, row["document"]))
    opted_out: list[PersonId] = []
    initial = [event async for event in _state(pool, settings, since, opted_out)]
    sort_events(bundle, initial, names, [one.about for one in inputs])
    gone = tuple(PersonId(names.person(person)) for person in opted_out)
    bundle.head = bundle.head.replace(opted_out=gone, left_out=left_out)
    return bundle


def _pseudonyms(history: History, settings: OperatorSettings) -> Pseudonyms:
    books = [history.rulebook(revision) for revision in history.revisions()]
    named = {contact for book in books for contact in contacts_named(book)}
    return Pseudonyms(
        secrets.token_bytes(32), settings.tenant, named, {o for book in books for o in option_labels(book)}
    )


def _add_decisions(
    bundle: Bundle, history: History, names: Pseudonyms, inputs: Sequence[DecisionInputs]
) -> dict[str, int]:
    recorder = BundleRecorder(bundle, Replayer(history.rulebook), names, history.files)
    left_out: dict[str, int] = {}
    for one in track(inputs, "decisions", len(inputs)):
        if (reason := recorder.add(one, history.fact)) is not None:
            left_out[reason] = left_out.get(reason, 0) + 1
    return left_out


async def _state(
    pool: Pool, settings: OperatorSettings, since: datetime, opted_out: list[PersonId]
) -> AsyncIterator[Event]:
    for row in await pool.fetch(QUERIES.works, settings.tenant):
        work = decode(WorkFacts, row["document"]).state
        yield state_event(settings.tenant, work, since, "works", work.work.work_id)
    for row in await pool.fetch(QUERIES.people, settings.tenant):
        person = decode(PersonFacts, row["document"])
        yield state_event(settings.tenant, person_state(person, since), since, "persons", person.person_id)
        consent = decode(Consent, row["consent"]) if row["consent"] else Consent()
        if consent.opted_out and consent.opted_out_at is not None and consent.opted_out_at < since:
            opted_out.append(person.person_id)
