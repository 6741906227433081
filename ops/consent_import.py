"""Reads a CSV file of opt-ins and plans what it changes: pure, from the rows and what is known to one outcome a row.

The columns are ``contact`` (the contact's id in Consonance), ``person`` (Stet's id) or ``phone`` (with its country
code), one of them filled in each row; ``at`` (an instant with its offset, or a day); ``evidence`` (where the proof is);
and perhaps ``category``: ``messages`` or ``marketing``.
"""

import csv
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import StrEnum
from io import StringIO
from typing import Any

from services.ingest.fields import find_phone
from services.rules.conversation.fact_values import Consent, ConsentChange, ConsentEntry, ConsentSource
from services.rules.conversation.facts import Facts
from shared.clients.phone_numbers import phone_key
from shared.contracts.ids import PersonId

_ADDRESSING = ("contact", "person", "phone")
_COLUMNS = {*_ADDRESSING, "at", "evidence", "category"}
_SURPLUS = "surplus"
_MOST_EVIDENCE = 300
_MOST_CONTACT = 2**63 - 1
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""An earlier instant stands for no date, such as the first days of Excel (1900) and Unix (1970)."""


class UnusableFile(Exception):
    """The file is no CSV file with the columns of a list of opt-ins."""


class ConsentCategory(StrEnum):
    """``messages``: everything but offers. ``marketing``: offers and announcements, and nothing else."""

    MESSAGES = "messages"
    MARKETING = "marketing"


class Outcome(StrEnum):
    """The effect of a row. The first four change nothing that is wrong to have; the others are faults of the row."""

    NEW = "new"
    KNOWN = "known already"
    OPTED_OUT_SINCE = "opted out since: the opt-out stands"
    LAPSED_SINCE = "lapsed since, as another account has the number: the person must agree again"
    UNKNOWN_PERSON = "no such person"
    SEVERAL_PEOPLE = "several people have this number: give the contact"
    ERASED = "the person is erased"
    NO_ADDRESSEE = "one of contact, person and phone must be filled, and be valid"
    WRONG_TIME = "“at” must be a day, or an instant with its offset, since 2000 and not in the future"
    NO_EVIDENCE = "“evidence” must say where the proof is, in at most 300 characters"
    WRONG_CATEGORY = "“category” is messages or marketing"


_FINE = frozenset({Outcome.NEW, Outcome.KNOWN, Outcome.OPTED_OUT_SINCE, Outcome.LAPSED_SINCE})


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A row as it is written; ``line`` is its line in the file."""

    line: int
    values: Mapping[str, str]

    @property
    def contact(self) -> int | None:
        text = self.values.get("contact", "")
        return int(text) if text.isascii() and text.isdigit() and int(text) <= _MOST_CONTACT else None

    @property
    def person(self) -> str | None:
        return self.values.get("person") or None

    @property
    def phone(self) -> str | None:
        """The key of its number; None where it is no whole international number."""
        text = self.values.get("phone", "").removeprefix("'")  # by it a spreadsheet is told that this is a text
        found = find_phone(text, None) if text.startswith("+") else None
        return phone_key(found) if found is not None else None

    @property
    def addressed_by(self) -> str | None:
        """The one column that names the person; None where that is none, or several."""
        filled = [name for name in _ADDRESSING if self.values.get(name)]
        return filled[0] if len(filled) == 1 and getattr(self, filled[0]) is not None else None


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """``entry`` is what the ledger gets, where the row is fine and not known already."""

    line: int
    outcome: Outcome
    person_id: PersonId | None = None
    category: ConsentCategory | None = None
    at: datetime | None = None
    evidence: str = ""
    entry: ConsentEntry | None = None

    @property
    def is_fault(self) -> bool:
        return self.outcome not in _FINE


