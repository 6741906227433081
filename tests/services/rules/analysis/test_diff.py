"""The differences of two rulebooks about the same events: messages gained, lost, moved and reworded."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rules.analysis.bundle import Bundle, BundleHead, LiveChain, Reaction
from services.rules.analysis.diff import (
    ChainOutcome,
    Change,
    ChangeKind,
    Difference,
    chain_outcomes,
    changed_rules,
    compare,
    cost_of,
    diff_bundle,
    diff_stories,
    read_prices,
    run_bundle,
)
from services.rules.analysis.diff_text import LARGEST, markdown_of, rows_of
from services.rules.analysis.pseudonyms import Pseudonyms
from services.rules.analysis.recorded_stories import AbsenceNotices, add_event, person_state, sort_events, state_event
from services.rules.analysis.virtual_run import Message
from services.rules.conversation.fact_values import Absence
from services.rules.conversation.facts import Facts
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.story_file import EventStep
from services.rules.scenario.story_world import TENANT, event_data, make_people
from shared.contracts.envelope import Event
from shared.contracts.ids import (
    ChainId,
    ContactId,
    EventId,
    Line,
    PersonId,
    Revision,
    RuleId,
    Wamid,
    partition_key,
    person_id_of_contact,
)
from shared.contracts.whatsapp import MessageKind, MessageReceived
from tests.services.rules.stories import FOLDER, own_rulebook, story

START = datetime(2027, 3, 3, 10, tzinfo=UTC)
RULE = "rights/rights-approval.rule.yaml"
REMINDER = "  - after: 2 working days\n    remind: unanswered\n    say: rights_reminder\n"
PEOPLE = "820: {roles: [rights_holder], country: GB, language: en}\n40: {roles: [rights_manager], country: GB}"


def _message(**changes: Any) -> Message:
    known = Message(
        case="", rule="rights-approval", subject="request_id=R-9", title="Tides", person="p1", country="GB",
        role="agent", verb="remind", say="reminder", language="en", text="t", category="utility", at=START,
    )  # fmt: skip
    return known._replace(**changes)


def _kinds(before: list[Message], after: list[Message]) -> list[str]:
    return sorted(change.kind for change in compare(before, after))


@pytest.mark.parametrize(
    ("after", "kinds"),
    [
        ([_message()], []),
        ([_message(at=START + timedelta(seconds=30))], []),
        ([], ["lost"]),
        ([_message(), _message(at=START + timedelta(days=1))], ["gained"]),
        ([_message(at=START + timedelta(days=1))], ["moved"]),
        ([_message(text="u")], ["reworded"]),
        ([_message(say="other")], ["reworded"]),
        ([_message(document="d")], ["document changed"]),
        ([_message(language="fr", at=START + timedelta(days=1))], ["moved", "reworded"]),
        ([_message(person="p2")], ["gained", "lost"]),
        ([_message(verb="tell", say="other")], ["gained", "lost"]),
    ],
)
def test_messages_are_paired_by_rule_subject_and_person(after: list[Message], kinds: list[str]) -> None:
    assert _kinds([_message()], after) == kinds


def test_of_two_reminders_the_one_that_is_gone_is_lost_and_the_other_has_not_moved() -> None:
    first, second = _message(), _message(at=START + timedelta(days=2))
    assert compare([first, second], [second]) == [Change(ChangeKind.LOST, first, None)]


@given(st.permutations("abcc"), st.lists(st.sampled_from("abcd"), max_size=6))
def test_a_message_that_both_send_is_no_change_in_whatever_order(texts: list[str], others: list[str]) -> None:
    """Several to one person at one time: as many differ as a count of them says."""
    before, after = [_message(text=text) for text in texts], [_message(text=text) for text in others]
    fewer, more = Counter(texts) - Counter(others), Counter(others) - Counter(texts)
    kinds = Counter(_kinds(before, after))
    both = min(fewer.total(), more.total())
    assert kinds["reworded"] == both
    assert (kinds["lost"], kinds["gained"]) == (fewer.total() - both, more.total() - both)


def test_a_message_about_its_event_alone_is_the_same_where_the_event_of_a_story_has_another_id() -> None:
    one, other = _message(case="a story", subject="event=e1"), _message(case="a story", subject="event=e2")
    assert _kinds([one], [other]) == []
    assert _kinds([one._replace(case="")], [other._replace(case="")]) == ["gained", "lost"]


def _bundle(*reactions: Reaction) -> Bundle:
    told = story(PEOPLE, "expect: nothing")
    people = make_people(told, own_rulebook())
    asking = story(PEOPLE, "event: rights.approval_requested\n      with: {rights_holder: 820}").steps[0]
    assert isinstance(asking, EventStep)
    data = event_data(asking.event, asking.values, people)
    known = [
        state_event(TENANT, person_state(one, START), START, "persons", one.person_id) for one in people.people.values()
    ]
    asked = Event(
        id=EventId("e1"), source="test", type=data.kind, time=START, recordedtime=START, tenantid=TENANT,
        partitionkey=partition_key(TENANT, "works", 1), data=data,
    )  # fmt: skip
    head = BundleHead(tenant=TENANT, written_at=START, since=START, until=START + timedelta(days=20))
    return Bundle(head, events=[*known, asked], reactions=list(reactions))


def _heads() -> tuple[dict[str, str], dict[str, str]]:
    base = {name: text for name, text in read_folder(FOLDER).items() if not name.endswith(".test.yaml")}
    assert REMINDER in base[RULE]
    earlier = REMINDER.replace("2 working", "1 working")
    return base, {**base, RULE: base[RULE].replace(REMINDER, earlier + earlier)}


def _difference(*reactions: Reaction) -> Difference:
    base, head = _heads()
    return diff_bundle(base, head, _bundle(*reactions), "2 events", processes=1)


def test_a_reminder_before_the_first_is_a_message_more_and_the_first_has_not_moved() -> None:
    found = _difference()
    assert found.changed_rules == ["rights-approval"]
    reminders = [
        (change.kind, change.message.say) for change in found.changes if change.message.say == "rights_reminder"
    ]
    assert reminders == [(ChangeKind.GAINED, "rights_reminder")]
    assert found.failures == ({}, {})


def test_an_answer_that_came_before_the_reminders_makes_no_difference() -> None:
    asked = next(message for message in _difference().before if message.verb == "ask")
    answered = Reaction(
        rule=RuleId("rights-approval"), subject=asked.subject, at=START + timedelta(hours=3),
        person_id=PersonId(asked.person), say=asked.say, answer="decline",
    )  # fmt: skip
    found = _difference(answered)
    assert not [change for change in found.changes if change.message.verb == "remind"]
    assert any(message.say == "rights_declined" for message in found.after) or found.before


WEEKLY = """\
rule: weekly
owner: rights
why: {en: You look after these., fr: Vous vous occupez de ceci.}
every: monday at 09:00
list: {waits_for: rights_holder}
if: {open.count: {at_least: 1}}
steps:
  - tell: rights_manager
    say: open_list
