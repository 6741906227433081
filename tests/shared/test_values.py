"""Values are checked when they are read; what is wrong is named by its place, and never by what it said."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Literal

import msgspec
import pytest

from shared.contracts import messages
from shared.contracts.consonance import KINDS, DateChanged, StageChanged
from shared.contracts.envelope import build_event, parse_event
from shared.contracts.errors import Malformed
from shared.contracts.golden import golden
from shared.contracts.ids import Line, MessageId, PersonId
from shared.contracts.messages import Lane, Resend, SendMessage
from shared.contracts.values import (
    Instant,
    NonEmptyStr,
    Value,
    convert,
    decode,
    describe_error,
    encode,
    is_plausible_date,
    to_builtins,
    to_utc,
)

NOON = datetime(2027, 3, 3, 12, tzinfo=UTC)
SECRET = "+447900123456"  # noqa: S105 -- a person's number, which no fault may show
ATTRIBUTES = {
    "id": "e1", "source": "test", "type": SendMessage.kind, "time": "2027-03-03T13:00:00+01:00", "recordedtime": NOON,
    "tenantid": "penrose", "partitionkey": "penrose/persons/p1",
}  # fmt: skip


class Part(Value):
    name: NonEmptyStr
    number: int = 0


class Step(Value):
    colour: Literal["red", "blue"] | None = None


class Whole(Value):
    steps: tuple[Step, ...] = ()
    marks: dict[Lane, int] = msgspec.field(default_factory=dict)
    lane: Lane = Lane.NORMAL
    at: Instant | None = None
    parts: tuple[Part, ...] = ()
    words: dict[str, int] = msgspec.field(default_factory=dict)
    from_: str | None = msgspec.field(default=None, name="from")


def message(body: str = "Good news") -> SendMessage:
    return SendMessage(
        message_id=MessageId("m1"), person_id=PersonId("p1"), line=Line("main"), say="told", language="en", body=body,
        expires_at=NOON,
    )  # fmt: skip


def test_a_field_at_its_default_is_not_encoded_and_is_there_when_decoded() -> None:
    whole = Whole(parts=(Part(name="a"),), from_="here")
    assert encode(whole) == b'{"parts":[{"name":"a"}],"from":"here"}'
    assert decode(Whole, encode(whole)) == whole


def test_a_changed_value_is_another() -> None:
    before = Part(name="a")
    assert (before.replace(number=3), before) == (Part(name="a", number=3), Part(name="a"))


def test_plain_has_every_field_as_json_has_it() -> None:
    whole = Whole(at=NOON, parts=(Part(name="a"),))
    told: dict[str, object] = {
        "steps": [], "marks": {}, "lane": "normal", "at": "2027-03-03T12:00:00Z", "parts": [{"name": "a"}],
        "words": {}, "from": None,
    }  # fmt: skip
    assert to_builtins(whole) == told


def test_every_instant_within_is_told_in_utc() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))
    assert to_utc(Whole(at=berlin)).at == NOON
    assert b"12:00:00Z" in encode(to_utc(Whole(at=berlin)))


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (f'{{"lane": "{SECRET}"}}', "lane: it is none of critical, normal, bulk"),
        ('{"parts": [{"name": "a"}, {"number": 1}]}', "parts.1.name: it is missing"),
        (f'{{"steps": [{{"colour": "{SECRET}"}}]}}', "steps.0.colour: it is none of blue, red"),
        (f'{{"marks": {{"{SECRET}": 1}}}}', "marks: it is none of critical, normal, bulk"),
        ('{"parts": [{"name": ""}]}', "parts.0.name: Expected str of length >= 1"),
        (f'{{"parts": "{SECRET}"}}', "parts: Expected array, got str"),
        (f'{{"words": {{"a": "{SECRET}"}}}}', "words: Expected int, got str"),
        ('{"at": "2027-03-03T12:00:00"}', "at: Expected datetime with a timezone component"),
        (f'{{"at": "{SECRET}"}}', "at: Invalid RFC3339 encoded datetime"),
        ("[]", "Expected object, got array"),
        (f'{{"from": {SECRET}', "it is not JSON"),
    ],
)
def test_a_fault_says_where_and_what_was_expected(raw: str, fault: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode(Whole, raw)
    assert describe_error(caught.value, Whole) == fault


@pytest.mark.parametrize(
    "raw", [b"\xff", b'{"id": "\xff"}', b'{"data":' + b"[" * 100_000, b"", b"null", b'{"id": "\\ud800"}']
)
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_event(raw, KINDS)


def test_a_number_in_quotes_is_no_number() -> None:
    raw = golden(StageChanged.kind).replace(b'"work_id": 61417', b'"work_id": "61417"')
    with pytest.raises(Malformed, match=r"^data\.work\.work_id: Expected int, got str$"):
        parse_event(raw, KINDS)


def test_a_version_of_the_envelope_we_do_not_know_is_told() -> None:
    raw = golden(StageChanged.kind).replace(b'"specversion": "1.0"', b'"specversion": "2.0"')
    with pytest.raises(Malformed, match=r"^specversion: it is none of 1\.0$"):
        parse_event(raw, KINDS)


def test_nothing_leaves_that_could_not_be_read() -> None:
    with pytest.raises(Malformed, match=r"^data\.body: "):
        build_event(ATTRIBUTES, message(body="")).to_bytes()


def test_given_attributes_are_checked_and_told_in_utc() -> None:
    event = build_event(ATTRIBUTES, message())
    assert event.time == NOON
    assert parse_event(event.to_bytes(), messages.REQUEST_KINDS) == event
    with pytest.raises(Malformed, match=r"^time: "):
        build_event({**ATTRIBUTES, "time": "yesterday"}, message())


def test_a_default_is_told_by_its_absence() -> None:
    told = convert(SendMessage, {**to_builtins(message()), "lane": "critical"})
    assert (told.lane, message().lane, told.resend) == (Lane.CRITICAL, Lane.NORMAL, Resend.NEVER)


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1900-01-01", "1970-01-01", "2099-12-31", "2999-12-31"])
def test_a_date_that_means_none_is_known_is_absent(day: str) -> None:
    changed = KINDS["consonance.schedule.date_changed.v1"]
    raw = golden(changed.kind).replace(b"2027-04-09", day.encode())
    found = parse_event(raw, KINDS).data
    assert isinstance(found, DateChanged)
    assert (found.old_due, found.new_due) == (date(2027, 3, 26), None)
    assert b"new_due" not in encode(found)


@pytest.mark.parametrize("day", [date(1900, 1, 2), date(1969, 7, 20), date(2099, 12, 30), date(2199, 12, 31)])
def test_any_other_date_of_three_centuries_is_one(day: date) -> None:
    assert is_plausible_date(day)


@pytest.mark.parametrize("number", [-1, 2**63, 10**40])
def test_an_id_that_no_column_holds_is_refused_by_its_name(number: int) -> None:
    raw = golden("consonance.work.blocked.v1").replace(b'"work_id": 61419', b'"work_id": %d' % number)
    with pytest.raises(Malformed, match=r"^data\.work\.work_id: "):
        parse_event(raw, KINDS)


def test_an_id_that_no_index_takes_is_refused_by_its_name() -> None:
    with pytest.raises(Malformed, match=r"^id: "):
        build_event({**ATTRIBUTES, "id": "x" * 301}, message())
