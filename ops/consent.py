"""``stet consent``: on which ground a person may be written to, from the ledger, and opt-ins from a list.

An import is a change of consent like any other: under the locks of the people, with an entry in the ledger for each,
and an entry in the audit log for all. Without ``--apply`` it only shows what it would do.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from ops.changes import ReadReason, Yes, audited, confirm
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    command_group,
    print_error,
    print_fields,
    print_json,
    print_rows,
)
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.consent_import import ConsentRow, PlannedRow, UnusableFile, decode_file, people_named, plan_import, read_rows
from ops.database import operator_pool
from ops.timeline import QUERIES as TRACE
from ops.timeline import IdKind, kind_of
from services.rules.conversation.context import DecisionContext, ExclusionReason
from services.rules.conversation.fact_values import Consent, PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.people import staff_roles
from services.rules.conversation.recipients import exclusion_reason, find_ground
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rulebook
from services.rules.store import QUERIES as RULES
from services.rules.store import exclusive_locks_of, save_consent
from shared.contracts.ids import PersonId, TenantId
from shared.contracts.values import decode
from shared.runtime.postgres import Connection, Pool, acquire_locks, load_queries

QUERIES = load_queries(__file__, "consent.sql")
_SCHEMA = "rules"
_GROUND_COLUMNS = {"role": "role", "allowed": "may be written to", "ground": "ground", "because": "because"}
_LEDGER_COLUMNS = {"at": "at", "change": "change", "source": "source", "line": "line", "evidence": "evidence"}
_IMPORT_COLUMNS = {
    "line": "line",
    "person_id": "person",
    "category": "category",
    "at": "at",
    "outcome": "outcome",
    "evidence": "evidence",
}
_BECAUSE = {
    "opt_in": "the person opted in: see the ledger",
    "staff": "people.yaml has the person in a team",
    "contract": "house.yaml declares basis.{role}: contract",
    "legitimate_interest": "house.yaml declares basis.{role}: legitimate_interest",
    ExclusionReason.NO_CONSENT: "there is no opt-in, and house.yaml declares no basis for this role",
    ExclusionReason.OPTED_OUT: "the person opted out: see the ledger",
    ExclusionReason.WRONG_PERSON: "somebody at the address wrote that they are not this person",
    ExclusionReason.NO_ADDRESS: "no number and no BSUID is known",
    ExclusionReason.ERASED: "the person is erased",
}

app = command_group("On which ground people may be written to, and their opt-ins.")


@app.command("show")
def show_command(
    person: Annotated[
        str, typer.Argument(metavar="PERSON", help="The person's id, or their contact's id in Consonance.")
    ],
    *,
    reason: ReadReason,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show in which roles a person may be written to and on which ground, and every entry of the consent ledger.

    The ledger has WhatsApp's ids of messages, which are personal data: the audit log says who read it. Exit code 1
    where the person is not known, or may be written to in no role.
    """
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings, _SCHEMA) as pool:
            kind, person_id = await kind_of(pool, settings.tenant, person)
            if kind is not IdKind.PERSON:
                return print_error(f"no table knows a person or a contact {person}")
            async with audited(pool, "show consent", person_id, reason):
                facts = await load_facts(pool, settings.tenant, [PersonId(person_id)])
                book = await _rulebook(pool)
                ids = sorted(facts.ids_of_person(PersonId(person_id)))
                ledger = [_ledger_row(row) for row in await pool.fetch(QUERIES.ledger, settings.tenant, ids)]
        current = facts.current_id(PersonId(person_id))
        if current not in facts.people:
            return print_error(f"rules does not know {person} yet: its events wait for the contact")
        grounds = grounds_of(facts, book, current, settings.clock().now()) if book is not None else []
        _print_consent(current, ids, facts, grounds, ledger, output)
        return ExitCode.FINE if any(each["allowed"] == "yes" for each in grounds) else ExitCode.FINDINGS

    run(command())


