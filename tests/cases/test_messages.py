"""What people and WhatsApp send: reactions, files, words that stop, failed sends, strangers, other numbers."""

from pathlib import Path

import pytest

from services.dispatcher.provider_responses import SendError, error_policy
from services.dispatcher.throttles import SendTarget, Throttles
from services.ingest.webhook_parser import PersonUpdate, parse_webhook
from services.rules.conversation.chain import Ending
from services.rules.story.model import Kind as Effect
from services.rules.story.read import read_stories
from shared.contracts.envelope import parse_event
from shared.contracts.intents import ReplyIntent, classify
from shared.contracts.topics import WHATSAPP_STATUSES
from shared.contracts.whatsapp import DeliveryStatus, StatusReported
from tests.cases.folder import CASES, Kind, lines, of_kind, read_json
from tests.cases.played import FRAME, OURS, Played
from tests.services.dispatcher.builders import NOON
from tests.services.ingest.service import WebhookClient

AUTHOR = "801: {roles: [author], country: GB}, 11: {roles: [editor], country: GB}"
STRANGER = "5001: {visitor: true, name: Maud Ferrier, country: GB}, 71: {roles: [commissioning_editor], country: GB}"
PLACEHOLDER_NAME = "5001: {visitor: true, name: WhatsApp visitor, country: GB}"
AWAY_SAYS = 12
AWAY_HEARS = 4
"""Messages of ours that an automatic answer may bring about, the question itself included."""


def named(kind: Kind, number: str) -> Path:
    """Skips where the cases hold no such folder."""
    found = [folder for folder in of_kind(kind) if folder.name.partition("-")[0] == number]
    if not found:
        pytest.skip(f"there is no such case at {CASES}")
    return found[0]


# ------------------------------------------------------------------ messages

MESSAGES = of_kind(Kind.MESSAGE)


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
def test_a_reaction_to_a_notice_or_to_nothing_known_brings_nothing(folder: Path) -> None:
    item = read_json(folder / "message.json")
    if item["type"] != "reaction":
        pytest.skip("it is no reaction")
    played = Played.of(AUTHOR, "event: work.stage_changed")
    assert [one.kind for one in played.all() if one.who == 801] == [Effect.TELL]
    played.wamids[item["reaction"]["message_id"]] = played.last_wamid(801, "stage_changed")
    for number in OURS:
        assert played.hears(801, item, number) == []


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
@pytest.mark.parametrize("number", OURS)
def test_a_reaction_of_a_stranger_brings_nothing(folder: Path, number: str) -> None:
    item = read_json(folder / "message.json")
    if item["type"] != "reaction":
        pytest.skip("it is no reaction")
    assert Played.of(STRANGER).hears(5001, item, number) == []


@pytest.mark.parametrize("folder", MESSAGES, ids=lambda path: path.name)
def test_a_file_is_the_manuscript_or_refused_with_what_would_do(folder: Path) -> None:
    item = read_json(folder / "message.json")
    if item["type"] not in {"document", "image", "audio", "video"}:
        pytest.skip("it is no file")
    played = Played.of(STRANGER)
    first, second = played.hears(5001, item, "1066")
    assert (first.say, second.say) == ("pitch_welcome", "pitch.title")
    if "wordprocessingml" in item[item["type"]].get("mime_type", ""):
        assert "These kinds" not in (second.text or "")
    else:
        assert "pdf" in (second.text or "").lower() or "file" not in (second.text or "")


# ------------------------------------------------------------------ words


@pytest.mark.parametrize("folder", of_kind(Kind.TEXTS), ids=lambda path: path.name)
def test_words_that_stop_are_understood(folder: Path) -> None:
    words = lines(folder / "texts.txt")
    assert words
    assert [word for word in words if classify(word) is not ReplyIntent.STOP] == []


# ------------------------------------------------------------------ webhooks

WEBHOOKS = of_kind(Kind.WEBHOOK)


