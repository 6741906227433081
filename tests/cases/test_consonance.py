"""Cases of Consonance: unknown time zones, placeholder dates, phone fields, responses of any shape."""

from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.ingest.fields import FieldReader, find_phone
from services.ingest.poll.consonance_reader import connect
from services.ingest.poll.snapshot_parser import parse_contact
from services.ingest.poll.vocabulary import TenantVocabulary
from services.rules.scenario.story_world import golden_data, overlay
from shared.contracts import consonance
from shared.contracts.values import convert, to_builtins
from tests.cases.case_folders import CaseKind, cases_of, lines, read_json
from tests.cases.shipped_story import ShippedStory
from tests.cpu_time import at_most
from tests.services.ingest.test_consonance_answers import SCHEMA, FakeConsonanceServer, ask_all, healthy, listening
from tests.services.rules.conversation.test_shared_number import IngestAndRules, decisions, services, tap

__all__ = ["services"]
AT_ONCE = 5
"""Seconds of this process."""


@pytest.mark.parametrize("folder", cases_of(CaseKind.CONTACT), ids=lambda path: path.name)
def test_any_contact_is_parsed_and_unreadable_fields_are_noted(folder: Path) -> None:
    contact, notes = read_json(folder / "contact.json"), FieldReader()
    view = parse_contact(contact, TenantVocabulary(), notes)
    assert view.contact_id == contact["id"]
    assert view.zone is None or ZoneInfo(view.zone)
    zones = [tag for tag in contact.get("contactTags", ()) if tag.startswith("zone:")]
    if zones and view.zone is None:
        assert notes.digests()


@pytest.mark.parametrize("folder", cases_of(CaseKind.EVENTS), ids=lambda path: path.name)
def test_a_placeholder_date_counts_as_absent_in_every_field(folder: Path) -> None:
    for event in read_json(folder / "events.json"):
        kind = consonance.kind_of(event["type"])
        if kind not in consonance.KINDS:
            continue
        with at_most(AT_ONCE):
            data = convert(consonance.KINDS[kind], overlay(golden_data(kind), event["data"]))
            assert [day for day in _dates(to_builtins(data)) if not 1900 < day.year < 2200] == []
            values = ", ".join(f"{name}: {value}" for name, value in event["data"].items())
            people = "830: {roles: [designer], country: GB}"
            ShippedStory.of(people, f"{{event: {event['type']}, with: {{{values}}}}}", "wait: 60 days").play_all()


def _dates(value: Any) -> list[date]:
    if isinstance(value, dict):
        return [found for each in value.values() for found in _dates(each)]
    if isinstance(value, list):
        return [found for each in value for found in _dates(each)]
    try:
        return [date.fromisoformat(value[:10])] if isinstance(value, str) and value[4:5] == "-" else []
    except ValueError:
        return []


NUMBERS = [(folder.name, line) for folder in cases_of(CaseKind.NUMBERS) for line in lines(folder / "numbers.txt")]


@pytest.mark.parametrize(("name", "written"), NUMBERS)
def test_a_phone_field_gives_its_number_or_is_noted(name: str, written: str) -> None:
    del name
    country = "US" if written == "4084568908#" else "GB"
    notes = FieldReader()
    contact = {
        "id": 1,
        "personName": "A",
        "phones": [{"phoneNumber": written}],
        "addresses": [{"country": {"code": country}}],
    }
    view = parse_contact(contact, TenantVocabulary(), notes)
    assert view.phone == find_phone(written, country)
    assert view.phone is not None or notes.digests()


def test_a_number_is_found_among_other_words() -> None:
    expected = {
        "07700 900123 (WhatsApp only)": "+447700900123",
        "07700 900123 / 07700 900456": "+447700900123",
        "07700 900123 or 07700 900456": "+447700900123",
        "+54 9 351 631 5733 ext.": "+5493516315733",
        "555-1234": None,
    }
    assert {written: find_phone(written, "GB") for written in expected} == expected
    assert find_phone("4084568908#", "US") == "+14084568908"


ANSWERS = [(folder.name, line) for folder in cases_of(CaseKind.ANSWERS) for line in lines(folder / "answers.txt")]


@pytest.mark.parametrize(("name", "answer"), ANSWERS)
async def test_a_response_of_any_shape_is_retried_later(name: str, answer: str) -> None:
    del name
    server = FakeConsonanceServer()
    async with listening(server) as url, connect(url, "k" * 32) as asked:
        server.answer = lambda _: (200, answer.encode())
        assert all(fault.startswith("Consonance") for fault in await ask_all(asked))
        server.answer = lambda question: (200, SCHEMA if question == "offered" else answer.encode())
        assert all(fault.startswith("Consonance") for fault in await ask_all(asked))
        server.answer = healthy()
        assert await asked.works(0, None) == []


@pytest.mark.integration
@pytest.mark.timeout(180)
@pytest.mark.parametrize("folder", cases_of(CaseKind.CASE), ids=lambda path: path.name)
async def test_a_tap_from_a_shared_number_counts_for_the_person_who_was_asked(
    folder: Path, services: IngestAndRules
) -> None:
    case = read_json(folder / "case.json")
    assert len({contact["phone"] for contact in case["contacts"]}) == 1
    await services.receives(await tap(services, f"+{case['tap_from']}"))
    assert [said for said, _ in await decisions(services)] == ["approved"]
