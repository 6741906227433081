"""The doctor reaches its neighbours as the services do."""

from types import SimpleNamespace

from aiohttp import web
from pydantic import SecretStr

from ops import doctor
from ops.command_line import Service
from tests.web_servers import serving


async def test_a_redirect_is_no_answer_and_takes_the_key_nowhere() -> None:
    """The services do not follow it either."""
    reached = []

    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/graphql")

    async def graphql(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.json_response({"data": {"__typename": "Query"}})

    async with serving([web.post("/moved", moved), web.post("/graphql", graphql)]) as url:
        settings = SimpleNamespace(consonance_key=SecretStr("5" * 32), consonance_endpoint=f"{url}/moved")
        found = await doctor._check_consonance(settings, Service.WRITEBACK)
    assert [finding.result for finding in found] == ["wrong"]
    assert reached == []