"""
OPEN_LIST = """\
template: open_list
category: utility
version: 1
fields: {number: open.count}
languages:
  en: {body: "Open this Monday: {number} in all."}
  fr: {body: "Ouvert ce lundi : {number} en tout."}
"""


def _with_weekly(every: str, base: dict[str, str]) -> dict[str, str]:
    return {**base, "weekly.rule.yaml": WEEKLY.replace("monday at 09:00", every), "open_list.template.yaml": OPEN_LIST}


@pytest.mark.parametrize(
    ("every", "kinds"),
    [
        ("monday at 09:00", {}),
        ("monday at 10:30", {ChangeKind.MOVED: 2}),
        ("1st monday of the month at 09:00", {ChangeKind.LOST: 2}),
    ],
)
def test_recurring_rules_start_in_each_period_of_what_is_played(every: str, kinds: dict[ChangeKind, int]) -> None:
    """Two Mondays pass before the question is answered. Without caps the other rules are played for the list alone."""
    base = _heads()[0] | {"limits.yaml": "taken_for: 5 working days\n"}
    answered = Reaction(
        rule=RuleId("rights-approval"), subject="request_id=R-9", at=START + timedelta(days=13, hours=3),
        person_id=person_id_of_contact(TENANT, ContactId(820)), answer="approve",
    )  # fmt: skip
    old, new = _with_weekly("monday at 09:00", base), _with_weekly(every, base)
    found = diff_bundle(old, new, _bundle(answered), "", processes=1)
    assert Counter(change.kind for change in found.changes) == kinds
    assert {change.message.rule for change in found.changes} <= {"weekly"}
    assert {message.rule for message in found.before} <= {"weekly"}


def test_a_list_of_what_is_open_changes_with_the_rules_that_it_lists() -> None:
    base = _heads()[0] | {"limits.yaml": "taken_for: 5 working days\n"}
    gives_up = {name: text.replace("at: respond_by", "after: 2 days") for name, text in base.items() if name == RULE}
    old, new = (_with_weekly("monday at 09:00", files) for files in (base, base | gives_up))
    found = diff_bundle(old, new, _bundle(), "")
    assert {change.message.rule for change in found.changes if change.kind is ChangeKind.LOST} >= {"weekly"}


def test_only_rules_whose_files_or_templates_differ_are_played() -> None:
    base, head = _heads()
    assert changed_rules(base, head) == frozenset({"rights-approval"})
    template = next(name for name in base if name.endswith("rights_reminder.template.yaml"))
    assert "rights-approval" in (changed_rules(base, {**base, template: base[template] + "\n"}) or ())
    assert changed_rules(base, {**base, "people.yaml": base["people.yaml"] + "\n"}) is None


def test_running_chains_keep_the_rule_they_began_with() -> None:
    base, head = _heads()
    chain = LiveChain(
        chain_id=ChainId("c"), rule=RuleId("rights-approval"), revision=Revision("r"), state="running", started_at=START
    )
    other = chain.replace(rule=RuleId("launch-ready"))
    found = chain_outcomes([chain, chain, other], head, changed_rules(base, head))
    assert found == {("rights-approval", ChainOutcome.PINNED): 2, ("launch-ready", ChainOutcome.UNCHANGED): 1}


def test_the_comment_speaks_of_people_by_pseudonyms_and_says_who_notices() -> None:
    text = markdown_of(_difference(), read_prices())
    assert text.startswith("### ")
    assert "one more reminder" in text
    assert "Person 820" not in text


def test_a_large_difference_fits_into_a_comment() -> None:
    change = Change(ChangeKind.GAINED, None, _message())
    changes = [
        replace(change, after=_message(rule=f"rule-{n % 900}", subject=f"s{n}" * 10, person=f"p{n}"))
        for n in range(9000)
    ]
    text = markdown_of(Difference("9,000 events", changes, [], [c.message for c in changes]), read_prices())
    assert len(text.encode()) <= LARGEST
    assert "did not fit" in text
    assert len(list(rows_of(Difference("", changes, [], [])))) == len(changes)


def _text_of(changes: list[Change]) -> str:
    before = [change.before for change in changes if change.before]
    after = [change.after for change in changes if change.after]
    return markdown_of(Difference("9 events", changes, before, after), read_prices())


def test_every_change_of_a_rule_is_shown_or_counted_the_largest_shift_first() -> None:
    changes = []
    for hours in range(1, 10):
        at = START + timedelta(hours=hours)
        one = _message(subject=f"s{hours}")
        changes += [Change(ChangeKind.MOVED, one, one._replace(at=at)), Change(ChangeKind.REWORDED, one, one)]
        changes += [Change(ChangeKind.DOCUMENT_CHANGED, one._replace(document="d"), one)]
        changes += [Change(ChangeKind.GAINED, None, one), Change(ChangeKind.LOST, one, None)]
    examples = _text_of(changes).partition("#### rights-approval\n\n")[2].splitlines()
    assert examples[-1] == f"- and {len(changes) - 12} more"
    assert len(examples) == 13
    assert "(9 hours later)" in next(line for line in examples if "later" in line)
    assert any("document" in line for line in examples)


def test_a_message_is_said_to_come_earlier_or_later() -> None:
    one = _message()
    sooner = Change(ChangeKind.MOVED, one, one._replace(at=START - timedelta(days=1)))
    later = Change(ChangeKind.MOVED, one, one._replace(at=START + timedelta(days=1)))
    text = _text_of([sooner, sooner, later])
    assert text.startswith("### 2 messages earlier, 1 later, for 1 person\n")
    assert "gets 2 reminders earlier and one reminder later." in text
    assert "| rule | before | after | earlier | later | people |\n" in text


def test_a_diff_describes_the_subject_of_a_message_without_ids_of_events_and_people() -> None:
    person, other = f"p{'a' * 32}", f"p{'b' * 32}"
    subject = f"event=e1|payee.person_id={person}|author={other}|document_kind=tax"
    text = _text_of([Change(ChangeKind.GAINED, None, _message(title="", person=person, subject=subject))])
    assert person not in text
    assert other not in text
    assert re.search(r"to Agent \w{4} \(person \w{4}, document kind tax\): ", text)


def test_a_title_does_not_format_the_comment() -> None:
    text = _text_of([Change(ChangeKind.GAINED, None, _message(title="*A* <img src=x>"))])
    assert r"“\*A\* \<img src=x\>”" in text


def test_a_role_that_ends_with_a_number_stands_apart_from_the_pseudonym() -> None:
    text = _text_of([Change(ChangeKind.GAINED, None, _message(role="escalation 1"))])
    assert re.search(r"- Escalation 1 \(\w{4}\) gets one more reminder\.", text)


def test_a_bundle_without_events_says_nothing_of_a_change() -> None:
    base, head = _heads()
    empty = Bundle(BundleHead(tenant=TENANT, written_at=START, since=START, until=START))
    text = markdown_of(diff_bundle(base, head, empty, "0 events", processes=1), read_prices())
    assert text.startswith("### Nothing was sent, before or after\n")
    assert "no message of rights-approval" in text


def test_a_changed_rule_of_which_nothing_was_played_is_named() -> None:
    base, head = _heads()
    launch = "launch/launch-ready.rule.yaml"
    head[launch] += "\n"
    found = diff_bundle(base, head, _bundle(), "2 events", processes=1)
    assert found.unseen == (
        "What was played has no message of launch-ready, before or after: it does not show what that change does.",
    )


def test_stories_do_not_show_a_change_of_people() -> None:
    base = read_folder(FOLDER)
    head = {**base, "people.yaml": base["people.yaml"] + "\n"}
    text = markdown_of(diff_stories(base, head), read_prices())
    assert text.startswith("### Nothing changes in what was played\n")
    assert "whom the change of people.yaml concerns, recorded events alone show" in text


def test_the_prices_of_the_forecast_know_where_the_house_s_people_are() -> None:
    """Of prices that Meta has changed since the card, none is guessed."""
    prices, day = read_prices(), START.date()
    for country in ("GB", "US", "FR", "DE", "ES", "IT", "NL", "IE", "IN", "AU", "BR"):
        assert prices.price(country, "utility", day) is not None, country
    assert prices.price("GB", "marketing", day) is None


def test_a_country_without_a_price_is_counted_and_not_guessed() -> None:
    cost = cost_of(
        [_message(country="AT"), _message(country="AT", category="marketing"), _message(country="UA")], read_prices()
    )
    assert cost.unpriced == {"UA": 1}
    assert cost.amount == Decimal("0.0763")
    assert cost.categories == {"utility": 2, "marketing": 1}


def test_the_countries_without_a_price_are_named(tmp_path: Path) -> None:
    base, head = _heads()
    card = tmp_path / "rates.toml"
    card.write_text(
        'currency = "USD"\n[[rates]]\nvalid_from = 2026-01-01\n'
        '[rates.markets.Austria]\ncountries = ["AT"]\nutility = 0.0171\n'
    )
    text = markdown_of(diff_bundle(base, head, _bundle(), "2 events", processes=1), read_prices(card))
    assert "They have none for GB (" in text
    assert "| cost, USD | unknown | unknown |" in text


def _stories_of(play: str) -> dict[str, str]:
    """The rules of this repository with one story of rights-approval."""
    files = {name: text for name, text in read_folder(FOLDER).items() if not name.endswith(".test.yaml")}
    return {
        **files,
        "rights/rights-approval.test.yaml": f"- it: goes on\n  start: 2027-03-03T10:00:00Z\n  people:\n    {play}",
    }


_ASKED_TWICE = """820: {roles: [rights_holder], country: GB}
    40: {roles: [rights_manager], country: GB}
  play:
    - event: rights.approval_requested
      with: {request_id: R-1, rights_holder: 820}
    - wait: 2 working days
    - reply: {from: 820, button: decline, to: rights_reminder}
    - event: rights.approval_requested
      with: {request_id: R-2, rights_holder: 820}