def decode_file(content: bytes) -> str:
    """The text of a file in UTF-8, with its mark at the beginning or without. Raises UnusableFile."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableFile("it is not in UTF-8: save it as “CSV UTF-8” (Excel), or with this character set") from None


def read_rows(text: str) -> list[ConsentRow]:
    """The rows of a file whose first line names the columns; commas or semicolons. Raises UnusableFile."""
    head = text.partition("\n")[0]
    delimiter = ";" if head.count(";") > head.count(",") else ","
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=delimiter, restkey=_SURPLUS, strict=True)
    try:
        columns = [_plain(name).lower() for name in reader.fieldnames or ()]
        while columns and not columns[-1]:  # Excel writes empty columns behind those that were ever used
            columns.pop()
        if unknown := [name for name in columns if name not in _COLUMNS]:
            raise UnusableFile(f"it has a column “{unknown[0]}”; the columns are {', '.join(sorted(_COLUMNS))}")
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise UnusableFile(f"it has the column “{twice[0]}” twice")
        if not {"at", "evidence"} <= {*columns} or not {*_ADDRESSING} & {*columns}:
            raise UnusableFile("it needs the columns at, evidence, and one of contact, person and phone")
        reader.fieldnames = columns
        rows = [_row(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UnusableFile(f"line {reader.line_num} is no line of a CSV file: {error}") from None
    return [row for row in rows if any(row.values.values())]


def _plain(text: str) -> str:
    """Without invisible marks, such as those of direction around a number that was copied, and double spaces."""
    return " ".join("".join(letter for letter in text if unicodedata.category(letter) != "Cf").split())


def _row(line: int, written: Mapping[str, Any]) -> ConsentRow:
    if any(written.get(_SURPLUS) or ()):
        raise UnusableFile(f"line {line} has more values than there are columns: put a text with a comma in quotes")
    values = {name: _plain(value or "") for name, value in written.items() if name != _SURPLUS}
    if values.get("evidence"):  # a text, in which such a mark may join letters
        values["evidence"] = " ".join((written["evidence"] or "").split())
    if any(unicodedata.category(letter) == "Cc" for value in values.values() for letter in value):
        raise UnusableFile(f"line {line} holds a character that is no text")
    return ConsentRow(line, values)


def plan_import(
    rows: Sequence[ConsentRow], people: Mapping[tuple[str, str], Sequence[PersonId]], facts: Facts, now: datetime
) -> list[PlannedRow]:
    """The effect of each row, in order; the consents in ``facts`` are changed as they will be.

    ``people`` are the ids found for each column and value that names a person.
    """
    return [_plan_row(row, people, facts, now) for row in rows]


def _plan_row(
    row: ConsentRow, people: Mapping[tuple[str, str], Sequence[PersonId]], facts: Facts, now: datetime
) -> PlannedRow:
    by = row.addressed_by
    found = sorted({facts.current_id(one) for one in people.get((by, str(getattr(row, by))), ())}) if by else []
    known = facts.people.get(found[0]) if len(found) == 1 else None
    at, evidence = _instant(row.values.get("at", ""), now), row.values.get("evidence", "")
    category = _category(row.values.get("category", ""))
    checks = (
        (by is None, Outcome.NO_ADDRESSEE),
        (len(found) > 1, Outcome.SEVERAL_PEOPLE),
        (known is None, Outcome.UNKNOWN_PERSON),
        (known is not None and known.erased, Outcome.ERASED),
        (at is None, Outcome.WRONG_TIME),
        (not evidence or len(evidence) > _MOST_EVIDENCE, Outcome.NO_EVIDENCE),
        (category is None, Outcome.WRONG_CATEGORY),
    )
    fault = next((outcome for wrong, outcome in checks if wrong), None)
    if fault is not None or known is None or at is None or category is None:
        return PlannedRow(row.line, fault or Outcome.UNKNOWN_PERSON, known.person_id if known else None)
    before = facts.consent.get(known.person_id, Consent())
    if facts.has_lapsed(known.person_id, at):
        return PlannedRow(row.line, Outcome.LAPSED_SINCE, known.person_id, category, at, evidence)
    if category is ConsentCategory.MARKETING:
        change, after = ConsentChange.MARKETING_OPT_IN, before.with_marketing(at, allowed=True)
    else:
        change, after = ConsentChange.OPT_IN, before.with_opt_in(at, evidence)
    if after == before:
        return PlannedRow(row.line, Outcome.KNOWN, known.person_id, category, at, evidence)
    entry = ConsentEntry(
        person_id=known.person_id, change=change, at=at, source=ConsentSource.IMPORT, evidence=evidence, consent=after
    )
    facts.enter_consent(entry)
    counts = (
        facts.allows_marketing(known.person_id)
        if category is ConsentCategory.MARKETING
        else not facts.opted_out(known.person_id)
    )
    outcome = Outcome.NEW if counts else Outcome.OPTED_OUT_SINCE
    return PlannedRow(row.line, outcome, known.person_id, category, at, evidence, entry)


def _instant(text: str, now: datetime) -> datetime | None:
    """A day counts from its first moment in UTC, so that an opt-out of the same day stands."""
    try:
        if len(text) == len("2027-03-01"):
            at = datetime.combine(date.fromisoformat(text), time(), UTC)
        else:
            at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo is not None and _EARLIEST <= at <= now else None
    except (ValueError, OverflowError):
        return None


def _category(text: str) -> ConsentCategory | None:
    if not text:
        return ConsentCategory.MESSAGES
    return next((each for each in ConsentCategory if each == text.lower()), None)


def people_named(rows: Iterable[ConsentRow], column: str) -> set[str]:
    """The values that name people in one column."""
    return {str(getattr(row, column)) for row in rows if row.addressed_by == column}
