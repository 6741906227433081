"""The control API below ``/_simulator``: commands (edits, rights requests, milestones, pushes, faults), and queries."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from dev.consonance.control_inputs import (
    BatchInput,
    ComponentsInput,
    ContactEdit,
    EventInput,
    MilestoneChange,
    MilestoneInput,
    ProductEdit,
    RightsRequestChange,
    RightsRequestInput,
    WorkEdit,
)
from dev.consonance.edits import contact_of, edit_contact, edit_product, edit_work, product_of, work_of
from dev.consonance.faults import RequestFault
from dev.consonance.mutation_results import FieldRefused, RecordMissing
from dev.consonance.publisher import PublisherRecords, full_title
from dev.consonance.publisher_actions import (
    ask_for_rights,
    change_milestone,
    change_rights_request,
    components,
    set_components,
    set_milestone,
)
from dev.consonance.pushes import EventPush
from dev.consonance.simulator import ConsonanceSimulator

_KINDS = (
    *("works", "products", "contacts", "contributions", "contracts", "gratis_copies", "marketing_texts"),
    *("supporting_resources", "rights_requests", "rights_records", "acquisitions", "acknowledgements", "milestones"),
)


def answer(document: object, *, status: int = 200) -> web.Response:
    body = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json")


def work_shown(publisher: PublisherRecords, work_id: int) -> dict[str, Any]:
    work = work_of(publisher, work_id)
    return asdict(work) | {
        "stage": publisher.stages[work.project_stage_id],
        "components": components(publisher, work_id),
    }


def product_shown(publisher: PublisherRecords, product_id: int) -> dict[str, Any]:
    product = product_of(publisher, product_id)
    return asdict(product) | {"full_title": full_title(publisher, product)}


def contact_shown(publisher: PublisherRecords, contact_id: int) -> dict[str, Any]:
    contact = contact_of(publisher, contact_id)
    return asdict(contact) | {"name": contact.name}


class ControlQueries:
    def __init__(self, simulator: ConsonanceSimulator) -> None:
        self._simulator = simulator

    async def healthz(self, _: web.Request) -> web.Response:
        return answer({"ok": True})

    async def work(self, request: web.Request) -> web.Response:
        return answer(work_shown(self._simulator.publisher, int(request.match_info["id"])))

    async def product(self, request: web.Request) -> web.Response:
        return answer(product_shown(self._simulator.publisher, int(request.match_info["id"])))

    async def contact(self, request: web.Request) -> web.Response:
        return answer(contact_shown(self._simulator.publisher, int(request.match_info["id"])))

    async def state(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        if kind not in _KINDS:
            return answer({"error": f"no such kind; there are {', '.join(_KINDS)}"}, status=404)
        return answer(list(getattr(self._simulator.publisher, kind).values()))

    async def log(self, request: web.Request) -> web.Response:
        return answer(self._simulator.mutation_log.entries(request.query.get("operation")))

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
        counter = self._simulator.work_count + self._simulator.pushes.attempts
        return answer({"busy": busy, "next_due": None, "counter": counter})


_Model = TypeVar("_Model", bound=BaseModel)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def explain(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Says what is wrong with a command instead of failing."""
    try:
        return await handler(request)
    except ValidationError as error:
        return answer({"error": _first_fault(error)}, status=400)
    except FieldRefused as refusal:
        return answer({"error": str(refusal)}, status=400)
    except (RecordMissing, KeyError) as missing:
        return answer({"error": str(missing)}, status=404)


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


async def _given(request: web.Request, model: type[_Model]) -> _Model:
    return model.model_validate_json(await request.read() or b"{}")


class ControlCommands:
    def __init__(self, simulator: ConsonanceSimulator) -> None:
        self._simulator = simulator

    async def work(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        fields = (await _given(request, WorkEdit)).given_fields()
        edit_work(self._simulator.publisher, id_, fields, self._simulator.today())
        return self._done(work_shown(self._simulator.publisher, id_))

    async def product(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        fields = (await _given(request, ProductEdit)).given_fields()
        edit_product(self._simulator.publisher, id_, fields, self._simulator.today())
        return self._done(product_shown(self._simulator.publisher, id_))

    async def contact(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        fields = (await _given(request, ContactEdit)).given_fields()
        edit_contact(self._simulator.publisher, id_, fields, self._simulator.today())
        return self._done(contact_shown(self._simulator.publisher, id_))

    async def components(self, request: web.Request) -> web.Response:
        id_ = int(request.match_info["id"])
        fields = (await _given(request, ComponentsInput)).given_fields()
        set_components(self._simulator.publisher, id_, fields, self._simulator.today())
        return self._done(work_shown(self._simulator.publisher, id_))

    async def rights_requests(self, request: web.Request) -> web.Response:
        given = await _given(request, RightsRequestInput)
        return self._done(ask_for_rights(self._simulator, given), status=201)

    async def rights_request(self, request: web.Request) -> web.Response:
        given = await _given(request, RightsRequestChange)
        return self._done(change_rights_request(self._simulator, request.match_info["id"], given))

    async def milestones(self, request: web.Request) -> web.Response:
        given = await _given(request, MilestoneInput)
        return self._done(set_milestone(self._simulator, given), status=201)

    async def milestone(self, request: web.Request) -> web.Response:
        given = await _given(request, MilestoneChange)
        return self._done(change_milestone(self._simulator, request.match_info["id"], given))

    async def push(self, request: web.Request) -> web.Response:
        given = await _given(request, EventInput)
        return self._pushed(self._simulator.push(given.type, given.subject, given.data, given.id))

    async def push_batch(self, request: web.Request) -> web.Response:
        given = await _given(request, BatchInput)
        events = [self._simulator.event(one.type, one.subject, one.data, one.id) for one in given.events]
        return self._pushed(self._simulator.pushes.send_batch(events))

    async def faults(self, request: web.Request) -> web.Response:
        fault = await _given(request, RequestFault)
        self._simulator.faults.add(fault)
        return self._done(fault.model_dump(mode="json"), status=201)

    async def no_faults(self, _: web.Request) -> web.Response:
        self._simulator.faults.clear()
        return self._done({})

    async def reset(self, _: web.Request) -> web.Response:
        self._simulator.reset()
        return self._done({})

    def _pushed(self, push: EventPush) -> web.Response:
        return self._done({"id": push.id, "types": push.types}, status=202)

    def _done(self, document: object, *, status: int = 200) -> web.Response:
        self._simulator.work_count += 1
        return answer(document, status=status)
