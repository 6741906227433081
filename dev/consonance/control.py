"""``/_simulator``, the commands: what a user of Consonance or an integration would do, and what goes wrong."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from dev.consonance import business, edits
from dev.consonance.asked import (
    BatchGiven,
    ComponentsGiven,
    ContactEdit,
    EventGiven,
    MilestoneChange,
    MilestoneGiven,
    ProductEdit,
    RightsRequestChange,
    RightsRequestGiven,
    WorkEdit,
)
from dev.consonance.complaints import Complaint, Missing
from dev.consonance.components import set_components
from dev.consonance.faults import Fault
from dev.consonance.inspection import answer, contact_shown, product_shown, work_shown
from dev.consonance.pushes import Push
from dev.consonance.simulator import Simulator

_Model = TypeVar("_Model", bound=BaseModel)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def explain(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Says what is wrong with a command instead of failing."""
    try:
        return await handler(request)
    except ValidationError as error:
        return answer({"error": _first_fault(error)}, status=400)
    except Complaint as complaint:
        return answer({"error": str(complaint)}, status=400)
    except (Missing, KeyError) as missing:
        return answer({"error": str(missing)}, status=404)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


async def _given(request: web.Request, model: type[_Model]) -> _Model:
    return model.model_validate_json(await request.read() or b"{}")


class Control:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def work(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        said = (await _given(request, WorkEdit)).said()
        edits.edit_work(self._simulator.house, id_, said, self._simulator.today())
        return self._done(work_shown(self._simulator.house, id_))

    async def product(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        said = (await _given(request, ProductEdit)).said()
        edits.edit_product(self._simulator.house, id_, said, self._simulator.today())
        return self._done(product_shown(self._simulator.house, id_))

    async def contact(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        said = (await _given(request, ContactEdit)).said()
        edits.edit_contact(self._simulator.house, id_, said, self._simulator.today())
        return self._done(contact_shown(self._simulator.house, id_))

    async def components(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        said = (await _given(request, ComponentsGiven)).said()
        set_components(self._simulator.house, id_, said, self._simulator.today())
        return self._done(work_shown(self._simulator.house, id_))

    async def rights_requests(self, request: web.Request) -> web.Response:
        given = await _given(request, RightsRequestGiven)
        return self._done(business.ask_for_rights(self._simulator, given), status=201)

    async def rights_request(self, request: web.Request) -> web.Response:
        given = await _given(request, RightsRequestChange)
        return self._done(business.change_rights_request(self._simulator, request.match_info["id"], given))

    async def milestones(self, request: web.Request) -> web.Response:
        given = await _given(request, MilestoneGiven)
        return self._done(business.set_milestone(self._simulator, given), status=201)

    async def milestone(self, request: web.Request) -> web.Response:
        given = await _given(request, MilestoneChange)
        return self._done(business.change_milestone(self._simulator, request.match_info["id"], given))

    async def push(self, request: web.Request) -> web.Response:
        given = await _given(request, EventGiven)
        return self._pushed(self._simulator.push(given.type, given.subject, given.data, given.id))

    async def push_batch(self, request: web.Request) -> web.Response:
        given = await _given(request, BatchGiven)
        events = [self._simulator.event(one.type, one.subject, one.data, one.id) for one in given.events]
        return self._pushed(self._simulator.pushes.send_batch(events))

    async def faults(self, request: web.Request) -> web.Response:
        fault = await _given(request, Fault)
        self._simulator.faults.add(fault)
        return self._done(fault.model_dump(mode="json"), status=201)

    async def no_faults(self, _: web.Request) -> web.Response:
        self._simulator.faults.clear()
        return self._done({})

    async def reset(self, _: web.Request) -> web.Response:
        self._simulator.reset()
        return self._done({})

    def _pushed(self, push: Push) -> web.Response:
        return self._done({"id": push.id, "types": push.types}, status=202)

    def _done(self, said: object, *, status: int = 200) -> web.Response:
        self._simulator.worked += 1
        return answer(said, status=status)
