"""The limit on unsolicited messages: a machine is answered once, a flood is limited, forms are not affected."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import UnsolicitedLimit
from shared.contracts.contacts import Addresses, PersonObserved
from shared.contracts.ids import Line, PersonId, Phone, Wamid
from shared.contracts.whatsapp import Media, MessageKind, MessageReceived
from tests.services.rules.rulebooks import good_files
from tests.services.rules.rules_service import NOW, RulesUnderTest, person_observed, rules_under_test
from tests.services.rules.stories import story_faults

HOLDER = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], team: rights, country: GB}"
EDITOR = "11: {roles: [editor], country: GB}"
STRANGER = f"5001: {{visitor: true, name: Maud Ferrier, country: GB}}\n{EDITOR}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812}}"
AWAY = "Thank you for your message. The agency is closed; we answer on Monday."
ONCE = "{hand_over: 40, say: to_take}, {tell: 812, say: handed_over}"
PAUSED = "{tell: 40, say: answers_paused}"


def says(who: int, text: str, more: str = "") -> str:
    return f'reply: {{from: {who}, text: "{text}"{more}}}'


@pytest.mark.parametrize(
    "texts",
    [
        [AWAY] * 12,
        [f"It is 10:{n}. {AWAY} Ticket #{4711 + n}." for n in range(10, 22)],
        [f"{AWAY} {greeting}" for greeting in ("Regards", "Best", "Yours") * 4],
        ["Closed."] * 12,
        [AWAY, AWAY.partition(";")[0]] * 6,
        ["本日は休業しております。月曜日にご連絡いたします。"] * 12,
    ],
)
def test_an_away_message_is_answered_handed_over_and_reported_once(texts: list[str]) -> None:
    moves = (ASKED, "expect: [{ask: 812}]", *(says(812, text) for text in texts))
    assert story_faults(HOLDER, *moves, f"expect: [{ONCE}, {PAUSED}]") == []


def test_endless_different_messages_are_answered_five_times_an_hour() -> None:
    texts = ["One", "and two", "three", "a fourth", "five", "six", "seven", "eight"]
    moves = (ASKED, "expect: [{ask: 812}]", *(says(812, text) for text in texts))
    assert story_faults(HOLDER, *moves, f"expect: [{', '.join([ONCE] * 5)}, {PAUSED}]") == []


def test_after_a_quiet_hour_a_person_is_answered_again_and_reported_once_a_day() -> None:
    texts = ["One", "and two", "three", "a fourth", "five", "six"]
    later = ["seven", "eight", "nine", "ten", "eleven", "twelve"]
    moves = (
        ASKED,
        *(says(812, text) for text in texts),
        f"expect: [{{ask: 812}}, {', '.join([ONCE] * 5)}, {PAUSED}]",
        "wait: 61 minutes",
        *(says(812, text) for text in later),
        f"expect: [{', '.join([ONCE] * 5)}]",
    )
    assert story_faults(HOLDER, *moves) == []


def test_an_away_message_to_the_next_question_is_known_again() -> None:
    again = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812, request_id: R-10}}"
    moves = (
        ASKED,
        says(812, AWAY),
        f"expect: [{{ask: 812}}, {ONCE}]",
        "wait: 2 hours",
        again,
        says(812, AWAY, ", to: rights_request"),
        f"expect: [{{ask: 812}}, {PAUSED}]",
    )
    assert story_faults(HOLDER, *moves) == []


def test_the_same_word_to_two_questions_is_no_repetition() -> None:
    again = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812, request_id: R-10}}"
    yes = says(812, "Yes", ", to: rights_request")
    assert story_faults(HOLDER, ASKED, yes, again, yes, f"expect: [{{ask: 812}}, {ONCE}, {{ask: 812}}, {ONCE}]") == []


def test_a_tap_is_taken_however_much_was_written_before() -> None:
    moves = (
        ASKED,
        *[says(812, AWAY)] * 9,
        f"expect: [{{ask: 812}}, {ONCE}, {PAUSED}]",
        "reply: {from: 812, button: approve}",
        "expect: [{record: rights.record_decision}, {tell: 812, say: noted}]",
    )
    assert story_faults(HOLDER, *moves) == []


def test_stop_is_taken_however_much_was_written_before_and_start_is_believed() -> None:
    relayed = "{tell: 11, say: to_read}, {tell: 5001, say: passed_on}"
    moves = (
        *(says(5001, text) for text in ("a", "b", "c", "d", "e", "f", "g")),
        f"expect: [{', '.join([relayed] * 5)}, {{tell: 11, say: answers_paused}}]",
        says(5001, "STOP"),
        "expect: [{tell: 5001, say: stopped}]",
        "wait: 1 minute",
        says(5001, "START"),
        "expect: nothing",
        "wait: 3 hours",
        says(5001, "Do you take novels?"),
        f"expect: [{relayed}]",
    )
    assert story_faults(STRANGER, *moves) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("482913", "113 355"),
        ("G-482913 is your verification code.", "G-11335 is your verification code."),
        ("Your code: 4829", "Il tuo codice è 113355, non condividerlo"),
        ("您的验证码是 482913", "您的验证码是 113355"),
    ],
)
@pytest.mark.parametrize("line", ["main", "acquisitions"])
def test_a_login_code_starts_no_process_twice(first: str, second: str, line: str) -> None:
    people = f"{STRANGER}\n71: {{roles: [commissioning_editor], country: GB}}"
    begun = f"{collects('pitch_welcome', 'pitch.title')}, {{remind: 5001, say: pitch_unfinished}}, {{end: gave_up}}"
    relayed = "{tell: 11, say: to_read}, {tell: 5001, say: passed_on}"
    moves = (
        says(5001, first, f", line: {line}"),
        "wait: 9 days",
        f"expect: [{begun if line == 'acquisitions' else relayed}]",
        says(5001, second, f", line: {line}"),
        "wait: 1 hour",
        f"expect: [{{tell: {'71' if line == 'acquisitions' else '11'}, say: answers_paused}}]",
    )
    assert story_faults(people, *moves) == []


@pytest.mark.parametrize(("people", "who", "answered"), [(STRANGER, 5001, 5), (f"{HOLDER}\n{EDITOR}", 812, 7)])
def test_a_stranger_opens_few_chains_in_a_night(people: str, who: int, answered: int) -> None:
    texts = ["One", "and two", "three", "a fourth", "five", "six", "seven"]
    night = [move for text in texts for move in (says(who, text, ", line: main"), "wait: 61 minutes")]
    thanks = ", ".join([f"{{tell: {who}, say: passed_on}}"] * answered)
    assert story_faults(people, "wait: 12 hours", *night, f"expect: [{thanks}]") == []


def test_chains_that_have_ended_leave_room_for_others() -> None:
    texts = ["One", "and two", "three", "a fourth", "five", "six", "seven"]
    day = [move for text in texts[:6] for move in (says(5001, text, ", line: main"), "wait: 30 minutes")]
    relayed = ", ".join(["{tell: 11, say: to_read}, {tell: 5001, say: passed_on}"] * 6)
    assert story_faults(STRANGER, *day, f"expect: [{relayed}]") == []


def collects(*prompts: str) -> str:
    return ", ".join(f"{{collect: 5001, say: {each}}}" for each in prompts)


def test_a_form_filled_fast_with_the_same_word_is_not_limited() -> None:
    prompts = ("welcome", ".title", ".genre", ".genre", ".ai_used", ".manuscript", "summary")
    said = collects(*(f"pitch{each if each[0] == '.' else '_' + each}" for each in prompts))
    moves = (
        says(5001, "A book", ", line: acquisitions"),
        *(says(5001, text) for text in ("Yes", "Yes", "1", "Yes", "Yes")),
        f"expect: [{said}]",
    )
    assert story_faults(STRANGER, *moves) == []


def test_a_machine_that_repeats_itself_fills_no_form_and_is_not_asked_for_ever() -> None:
    prompts = collects("pitch_welcome", *["pitch.title"] * 6)
    told = "{tell: 71, say: answers_paused}"
    moves = (*[says(5001, AWAY, ", line: acquisitions")] * 40, f"expect: [{prompts}, {told}]")
    assert story_faults(STRANGER.replace("11: {roles: [editor]", "71: {roles: [commissioning_editor]"), *moves) == []


# ------------------------------------------------------------------ on a real database


VISITOR = PersonId("v-flood")


@pytest.fixture
async def service(postgres_database: str) -> AsyncIterator[RulesUnderTest]:
    async with rules_under_test(postgres_database, NOW) as service:
        await service.receive(*map(person_observed, (11, 12, 21, 22, 31, 40, 41, 51, 52, 53, 61, 71)))
        await service.receive(
            PersonObserved(
                person_id=VISITOR, display_name="Maud", addresses=Addresses(phone=Phone("+447700900777")),
                observed_at=NOW, version=1,
            )
        )  # fmt: skip
        yield service


def message(number: int, *, line: str = "main", media: Media | None = None) -> MessageReceived:
    return MessageReceived(
        line=Line(line), person_id=VISITOR, message_id=Wamid(f"wamid.{number}"), at=NOW, media=media,
        message_kind=MessageKind.MEDIA if media else MessageKind.TEXT, text=None if media else _text(number),
    )  # fmt: skip


def _text(number: int) -> str:
    return " ".join(chr(97 + int(digit)) * 3 for digit in str(number))


@pytest.mark.integration
async def test_two_hundred_texts_of_a_stranger_make_a_handful_of_chains(service: RulesUnderTest) -> None:
    for start in range(0, 200, 40):
        await service.receive(*(message(number) for number in range(start, start + 40)))
    said = [say for _, say in await service.requested()]
    assert (said.count("to_read"), said.count("passed_on"), said.count("answers_paused")) == (10, 5, 2), said
    assert len(await service.chains()) == 6
    assert await service.pool.fetchval("select count(*) from unasked") == 1
    silent = [one["data"] for one in await service.published("decisions") if one["data"].get("reason") == "braked"]
    assert sum(len(each["events"]) for each in silent) == 194


@pytest.mark.integration
async def test_additions_of_a_stranger_to_a_submission_are_limited_but_not_a_folder_of_pictures(
    service: RulesUnderTest,
) -> None:
    await service.pool.execute(
        "insert into acquisitions (tenant, person_id, reference) values ('penrose', $1, 'K7PQ2M')", VISITOR
    )
    pictures = [Media(media_id=f"media.{n}", mime="image/jpeg") for n in range(30)]
    sent = [message(n, line="acquisitions", media=one) for n, one in enumerate(pictures)]
    await service.receive(*sent[:15])
    assert len(await service.published("writes.requested")) == 15
    await service.receive(*sent[15:])
    assert len(await service.published("writes.requested")) == 20


@pytest.mark.integration
async def test_the_text_of_unsolicited_messages_is_not_kept(service: RulesUnderTest) -> None:
    await service.receive(message(1).replace(text="The secret garden is mine"))
    kept = await service.pool.fetchval("select document::text from unasked")
    assert "secret" not in kept
    await service.receive(PersonObserved(person_id=VISITOR, display_name="-", observed_at=NOW, version=2, erased=True))
    assert await service.pool.fetchval("select count(*) from unasked") == 0


@pytest.mark.integration
async def test_an_erased_person_who_wrote_nothing_leaves_no_row(service: RulesUnderTest) -> None:
    await service.receive(PersonObserved(person_id=VISITOR, display_name="-", observed_at=NOW, version=2, erased=True))
    assert await service.pool.fetchval("select count(*) from unasked") == 0


@pytest.mark.integration
async def test_a_merged_id_leaves_no_row_behind(service: RulesUnderTest) -> None:
    await service.receive(message(1).replace(text="The secret garden is mine"))
    await service.pool.execute(
        "insert into acquisitions (tenant, person_id, reference) values ('penrose', $1, 'K7PQ2M')", VISITOR
    )
    await service.pool.execute(
        "insert into last_rules (tenant, person_id, rule) values ('penrose', $1, 'permission')", VISITOR
    )
    author = person_observed(812)
    over = PersonObserved(person_id=VISITOR, display_name="-", observed_at=NOW, version=2, merged_into=author.person_id)
    await service.receive(author)
    await service.receive(over)
    for table in ("unasked", "acquisitions", "last_rules"):
        kept = await service.pool.fetch(f"select person_id from {table}")  # noqa: S608 -- names of the test's own
        assert [row["person_id"] for row in kept] == [author.person_id], table


def test_the_limits_may_say_other_numbers() -> None:
    files = good_files()
    assert load(files)[0].tenant.unsolicited == UnsolicitedLimit()  # type: ignore[union-attr]
    files["limits.yaml"] += "brake: {answers: 2, within: 2 days, open: 9, strangers_open: 1}\n"
    limit = UnsolicitedLimit(2, 20, timedelta(days=2), 9, 1)
    assert load(files)[0].tenant.unsolicited == limit  # type: ignore[union-attr]
