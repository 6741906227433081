"""Cases of messages and webhooks: reactions, files, stop words, failed sends, strangers, foreign numbers."""

from pathlib import Path

import pytest

from services.dispatcher.provider_responses import SendError, error_policy
from services.dispatcher.throttles import SendTarget, Throttles
from services.ingest.webhook_parser import PersonUpdate, parse_webhook
from services.rules.conversation.chain import Ending
from services.rules.scenario.story_file import EffectKind, read_stories
from shared.contracts.envelope import parse_event
from shared.contracts.intents import ReplyIntent, classify
from shared.contracts.topics import WHATSAPP_STATUSES
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from tests.cases.case_folders import CASES, CaseKind, cases_of, lines, read_json
from tests.cases.shipped_story import CONTEXT, OURS, ShippedStory
from tests.services.dispatcher.builders import NOON
from tests.services.ingest.service import WebhookClient

AUTHOR = "801: {roles: [author], country: GB}, 11: {roles: [editor], country: GB}"
STRANGER = "5001: {visitor: true, name: Maud Ferrier, country: GB}, 71: {roles: [commissioning_editor], country: GB}"
VISITOR_WITHOUT_NAME = "5001: {visitor: true, name: WhatsApp visitor, country: GB}"
AUTOMATIC_REPLIES = 12
MOST_MESSAGES = 4
"""Messages of ours that an automatic answer may bring about, the question itself included."""


def case_named(kind: CaseKind, number: str) -> Path:
    """Skips where the cases hold no such folder."""
    found = [folder for folder in cases_of(kind) if folder.name.partition("-")[0] == number]
    if not found:
        pytest.skip(f"there is no such case at {CASES}")
    return found[0]


# ------------------------------------------------------------------ messages

MESSAGES = cases_of(CaseKind.MESSAGE)


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
def test_a_reaction_to_a_notice_has_no_effect(folder: Path) -> None:
    item = read_json(folder / "message.json")
    if item["type"] != "reaction":
        pytest.skip("it is no reaction")
    story = ShippedStory.of(AUTHOR, "event: work.stage_changed")
    assert [one.kind for one in story.play_all() if one.person == 801] == [EffectKind.TELL]
    story.wamids[item["reaction"]["message_id"]] = story.newest_wamid(801, "stage_changed")
    for number in OURS:
        assert story.receive(801, item, number) == []


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("number", OURS)
def test_a_reaction_of_a_stranger_has_no_effect(folder: Path, number: str) -> None:
    item = read_json(folder / "message.json")
    if item["type"] != "reaction":
        pytest.skip("it is no reaction")
    assert ShippedStory.of(STRANGER).receive(5001, item, number) == []


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
def test_a_file_is_taken_as_manuscript_or_refused_with_the_right_kinds(folder: Path) -> None:
    item = read_json(folder / "message.json")
    if item["type"] not in {"document", "image", "audio", "video"}:
        pytest.skip("it is no file")
    story = ShippedStory.of(STRANGER)
    first, second = story.receive(5001, item, "1066")
    assert (first.template, second.template) == ("pitch_welcome", "pitch.title")
    if "wordprocessingml" in item[item["type"]].get("mime_type", ""):
        assert "These kinds" not in (second.text or "")
    else:
        assert "pdf" in (second.text or "").lower() or "file" not in (second.text or "")


# ------------------------------------------------------------------ words


@pytest.mark.parametrize("folder", cases_of(CaseKind.TEXTS), ids=lambda path: path.name)
def test_words_that_stop_messages_are_classified(folder: Path) -> None:
    words = lines(folder / "texts.txt")
    assert words
    assert [word for word in words if classify(word) is not ReplyIntent.STOP] == []


# ------------------------------------------------------------------ webhooks

WEBHOOKS = cases_of(CaseKind.WEBHOOK)


