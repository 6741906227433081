"""Messages that are marketing by their file: they need a consent of their own, but as the answer to a request."""

from dataclasses import replace

import pytest

from services.rules.conversation.context import RequestedMessage
from services.rules.rulebook.model import Category, Rulebook, Severity
from services.rules.scenario.player import StoryPlayer
from shared.contracts.messages import SendMessage
from tests.services.rules.conversation.test_caps import digest_player, limited, moved, sent_in_the_morning
from tests.services.rules.stories import own_rulebook, story

DETAILS = "metadata_details"
PEOPLE = "801: {roles: [author], country: GB}\n31: {roles: [metadata_manager], country: GB}"
ASKS = (
    "{event: metadata.confirmation_requested, with: {quorum: first, confirmers: [801]}}",
    "reply: {from: 801, button: show}",
)


def with_offers(book: Rulebook, *names: str, fallback: str | None = None) -> Rulebook:
    """The rulebook where these templates are marketing."""
    made = {name: replace(book.templates[name], category=Category.MARKETING, fallback=fallback) for name in names}
    return replace(book, templates={**book.templates, **made})


def sent_as(say: str, book: Rulebook) -> SendMessage:
    asks = story(PEOPLE, *ASKS)
    player = StoryPlayer.of(asks, book)
    for step in asks.steps:
        assert player.play(step) == []
    sent = [effect.send for effect in player.simulation.effects if isinstance(effect, RequestedMessage)]
    (found,) = [one for one in sent if one.say == say]
    return found


def test_an_offer_that_a_person_asks_for_is_free_text_alone() -> None:
    assert sent_as(DETAILS, own_rulebook()).template is not None
    offered = sent_as(DETAILS, with_offers(own_rulebook(), DETAILS))
    assert (offered.template, offered.fallback, offered.marketing_consent) == (None, None, False)


@pytest.mark.parametrize(
    ("offers", "name"), [((DETAILS,), "metadata_applied_v1"), ((DETAILS, "metadata_applied"), None)]
)
def test_or_its_fallback_where_that_is_no_offer(offers: tuple[str, ...], name: str | None) -> None:
    offered = sent_as(DETAILS, with_offers(own_rulebook(), *offers, fallback="metadata_applied"))
    assert (offered.template and offered.template.name, offered.fallback) == (name, None)


def test_an_offer_that_no_person_has_asked_for_keeps_its_template_and_waits_for_the_consent() -> None:
    asked = sent_as("metadata_confirm", with_offers(own_rulebook(), "metadata_confirm"))
    assert asked.template is not None
    assert (asked.template.category, asked.marketing_consent) == ("marketing", False)


def test_an_offer_is_no_part_of_a_digest() -> None:
    book = limited(digest=Severity.INFO)
    assert [one.say for one in sent_in_the_morning(digest_player(book, moved(1), moved(2)))] == ["digest"]
    offers = sent_in_the_morning(digest_player(with_offers(book, "stage_changed"), moved(1), moved(2)))
    assert [one.say for one in offers] == ["stage_changed", "stage_changed"]
