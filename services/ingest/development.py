"""What a stack on a driven clock asks of ingest: whether it has work in hand, and a poll at once."""

import orjson
from aiohttp import web

from services.ingest.door import Door
from services.ingest.measures import Measures
from services.ingest.polling import Polling
from shared.contracts.errors import Unavailable, Unprocessable
from shared.runtime.health import IdleCheck, IdleStatus, Route


def idle_report(door: Door, measures: Measures, polling: Polling) -> IdleCheck:
    async def report() -> IdleStatus:
        busy = ("requests",) if door.in_hand else ()
        return IdleStatus(busy, None, measures.taken + polling.told)

    return report


def poll_route(polling: Polling) -> Route:
    """POST: a pass that begins now; answers when it is complete, with what it told and how many there have been."""

    async def poll(_: web.Request) -> web.StreamResponse:
        try:
            told = await polling.once()
        except (Unavailable, Unprocessable) as fault:
            return web.Response(status=503, text=str(fault))
        answer = {"events": told, "completed": polling.completed}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    return poll
