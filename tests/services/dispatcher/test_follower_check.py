"""When a claim looks for due messages to take out of its way, because they wait behind earlier ones of their chats."""

from datetime import UTC, datetime

import pytest

from services.dispatcher.claimer import FollowerCheck
from services.dispatcher.payload import MessageContent
from services.dispatcher.planner import QueuedMessage
from services.dispatcher.store import MANY_FOLLOWERS, DueMessage, RequestOrigin
from services.dispatcher.templates import TemplateState

_AT = datetime(2027, 3, 3, 10, tzinfo=UTC)
_ORIGIN = RequestOrigin("e1", None, None)


def _found(count: int, passed: int) -> list[DueMessage]:
    """So many due messages of one lane, behind others that a claim passed."""
    return [_due(place) for place in range(passed + 1, passed + count + 1)]


def _due(place: int) -> DueMessage:
    message = QueuedMessage(f"m{place}", f"p{place}", "main", MessageContent("Hello"), _AT, _AT)
    return DueMessage(
        message, person_known=True, address=None, window_opened_at=None, template=TemplateState.USABLE,
        origin=_ORIGIN, place=place,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "passed", "is_due"),
    [
        (10, MANY_FOLLOWERS - 1, False),
        (10, MANY_FOLLOWERS, True),
        (MANY_FOLLOWERS, MANY_FOLLOWERS, True),
        (MANY_FOLLOWERS + 1, MANY_FOLLOWERS, False),  # fewer than half: a search would hold none
        (200, 200, True),
    ],
)
def test_a_search_follows_a_claim_that_passed_many_and_as_many_as_it_found(
    found: int, passed: int, *, is_due: bool
) -> None:
    check = FollowerCheck()
    assert check.is_due(_found(found, passed), found) is is_due


def test_a_search_that_held_some_is_followed_by_another() -> None:
    check = FollowerCheck()
    check.record(1)
    assert check.is_due(_found(10, 0), 10)
    check.record(0)
    assert not check.is_due(_found(10, 0), 10)