@app.command("import")
def import_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A CSV file: contact, person or phone; at; evidence; category.")
    ],
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="Record them; without it, only show what it would do.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; needed with --apply, for the audit log.")] = "",
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Record opt-ins with their evidence from a CSV file; by default only show what each row would do.

    An opt-out that is newer than a row stands, by whatever id and line it came. Nothing is recorded while a row is at
    fault, which exit code 1 says.
    """
    settings = load_command_settings(TenantSettings)
    if apply and not reason.strip():
        raise typer.Exit(print_error("--apply needs --reason: it must say why", code=ExitCode.CANNOT_RUN))
    try:
        rows = read_rows(decode_file(file.read_bytes()))
    except (OSError, UnusableFile) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise typer.Exit(print_error(f"{file} cannot be read: {cause}", code=ExitCode.CANNOT_RUN)) from None

    async def command() -> int:
        now = settings.clock().now()
        async with operator_pool(settings, _SCHEMA) as pool:
            people = await _people_named(pool, settings.tenant, rows)
            facts = await load_facts(pool, settings.tenant, _ids(people))
            planned = plan_import(rows, people, facts, now)
            if not apply or any(each.is_fault for each in planned):
                _print_plan(planned, output, applied=False)
                return ExitCode.FINDINGS if any(each.is_fault for each in planned) else ExitCode.FINE
            confirm(f"Record {sum(each.entry is not None for each in planned)} opt-ins?", yes=yes)
            async with audited(pool, "import consent", file.name, reason) as entry:
                planned = await _apply(pool, settings.tenant, rows, now)
                faulty = any(each.is_fault for each in planned)
                recorded = 0 if faulty else sum(each.entry is not None for each in planned)
                entry.result = f"recorded {recorded} of {len(planned)}"
        _print_plan(planned, output, applied=not faulty)
        return ExitCode.FINDINGS if faulty else ExitCode.FINE

    run(command())


async def _apply(pool: Pool, tenant: TenantId, rows: Sequence[ConsentRow], now: datetime) -> list[PlannedRow]:
    """Plan again under the locks of the people, whose consent may have changed since the preview, and save it.

    Nothing is saved where a row is at fault by now. The locks are those of every id of a person: a STOP comes by the
    one that is theirs now.
    """
    async with pool.acquire() as connection, connection.transaction():
        people = await _people_named(connection, tenant, rows)
        same = await connection.fetch(RULES.find_same_people, tenant, _ids(people))
        await acquire_locks(connection, _SCHEMA, exclusive_locks_of(PersonId(row["person_id"]) for row in same))
        facts = await load_facts(connection, tenant, _ids(people))
        planned = plan_import(rows, people, facts, now)
        if not any(each.is_fault for each in planned):
            await save_consent(connection, facts, now)
        return planned


async def load_facts(connection: Connection | Pool, tenant: TenantId, people: Sequence[PersonId]) -> Facts:
    """These people by every id they have or had, with their consent; neither chains nor locks."""
    facts = Facts(tenant)
    same = [row["person_id"] for row in await connection.fetch(RULES.find_same_people, tenant, list(people))]
    for row in await connection.fetch(RULES.find_people, tenant, same):
        person = decode(PersonFacts, row["person"])
        facts.add_person(person)
        if row["consent"] is not None:
            facts.consent[person.person_id] = decode(Consent, row["consent"])
    return facts


def grounds_of(facts: Facts, book: Rulebook, person_id: PersonId, now: datetime) -> list[dict[str, str]]:
    """For each role of the person, whether they may be written to first, on which ground or why not, and where it is
    declared. A person without a role may get answers to their own messages, and what an opt-in allows.
    """
    person = facts.people[person_id]
    context = DecisionContext(facts, book, lambda _: book, now, ())
    barred = exclusion_reason(context, person, person_id, "", is_admitted=True)
    roles = sorted({*person.roles, *staff_roles(book.people, person)}) or ["(no role)"]
    grounds = []
    for role in roles:
        found = barred or find_ground(context, person, person_id, role)
        allowed = not isinstance(found, ExclusionReason)
        because = _BECAUSE.get(found, str(found)).format(role=role)
        grounds.append({"role": role, "allowed": "yes" if allowed else "no", "ground": str(found), "because": because})
    return grounds


async def _people_named(
    connection: Connection | Pool, tenant: TenantId, rows: Iterable[ConsentRow]
) -> dict[tuple[str, str], list[PersonId]]:
    """The ids of the people that the rows name, by column and value."""
    rows = list(rows)
    found: dict[tuple[str, str], list[PersonId]] = {
        ("person", value): [PersonId(value)] for value in people_named(rows, "person")
    }
    contacts = [int(value) for value in people_named(rows, "contact")]
    for row in await connection.fetch(QUERIES.find_by_contact, tenant, contacts):
        found.setdefault(("contact", str(row["contact_id"])), []).append(PersonId(row["person_id"]))
    phones = list(people_named(rows, "phone"))
    for row in await connection.fetch(QUERIES.find_by_phone, tenant, phones):
        found.setdefault(("phone", row["phone_key"]), []).append(PersonId(row["person_id"]))
    return found


def _ids(people: Mapping[tuple[str, str], Sequence[PersonId]]) -> list[PersonId]:
    return sorted({person for found in people.values() for person in found})


async def _rulebook(pool: Pool) -> Rulebook | None:
    """The rulebook in force, which declares the bases."""
    revision = await pool.fetchval(TRACE.newest_revision)
    files = await pool.fetchval(TRACE.rulebook, revision) if revision else None
    return load(dict(orjson.loads(files)))[0] if files else None


def _ledger_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of an older version has only the consent after it."""
    after = decode(Consent, row["document"])
    stopped = after.opted_out
    change = row["change"] or ("opt_out" if stopped else "opt_in")
    at = row["at"] or (after.opted_out_at if stopped else after.opted_in_at) or row["recorded_at"]
    return {
        "at": at,
        "change": change,
        "source": row["source"] or "message",
        "line": row["line"] or "",
        "evidence": row["evidence"] or after.evidence or "",
        "person_id": row["person_id"],
        "recorded_at": row["recorded_at"],
    }


