"""Two people of the demo's stories are erased, and then looked for in all that the stack stores (``make erasure``)."""

import asyncio

import pytest

from dev.demo.runner import POLLED_ON_REQUEST, play_stories
from dev.demo.stories import STORIES
from dev.demo.story import STARTS_AT
from dev.stack import Stack, StackOptions
from tests.flow.erased_people import ErasedPeople, erase_two_people

pytestmark = [pytest.mark.erasure, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def erased() -> ErasedPeople:
    return asyncio.run(_erase())


async def _erase() -> ErasedPeople:
    async with Stack.open("flow-erasure", STARTS_AT, StackOptions(settings=POLLED_ON_REQUEST.settings)) as stack:
        result = await play_stories(stack, STORIES)
        assert result.faults == []
        return await erase_two_people(stack)


def test_two_erased_people_are_in_no_table_no_topic_no_file_and_no_log(erased: ErasedPeople) -> None:
    before = {**erased.visitor.before, **erased.contact_before}
    after = {**erased.visitor.after, **erased.contact_after}
    for who, word in enumerate(before, 1):  # by number: what a person is known by is not printed
        left = after.get(word, ())  # a stored file that is gone has no entry
        print(f"word {who}: {len(before[word]):2} places before, {len(left):2} after: {', '.join(left)}")  # noqa: T201
    assert all(before.values()), "each word must have been somewhere"
    assert len({place for places in before.values() for place in places}) > 10
    assert not any(after.values())


def test_the_manuscript_of_an_erased_visitor_is_deleted(erased: ErasedPeople) -> None:
    assert erased.visitor.files == 1
    assert erased.visitor.is_gone


def test_a_dry_run_found_the_person_where_the_search_did(erased: ErasedPeople) -> None:
    found = {place for places in erased.visitor.before.values() for place in places}
    assert found - {"the file store"} <= set(erased.visitor.dry_run)


def test_chains_and_messages_stay_readable_by_the_pseudonym(erased: ErasedPeople) -> None:
    assert {"rules.chains", "rules.messages", "dispatcher.messages"} <= set(erased.visitor.pseudonym)
