from datetime import UTC, date, datetime

import pytest

from services.rules.conversation.chain import Ending
from services.rules.rulebook.model import NOWHERE, Location
from services.rules.story.model import (
    Character,
    Expect,
    Expected,
    Failed,
    Happened,
    Kind,
    KnownFacts,
    Move,
    Reply,
    Story,
    Wait,
    WaitUntil,
    WasRead,
    Written,
)
from services.rules.story.read import read_stories
from shared.clients.working_calendar import Duration, TimeUnit
from shared.contracts.ids import ContactId
from shared.contracts.writes import WriteOperation, WriteOutcome
from tests.services.rules.rulebooks import good_files

HEAD = """\
- it: does
  start: 2027-03-03T10:00:00Z
  people: {812: {roles: [author], country: FR}, 900: {stands_in_for: 812, opted_out: true, reachable: false}}
  play:
"""
AT = Location("a.test.yaml", 5, 7)


def only_story(*moves: str) -> Story:
    stories, faults = read_stories({"a.test.yaml": HEAD + "".join(f"    - {move}\n" for move in moves)})
    assert not faults
    return stories[0]


def faults(text: str) -> list[str]:
    return [str(fault) for fault in read_stories({"a.test.yaml": text})[1]]


def test_a_story_has_a_cast_and_a_start() -> None:
    story = only_story("expect: nothing")
    assert (story.it, story.about, story.start) == ("does", "a", datetime(2027, 3, 3, 10, tzinfo=UTC))
    author, agent = story.people
    assert (author.contact, author.roles, author.country) == (812, ("author",), "FR")
    assert agent == Character(
        ContactId(900), agent.place, stands_in_for=ContactId(812), opted_out=True, reachable=False
    )


@pytest.mark.parametrize(
    ("written", "move"),
    [
        (
            "{event: work.blocked, with: {block_id: B-1, since: 2027-03-01, detail: null}}",
            Happened(AT, "work.blocked", {"block_id": "B-1", "since": date(2027, 3, 1), "detail": None}),
        ),
        ("facts: {work.stage_key: published}", KnownFacts(AT, {"work.stage_key": "published"})),
        ("reply: {from: 812, button: approve}", Reply(AT, ContactId(812), button="approve")),
        ("reply: {from: 1, text: hello, line: pitches}", Reply(AT, ContactId(1), text="hello", line="pitches")),
        ("reply: {from: 1, document: a.pdf, to: ask}", Reply(AT, ContactId(1), document="a.pdf", to="ask")),
        ("read: 812", WasRead(AT, ContactId(812))),
        ("failed: {to: 812, code: 131026}", Failed(AT, ContactId(812), 131026)),
        (
            "written: {record: metadata.apply, as: conflict}",
            Written(AT, WriteOperation.APPLY_METADATA, WriteOutcome.CONFLICT),
        ),
        ("wait: 3 working days", Wait(AT, Duration(3, TimeUnit.WORKING_DAYS))),
        ("wait until: 2027-03-30T08:00:00Z", WaitUntil(AT, datetime(2027, 3, 30, 8, tzinfo=UTC))),
        ("expect: nothing", Expect(AT, ())),
    ],
)
def test_a_move(written: str, move: Move) -> None:
    found = only_story(written).play[0]
    assert type(found) is type(move)
    assert found.place.line == 5
    assert [getattr(found, name) for name in _fields(move)] == [getattr(move, name) for name in _fields(move)]


def _fields(move: Move) -> list[str]:
    return [name for name in type(move).__dataclass_fields__ if name != "place"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "{ask: 900, for: 812, say: hello, language: fr}",
            Expected(NOWHERE, Kind.ASK, ContactId(900), ContactId(812), say="hello", language="fr"),
        ),
        (
            "{record: rights.record_decision, with: {decision: approved}}",
            Expected(NOWHERE, Kind.RECORD, operation=WriteOperation.RECORD_DECISION, values={"decision": "approved"}),
        ),
        (
            "{left_out: {812: opted_out, marketing: unknown_role}}",
            Expected(NOWHERE, Kind.LEFT_OUT, left_out={ContactId(812): "opted_out", "marketing": "unknown_role"}),
        ),
        ("{end: answered}", Expected(NOWHERE, Kind.END, end=Ending.ANSWERED)),
    ],
)
def test_an_effect(written: str, expected: Expected) -> None:
    expectation = only_story(f"expect: [{written}]").play[0]
    assert isinstance(expectation, Expect)
    effect = expectation.effects[0]
    for name in type(expected).__dataclass_fields__:
        assert name == "place" or getattr(effect, name) == getattr(expected, name)


@pytest.mark.parametrize(
    ("move", "fault"),
    [
        ("event: work.blokked", "a.test.yaml:5:7: “work.blokked” is no event of Consonance"),
        ("evnt: work.blocked", "a.test.yaml:5:7: “evnt” is no move"),
        ("reply: {from: 812}", "a.test.yaml:5:14: a reply is one of button, text, document or reaction"),
        ("reply: {from: Ana, text: x}", "a.test.yaml:5:21: “Ana” is nobody"),
        ("expect: [{asks: 812}]", "a.test.yaml:5:17: an effect has no “asks” (did you mean “ask”?)"),
        ("expect: [{end: answerd}]", "a.test.yaml:5:22: “answerd” is none of"),
        ("expect: [{end: done, say: x}]", "a.test.yaml:5:28: “say” says nothing of “end”"),
        ("wait until: 2027-03-30", "a.test.yaml:5:19: an instant with its zone belongs here"),
        ("wait: a while", "a.test.yaml:5:13: “a while” is no duration"),
        ("written: {record: metadata.aply, as: verified}", "(did you mean “metadata.apply”?)"),
    ],
)
def test_a_wrong_move_is_told_where_it_stands(move: str, fault: str) -> None:
    found = faults(f"{HEAD}    - {move}\n")
    assert any(fault in one for one in found), found


def test_the_stories_of_the_book_are_read() -> None:
    stories, wrong = read_stories(good_files())
    assert not wrong
    assert {story.about for story in stories} == {"permission", "pitch"}
