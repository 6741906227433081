"""Erases two people of the stories on a stack, and looks for them in all tables, topics, files and logs."""

from dataclasses import dataclass

import aiohttp

from dev.demo.erasure import ErasedPerson, business_time, database, erase_named, pass_a_day, search_stores, until
from dev.demo.stories.pitch import PITCH, STRANGER
from dev.stack import Stack

_CONTACT, _CONTACT_NAME = 814, "Margaret Fairweather"
_NUMBER = "select phone_key from ingest.people where contact_id = $1"
_COMPACT_SECONDS = 60.0


@dataclass(frozen=True)
class ErasedPeople:
    """The contact's places by word, before and after; and the visitor."""

    contact_before: dict[str, list[str]]
    contact_after: dict[str, list[str]]
    visitor: ErasedPerson


async def erase_two_people(stack: Stack) -> ErasedPeople:
    """One visitor as ``stet erase`` does, one contact by ``contact.erasure_requested``; two days pass."""
    visitor = await erase_named(stack, STRANGER, (PITCH,))
    async with database(stack) as connection:
        number = await connection.fetchval(_NUMBER, _CONTACT)
    words = (_CONTACT_NAME, number.removeprefix("+"))
    before, began = await search_stores(stack, words), business_time(stack)
    await _push_request(stack)
    await pass_a_day(stack, began)

    async def is_gone() -> bool:
        return not any((await search_stores(stack, words)).values())

    await until(is_gone, _COMPACT_SECONDS)
    return ErasedPeople(
        contact_before=before,
        contact_after=await search_stores(stack, words),
        visitor=visitor,
    )


async def _push_request(stack: Stack) -> None:
    data = {"contact_id": _CONTACT, "requested_at": f"{business_time(stack):%Y-%m-%dT%H:%M:%SZ}"}
    url = f"{stack.layout.consonance_url.removesuffix('/graphql')}/_simulator/push"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"type": "contact.erasure_requested", "data": data}) as answer,
    ):
        assert answer.status < 300, await answer.text()