"""


def test_after_a_tap_that_one_rulebook_does_not_offer_the_story_goes_on() -> None:
    base = _stories_of(_ASKED_TWICE)
    head = {**base, RULE: base[RULE].replace(REMINDER, "")}
    found = diff_stories(base, head)
    asked = [change for change in found.changes if change.message.say == "rights_request"]
    assert [message.say for message in found.after].count("rights_request") == 2
    assert asked == []
    assert (ChangeKind.LOST, "rights_reminder") in [(change.kind, change.message.say) for change in found.changes]


def test_the_words_that_a_removed_rule_had_asked_for_go_to_the_editors_instead() -> None:
    base = _stories_of(
        "820: {roles: [rights_holder], country: GB}\n    11: {roles: [editor], team: editorial, country: GB}\n  play:\n"
        "    - reply: {from: 820, text: When is it printed?}\n"
    )
    head = {name: text for name, text in base.items() if name != RULE}
    found = diff_stories(base, head)
    assert found.changes == []
    assert "to_read" in [message.say for message in found.after]


def test_a_message_that_waits_when_the_story_ends_comes_later_and_is_not_lost() -> None:
    base = _stories_of(
        "11: {roles: [editor], team: editorial, country: GB}\n  play:\n    - wait until: 2027-03-03T17:00:00Z\n"
        "    - event: work.stage_changed\n      with: {to_stage_key: final_proof_approved}\n"
    )
    assert "09:00-18:00" in base["calendar.yaml"]
    head = {**base, "calendar.yaml": base["calendar.yaml"].replace("09:00-18:00", "09:00-16:00")}
    found = diff_stories(base, head)
    told = [change for change in found.changes if change.message.say == "stage_changed_staff"]
    assert [(change.kind, change.message.at) for change in told] == [
        (ChangeKind.MOVED, datetime(2027, 3, 4, 9, tzinfo=UTC))
    ]


STAFF = """\
820: {roles: [rights_holder], country: GB, language: en}
40: {name: Rosa Achebe, roles: [rights_manager], country: GB}
41: {name: Jane Dunn, roles: [rights_manager], country: GB}"""
NOTICE = "Away till 12 March 2027, Jane covers"


def _bundle_of_an_absence(*, at: datetime, text: str | None = NOTICE, known: Absence | None = None) -> Bundle:
    """The bundle of a question, with a notice at an instant, and an absence that was announced before."""
    bundle = _bundle()
    people = make_people(story(STAFF, "expect: nothing"), own_rulebook()).people
    staff = [one for one in people.values() if one.contact_id in {40, 41}]
    names = Pseudonyms(b"key", TENANT, {ContactId(40), ContactId(41)})
    notices = AbsenceNotices(Facts(TENANT, people={one.person_id: one for one in staff}))
    away = person_id_of_contact(TENANT, ContactId(40))
    known_people = [state_event(TENANT, person_state(one, START), START, "persons", one.person_id) for one in staff]
    if text is not None:
        message = MessageReceived(
            line=Line("main"), person_id=away, message_id=Wamid("wamid.1"), message_kind=MessageKind.TEXT, text=text,
            at=at,
        )  # fmt: skip
        event = Event(
            id=EventId("m1"), source="test", type=message.kind, time=at, recordedtime=at, tenantid=TENANT,
            partitionkey=partition_key(TENANT, "persons", away), data=message,
        )  # fmt: skip
        add_event(bundle, names, event, own_rulebook(), notices)
    before = notices.before(away, known) if known is not None else None
    bundle.head = bundle.head.replace(absences={} if before is None else {away: before})
    sort_events(bundle, known_people, names, [])
    return bundle


def _asked(bundle: Bundle) -> set[str]:
    """Those who got a message of the rule in the days of the bundle."""
    messages = run_bundle(_heads()[0], None, bundle).messages
    return {message.person for message in messages if message.rule == "rights-approval"}


def test_an_absence_that_was_announced_by_chat_counts_in_a_comparison() -> None:
    away, cover = (person_id_of_contact(TENANT, ContactId(number)) for number in (40, 41))
    assert {away, cover} <= _asked(_bundle_of_an_absence(at=START, text=None))
    announced = _asked(_bundle_of_an_absence(at=START - timedelta(minutes=1)))
    assert cover in announced
    assert away not in announced


def test_an_absence_that_was_announced_before_the_days_of_a_bundle_counts_from_their_beginning() -> None:
    away, cover = (person_id_of_contact(TENANT, ContactId(number)) for number in (40, 41))
    earlier = Absence(first=START.date(), last=date(2027, 3, 12), covered_by=cover, evidence=Wamid("wamid.0"))
    asked = _asked(_bundle_of_an_absence(at=START, text=None, known=earlier))
    assert cover in asked
    assert away not in asked


@pytest.mark.parametrize(
    ("known", "before"),
    [
        (Absence(first=date(2027, 3, 3), last=date(2027, 3, 12), evidence=Wamid("wamid.1")), []),  # said in these days
        (Absence(first=date(2027, 4, 3), last=date(2027, 4, 4), evidence=Wamid("wamid.0")), [date(2027, 4, 3)]),
        (
            Absence(
                first=date(2027, 3, 3), last=date(2027, 3, 12), evidence=Wamid("wamid.1"),
                following=Absence(first=date(2027, 4, 3), last=date(2027, 4, 4), evidence=Wamid("wamid.0")),
            ),
            [date(2027, 4, 3)],
        ),
    ],
)  # fmt: skip
def test_an_absence_that_a_message_of_these_days_announces_was_not_known_before(
    known: Absence, before: list[date]
) -> None:
    bundle = _bundle_of_an_absence(at=START, known=known)
    assert [absence.first for absence in bundle.head.absences.values()] == before


def test_of_an_absence_that_a_message_of_these_days_ends_the_beginning_was_known() -> None:
    known = Absence(first=date(2027, 3, 1), last=date(2027, 3, 12)).returned(START.date(), Wamid("wamid.1"))
    (before,) = _bundle_of_an_absence(at=START, text="I am back", known=known).head.absences.values()
    assert before.covers(date(2027, 3, 2))
    assert before.returned_on is None