@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
def test_every_update_of_a_webhook_is_read_or_counted(folder: Path) -> None:
    parsed = parse_webhook(folder.joinpath("webhook.json").read_bytes(), FRAME)
    assert parsed.invalid == []
    assert len(parsed.records) + len(parsed.person_updates) + sum(parsed.foreign_numbers.values()) > 0


@pytest.mark.integration
@pytest.mark.timeout(180)  # the first starts a broker
@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
async def test_a_webhook_is_taken_and_harms_nothing(folder: Path, post: WebhookClient) -> None:
    assert await post.webhook(folder.joinpath("webhook.json").read_bytes()) == 200
    assert await post.webhook(b'{"object":"whatsapp_business_account","entry":[]}') == 200


def statuses(folder: Path) -> list[StatusReported]:
    parsed = parse_webhook(folder.joinpath("webhook.json").read_bytes(), FRAME)
    records = [record for record in parsed.records if record.topic == WHATSAPP_STATUSES]
    found = [parse_event(record.value, WHATSAPP_STATUSES.kinds).data for record in records]
    return [one for one in found if isinstance(one, StatusReported)]


def person_updates(folder: Path) -> list[PersonUpdate]:
    return parse_webhook(folder.joinpath("webhook.json").read_bytes(), FRAME).person_updates


@pytest.mark.parametrize("folder", WEBHOOKS, ids=lambda path: path.name)
def test_a_failed_status_of_the_account_stops_what_the_same_answer_would(folder: Path) -> None:
    failed = [one for one in statuses(folder) if one.status is DeliveryStatus.FAILED and one.code is not None]
    if not failed:
        pytest.skip("it tells of no failed send")
    for one in failed:
        assert one.code is not None
        by_status, by_answer = Throttles(), Throttles()
        told, target = (
            SendError(one.code, error_policy(one.code), None),
            SendTarget("main", "p1", ("stage_told_v1", "en")),
        )
        by_status.record(told, target, NOON, NOON, by_status=True)
        by_answer.record(told, target, NOON, NOON)
        assert by_status.take_changes().saved.keys() == by_answer.take_changes().saved.keys() != set()


def test_a_stranger_without_a_name_is_asked_for_the_author() -> None:
    (one,) = person_updates(named(Kind.WEBHOOK, "35"))
    assert one.identity.name is None
    played = Played.of(PLACEHOLDER_NAME)
    played.hears(5001, one.update.item, "1066")
    asked = [played.reads(f"reply: {{from: 5001, text: {said}}}") for said in ("The Tide Millers", "Maud Ferrier")]
    assert next(one.say for effects in asked for one in effects) == "pitch.author"


def test_a_message_to_a_number_that_is_not_ours_is_kept_out() -> None:
    parsed = parse_webhook(named(Kind.WEBHOOK, "11").joinpath("webhook.json").read_bytes(), FRAME)
    assert parsed.person_updates == []
    assert sum(parsed.foreign_numbers.values()) == 1


# ------------------------------------------------------------------ stories


def story(folder: Path) -> Played:
    stories, faults = read_stories({"case.test.yaml": folder.joinpath("story.test.yaml").read_text("utf-8")})
    assert faults == []
    return Played(stories[0])


def test_the_owner_hears_what_nobody_could_be_given() -> None:
    effects = story(named(Kind.STORY, "04")).all()
    told = [one for one in effects if one.say == "left_with_owner"]
    assert [one.who for one in told] == [22]
    assert "The Cartographer’s Garden" in (told[0].text or "")
    assert [one.end for one in effects if one.kind is Effect.END] == [Ending.LEFT_WITH_OWNER]


def test_an_away_message_is_answered_a_few_times_only() -> None:
    played = story(named(Kind.STORY, "06"))
    effects = played.all()
    for _ in range(AWAY_SAYS):
        effects += played.reads("reply: {from: 812, text: Thank you for your message. The agency is closed.}")
    assert len([one for one in effects if one.who == 812]) <= AWAY_HEARS
    assert len([one for one in effects if one.kind is Effect.HAND_OVER]) <= 1
