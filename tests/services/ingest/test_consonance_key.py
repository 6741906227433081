"""A key that Consonance refuses is reported with its setting until it is accepted again."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.ingest.poll.consonance_reader import connect
from shared.contracts.errors import Unavailable


@pytest.fixture
async def answers() -> AsyncIterator[tuple[str, list[int]]]:
    statuses: list[int] = []

    async def answer(_: web.Request) -> web.Response:
        data = {"__schema": {"types": [{"name": "Contact", "fields": [{"name": "id"}]}]}, "contacts": []}
        return web.json_response({"data": data} if statuses[0] < 500 else {}, status=statuses[0])

    app = web.Application()
    app.router.add_post("/graphql", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/graphql", statuses
    await runner.cleanup()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_reported_until_it_is_accepted(answers: tuple[str, list[int]], status: int) -> None:
    url, statuses = answers
    async with connect(url, "a-key") as consonance:
        statuses[:] = [status]
        with pytest.raises(Unavailable):
            await consonance.contacts()
        assert (await consonance.key_detail()).startswith("STET_CONSONANCE_KEY: ")
        assert "a-key" not in await consonance.key_detail()
        statuses[:] = [200]
        await consonance.contacts()
        assert await consonance.key_detail() == ""


async def test_a_failing_server_does_not_mean_a_refused_key(answers: tuple[str, list[int]]) -> None:
    url, statuses = answers
    async with connect(url, "a-key") as consonance:
        statuses[:] = [500]
        with pytest.raises(Unavailable):
            await consonance.contacts()
        assert await consonance.key_detail() == ""