@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
def test_every_update_of_a_webhook_is_read_or_counted(folder: Path) -> None:
    parsed = parse_webhook(folder.joinpath("webhook.json").read_bytes(), CONTEXT)
    assert parsed.invalid == []
    assert len(parsed.records) + len(parsed.person_updates) + sum(parsed.foreign_numbers.values()) > 0


@pytest.mark.integration
@pytest.mark.timeout(180)  # the first starts a broker
@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
async def test_a_webhook_is_accepted_and_so_is_the_next(folder: Path, post: WebhookClient) -> None:
    assert await post.webhook(folder.joinpath("webhook.json").read_bytes()) == 200
    assert await post.webhook(b'{"object":"whatsapp_business_account","entry":[]}') == 200


def statuses(folder: Path) -> list[StatusReported]:
    parsed = parse_webhook(folder.joinpath("webhook.json").read_bytes(), CONTEXT)
    records = [record for record in parsed.records if record.topic == WHATSAPP_STATUSES]
    found = [parse_event(record.value, WHATSAPP_STATUSES.kinds).data for record in records]
    return [one for one in found if isinstance(one, StatusReported)]


def person_updates(folder: Path) -> list[PersonUpdate]:
    return parse_webhook(folder.joinpath("webhook.json").read_bytes(), CONTEXT).person_updates


@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
def test_a_failed_status_throttles_what_the_same_response_would(folder: Path) -> None:
    failed = [one for one in statuses(folder) if one.status is DeliveryStatus.FAILED and one.code is not None]
    if not failed:
        pytest.skip("it has no failed status")
    for one in failed:
        assert one.code is not None
        by_status, by_answer = Throttles(), Throttles()
        error = SendError(one.code, error_policy(one.code), None)
        target = SendTarget("main", "p1", ("stage_told_v1", "en"))
        by_status.record(error, target, NOON, NOON, by_status=True)
        by_answer.record(error, target, NOON, NOON)
        assert by_status.take_changes().saved.keys() == by_answer.take_changes().saved.keys() != set()


def test_a_stranger_without_a_name_is_asked_for_the_author() -> None:
    (one,) = person_updates(case_named(CaseKind.WEBHOOK, "35"))
    assert one.identity.name is None
    story = ShippedStory.of(VISITOR_WITHOUT_NAME)
    story.receive(5001, one.update.item, "1066")
    asked = [story.play(f"reply: {{from: 5001, text: {said}}}") for said in ("The Tide Millers", "Maud Ferrier")]
    assert next(one.template for effects in asked for one in effects) == "pitch.author"


def test_a_message_to_a_foreign_number_is_counted_only() -> None:
    parsed = parse_webhook(case_named(CaseKind.WEBHOOK, "11").joinpath("webhook.json").read_bytes(), CONTEXT)
    assert parsed.person_updates == []
    assert sum(parsed.foreign_numbers.values()) == 1


# ------------------------------------------------------------------ stories


def story_of(folder: Path) -> ShippedStory:
    stories, faults = read_stories({"case.test.yaml": folder.joinpath("story.test.yaml").read_text("utf-8")})
    assert faults == []
    return ShippedStory(stories[0])


def test_the_owner_team_is_told_of_a_hand_over_that_reaches_no_person() -> None:
    effects = story_of(case_named(CaseKind.STORY, "04")).play_all()
    messages = [one for one in effects if one.template == "left_with_owner"]
    assert [one.person for one in messages] == [22]
    assert "The Cartographer’s Garden" in (messages[0].text or "")
    assert [one.end for one in effects if one.kind is EffectKind.END] == [Ending.LEFT_WITH_OWNER]


def test_an_automatic_reply_is_answered_a_few_times_only() -> None:
    story = story_of(case_named(CaseKind.STORY, "06"))
    effects = story.play_all()
    for _ in range(AUTOMATIC_REPLIES):
        effects += story.play("reply: {from: 812, text: Thank you for your message. The agency is closed.}")
    assert len([one for one in effects if one.person == 812]) <= MOST_MESSAGES
    assert len([one for one in effects if one.kind is EffectKind.HAND_OVER]) <= 1
