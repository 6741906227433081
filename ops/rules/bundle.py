"""``stet rules bundle``: recorded decisions and events in one file, without personal data."""

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Self

import typer

from ops.command_line import ExitCode, print_error, print_lines
from ops.command_settings import OperatorSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.folder import require_rules
from ops.rules.history import QUERIES, History, Last, span_of
from ops.rules.output import counted, track
from ops.timeline import read_event
from ops.topic_reader import TopicScan
from services.rules.analysis.bundle import Bundle, BundleHead
from services.rules.analysis.pseudonyms import Pseudonyms, contacts_named
from services.rules.analysis.recorded_stories import (
    AbsenceNotices,
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
from services.rules.conversation.fact_values import Absence, Consent, PersonFacts, WorkFacts
from services.rules.conversation.facts import Facts
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.story_file import read_stories
from shared.contracts.envelope import Event
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.topics import CONSONANCE_EVENTS, WHATSAPP_MESSAGES
from shared.contracts.values import decode, encode
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
    files = read_folder(require_rules(folder))
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
    people = [_KnownPerson.of(row) for row in await pool.fetch(QUERIES.people, settings.tenant)]
    notices = AbsenceNotices(Facts(settings.tenant, people={one.facts.person_id: one.facts for one in people}))
    books = {revision: history.rulebook(revision) for revision in history.revisions()}
    decided_by = {one.about: books.get(one.revision) for one in inputs}
    newest = next(reversed(books.values()), None)
    bundle = Bundle(BundleHead(tenant=settings.tenant, written_at=machine_now(), since=since, until=until))
    left_out = _add_decisions(bundle, history, names, inputs)
    found = await TopicScan(settings, [CONSONANCE_EVENTS, WHATSAPP_MESSAGES]).find_all(
        [""], int(since.timestamp() * 1000) if settings.development_clock is None else None
    )
    for record in found:
        event = read_event(record)
        if event is not None and since <= event.recordedtime <= until:
            add_event(bundle, names, event, decided_by.get(event.id) or newest, notices)
    for row in await pool.fetch(QUERIES.chains_since, settings.tenant, since):
        add_chain(bundle, names, decode(Chain, row["document"]))
    initial = [event async for event in _state(pool, settings.tenant, since, people)]
    sort_events(bundle, initial, names, [one.about for one in inputs])
    bundle.head = bundle.head.replace(
        opted_out=tuple(PersonId(names.person(one.facts.person_id)) for one in people if one.opted_out_before(since)),
        absences=_absences_before(people, notices, names),
        left_out=left_out,
    )
    return bundle


@dataclass(frozen=True, slots=True)
class _KnownPerson:
    facts: PersonFacts
    consent: Consent
    absence: Absence | None

    @classmethod
    def of(cls, row: Mapping[str, str | None]) -> Self:
        consent, absence = row["consent"], row["absence"]
        return cls(
            decode(PersonFacts, row["document"] or ""),
            decode(Consent, consent) if consent else Consent(),
            decode(Absence, absence) if absence else None,
        )

    def opted_out_before(self, since: datetime) -> bool:
        at = self.consent.opted_out_at
        return self.consent.opted_out and at is not None and at < since


def _absences_before(
    people: Iterable[_KnownPerson], notices: AbsenceNotices, names: Pseudonyms
) -> dict[PersonId, Absence]:
    found = {}
    for one in people:
        person = one.facts.person_id
        before = notices.before(person, one.absence) if one.absence is not None else None
        if before is not None:
            found[PersonId(names.person(person))] = decode(Absence, names.replace(encode(before)))
    return found


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


async def _state(pool: Pool, tenant: TenantId, since: datetime, people: Iterable[_KnownPerson]) -> AsyncIterator[Event]:
    for row in await pool.fetch(QUERIES.works, tenant):
        work = decode(WorkFacts, row["document"]).state
        yield state_event(tenant, work, since, "works", work.work.work_id)
    for one in people:
        yield state_event(tenant, person_state(one.facts, since), since, "persons", one.facts.person_id)
