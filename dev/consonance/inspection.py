"""``/_simulator``, the questions: what the records hold, what was written and pushed, whether all is done."""

from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from dev.consonance.components import components
from dev.consonance.edits import contact_of, product_of, work_of
from dev.consonance.house import House
from dev.consonance.simulator import Simulator
from dev.consonance.titles import full_title

_KINDS = (
    *("works", "products", "contacts", "contributions", "contracts", "gratis_copies", "marketing_texts"),
    *("supporting_resources", "rights_requests", "rights_records", "acquisitions", "acknowledgements", "milestones"),
)


def answer(said: object, *, status: int = 200) -> web.Response:
    body = orjson.dumps(said, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json")


def work_shown(house: House, work_id: int) -> dict[str, Any]:
    work = work_of(house, work_id)
    return asdict(work) | {"stage": house.stages[work.project_stage_id], "components": components(house, work_id)}


def product_shown(house: House, product_id: int) -> dict[str, Any]:
    product = product_of(house, product_id)
    return asdict(product) | {"full_title": full_title(house, product)}


def contact_shown(house: House, contact_id: int) -> dict[str, Any]:
    contact = contact_of(house, contact_id)
    return asdict(contact) | {"name": contact.name}


class Inspection:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def healthz(self, _: web.Request) -> web.Response:
        return answer({"ok": True})

    async def work(self, request: web.Request) -> web.Response:
        return answer(work_shown(self._simulator.house, int(request.match_info["id"])))

    async def product(self, request: web.Request) -> web.Response:
        return answer(product_shown(self._simulator.house, int(request.match_info["id"])))

    async def contact(self, request: web.Request) -> web.Response:
        return answer(contact_shown(self._simulator.house, int(request.match_info["id"])))

    async def state(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in _KINDS:
            return answer({"error": f"no such kind; there are {', '.join(_KINDS)}"}, status=404)
        return answer(list(getattr(self._simulator.house, kind).values()))

    async def log(self, request: web.Request) -> web.Response:
        return answer(self._simulator.journal.entries(request.query.get("operation")))

    async def pushes(self, _: web.Request) -> web.Response:
        shown = [
            {
                "id": push.id,
                "types": push.types,
                "state": push.state,
                "statuses": push.statuses,
                "body": orjson.loads(push.body),
            }
            for push in self._simulator.pushes.all
        ]
        return answer(shown)

    async def faults(self, _: web.Request) -> web.Response:
        return answer([fault.model_dump(mode="json") for fault in self._simulator.faults.waiting()])

    async def idle(self, _: web.Request) -> web.Response:
        """Nothing here is ever due at a business time."""
        busy = [f"push of {', '.join(sorted(set(push.types)))}" for push in self._simulator.pushes.waiting()]
        if self._simulator.answering:
            busy.append(f"{self._simulator.answering} requests in hand")
        counter = self._simulator.worked + self._simulator.pushes.attempts
        return answer({"busy": busy, "next_due": None, "counter": counter})