def _print_consent(
    person_id: PersonId,
    ids: Sequence[str],
    facts: Facts,
    grounds: Sequence[Mapping[str, str]],
    ledger: Sequence[Mapping[str, Any]],
    output: OutputFormat,
) -> None:
    offers = "yes" if facts.allows_marketing(person_id) else "no"
    fields = {"person": person_id, "all ids": ", ".join(ids), "offers and announcements": offers}
    if output is OutputFormat.JSON:
        print_json([{**fields, "grounds": list(grounds), "ledger": [dict(row) for row in ledger]}])
        return
    print_fields(fields, output)
    print_rows(grounds, _GROUND_COLUMNS, output, empty="no rulebook is in force: no ground is declared")
    print_rows(ledger, _LEDGER_COLUMNS, output, empty="the ledger has no entry: the grounds are those of the house")


def _print_plan(planned: Sequence[PlannedRow], output: OutputFormat, *, applied: bool) -> None:
    rows = [
        {
            "line": each.line,
            "person_id": each.person_id or "",
            "category": each.category or "",
            "at": each.at,
            "outcome": str(each.outcome),
            "evidence": each.evidence,
        }
        for each in planned
    ]
    print_rows(rows, _IMPORT_COLUMNS, output, empty="the file has no rows")
    if output is OutputFormat.JSON or not rows:
        return
    counts = ", ".join(f"{count} {outcome}" for outcome, count in Counter(row["outcome"] for row in rows).items())
    faults = any(each.is_fault for each in planned)
    ending = (
        "recorded"
        if applied
        else "nothing was recorded: mend these rows"
        if faults
        else "a preview: --apply records it"
    )
    print_fields({"rows": f"{counts}; {ending}"}, output)
