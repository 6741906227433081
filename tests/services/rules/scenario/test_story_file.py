from datetime import UTC, date, datetime

import pytest
from pydantic import TypeAdapter

from services.rules.conversation.chain import Ending
from services.rules.scenario.story_file import (
    EffectKind,
    EventStep,
    ExpectedEffect,
    ExpectStep,
    FactsStep,
    FailureStep,
    ReadStep,
    ReplyStep,
    Story,
    WaitStep,
    WaitUntilStep,
    WriteStep,
    read_stories,
)
from shared.clients.working_calendar import TimeUnit
from shared.contracts.writes import WriteOperation, WriteOutcome
from tests.services.rules.rulebooks import good_files

HEAD = """\
- it: does
  start: 2027-03-03T10:00:00Z
  people: {812: {roles: [author], country: FR}, 900: {stands_in_for: 812, opted_out: true, reachable: false}}
  play:
"""


def only_story(*steps: str) -> Story:
    stories, faults = read_stories({"a.test.yaml": HEAD + "".join(f"    - {step}\n" for step in steps)})
    assert not faults
    return stories[0]


def faults(text: str) -> list[str]:
    return [str(fault) for fault in read_stories({"a.test.yaml": text})[1]]


def test_a_story_has_a_rule_people_and_a_start() -> None:
    story = only_story("expect: nothing")
    assert (story.it, story.rule, story.start) == ("does", "a", datetime(2027, 3, 3, 10, tzinfo=UTC))
    assert list(story.people) == [812, 900]
    author, agent = story.people.values()
    assert (author.roles, author.country, author.reachable) == (("author",), "FR", True)
    assert (agent.stands_in_for, agent.opted_out, agent.reachable, agent.country) == ((812,), True, False, None)


@pytest.mark.parametrize(
    ("written", "kind", "values"),
    [
        (
            "{event: work.blocked, with: {block_id: B-1, since: 2027-03-01, detail: null}}",
            EventStep,
            {"event": "work.blocked", "values": {"block_id": "B-1", "since": date(2027, 3, 1), "detail": None}},
        ),
        ("facts: {work.stage_key: published}", FactsStep, {"facts": {"work.stage_key": "published"}}),
        ("reply: {from: 812, button: approve}", ReplyStep, {"reply": {"sender": 812, "button": "approve"}}),
        (
            "reply: {from: 1, text: hello, line: pitches}",
            ReplyStep,
            {"reply": {"sender": 1, "text": "hello", "line": "pitches"}},
        ),
        (
            "reply: {from: 1, document: a.pdf, mb: 3, to: ask}",
            ReplyStep,
            {"reply": {"sender": 1, "document": "a.pdf", "mb": 3, "to": "ask"}},
        ),
        ("read: 812", ReadStep, {"person": 812}),
        ("failed: {to: 812, code: 131026}", FailureStep, {"failed": {"to": 812, "code": 131026}}),
        (
            "written: {record: metadata.apply, as: conflict}",
            WriteStep,
            {"write": {"operation": WriteOperation.APPLY_METADATA, "outcome": WriteOutcome.CONFLICT}},
        ),
        ("wait: 3 working days", WaitStep, {"wait": {"count": 3, "unit": TimeUnit.WORKING_DAYS}}),
        ("wait until: 2027-03-30T08:00:00Z", WaitUntilStep, {"instant": datetime(2027, 3, 30, 8, tzinfo=UTC)}),
        ("expect: nothing", ExpectStep, {"effects": ()}),
    ],
)
def test_a_step_is_recognised_by_its_key(written: str, kind: type, values: dict[str, object]) -> None:
    found = only_story(written).steps[0]
    assert type(found) is kind
    assert found.location.line == 5
    assert found.model_dump(exclude_defaults=True) == values


def only_effect(written: str) -> ExpectedEffect:
    step = only_story(f"expect: [{written}]").steps[0]
    assert isinstance(step, ExpectStep)
    return step.effects[0]


def test_an_effect_is_a_message_a_write_an_exclusion_or_an_end() -> None:
    ask = only_effect("{ask: 900, for: 812, say: hello, language: fr}")
    assert (ask.kind, ask.person, ask.on_behalf_of) == (EffectKind.ASK, 900, (812,))
    assert (ask.template, ask.language) == ("hello", "fr")
    record = only_effect("{record: rights.record_decision, with: {decision: approved}}")
    assert (record.kind, record.record) == (EffectKind.RECORD, WriteOperation.RECORD_DECISION)
    assert (record.values, record.person) == ({"decision": "approved"}, None)
    left_out = only_effect("{left_out: {812: opted_out, marketing: unknown_role}}")
    assert (left_out.kind, left_out.left_out) == (
        EffectKind.LEFT_OUT,
        {"812": "opted_out", "marketing": "unknown_role"},
    )
    assert only_effect("{end: answered}").end is Ending.ANSWERED


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("event: work.blokked", "a.test.yaml:5:7: “work.blokked” is no event of Consonance"),
        ("evnt: work.blocked", "a.test.yaml:5:7: “evnt” is no step"),
        ("reply: {from: 812}", "a.test.yaml:5:14: a reply is one of button, text, document or reaction"),
        ("reply: {from: Ana, text: x}", "a.test.yaml:5:21: “Ana” is no person"),
        ("expect: [{asks: 812}]", "a.test.yaml:5:17: an effect has no “asks” (did you mean “ask”?)"),
        ("expect: [{end: answerd}]", "a.test.yaml:5:22: “answerd” is none of"),
        ("expect: [{end: done, say: x}]", "a.test.yaml:5:28: “say” says nothing of “end”"),
        ("wait until: 2027-03-30", "a.test.yaml:5:19: an instant with its zone belongs here"),
        ("wait: a while", "a.test.yaml:5:13: “a while” is no duration"),
        ("expect: nothin", "a.test.yaml:5:15: “nothin” is no list of effects; where there are none, write “nothing”"),
        ("failed: {to: 812}", "a.test.yaml:5:15: “failed” needs “code”"),
        ("just words", "a.test.yaml:5:7: a step is one of event, facts"),
        ("written: {record: metadata.aply, as: verified}", "(did you mean “metadata.apply”?)"),
    ],
)
def test_a_wrong_step_is_a_fault_at_its_place(step: str, fault: str) -> None:
    found = faults(f"{HEAD}    - {step}\n")
    assert any(fault in one for one in found), found


def test_the_stories_of_a_rule_folder_are_read() -> None:
    stories, wrong = read_stories(good_files())
    assert not wrong
    assert {story.rule for story in stories} == {"permission", "pitch"}


def test_all_faults_of_a_story_are_reported_at_once() -> None:
    text = HEAD.replace("it: does", "its: does").replace("FR", "UK") + "    - evnt: x\n    - read: Ana\n"
    assert [fault.split(": ", 1)[0] for fault in faults(text)] == [
        "a.test.yaml:1:3",
        "a.test.yaml:3:44",
        "a.test.yaml:5:7",
        "a.test.yaml:6:13",
    ]


def test_editors_get_a_schema_of_the_keys() -> None:
    schema = TypeAdapter(list[Story]).json_schema()
    assert set(schema["$defs"]["Story"]["properties"]) == {"it", "start", "people", "play"}
    assert "hand_over" in schema["$defs"]["ExpectedEffect"]["properties"]


def test_an_unreadable_value_causes_one_fault_only() -> None:
    (said,) = faults(f"{HEAD}    - expect: *nothing\n")
    assert "repeats what stands behind" in said
