"""Events to the webhook: signed, in order, again until they are taken, and well formed."""

import json
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from shared.contracts.consonance import KINDS, short_name
from shared.contracts.values import convert
from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.stand import SECRET, Hook, Stand, standing, until

_BLOCKED = {
    "work": 61424,
    "block_id": "B-1",
    "cause": "late_file",
    "detail": "the jacket file is corrupt",
    "blocking": "files_to_press",
    "owner": {"contact_id": 21, "role": "owner"},
    "severity": "critical",
    "since": "2027-03-03T10:00:00Z",
}

_A_LIFE = [
    "schedule.date_set",
    "schedule.date_changed",
    "schedule.date_changed",
    "schedule.date_set",
    "milestone.completed",
    "milestone.reopened",
]


async def _push(stand: Stand, **more: Any) -> str:
    said = {"type": "work.blocked", "subject": "works/61424", "data": _BLOCKED, **more}
    id_: str = (await stand.tell("POST", "push", said))["id"]
    return id_


async def _received(hook: Hook, count: int = 1) -> list[Any]:
    await until(lambda: len(hook.requests) >= count)
    return [json.loads(body) for _, body in hook.requests]


async def test_a_push_is_a_signed_cloud_event_at_business_time(hook: Hook, stand: Stand) -> None:
    id_ = await _push(stand)
    [event] = await _received(hook)
    headers, body = hook.requests[0]
    Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents+json"
    assert (event["id"], event["type"]) == (id_, "consonance.work.blocked.v1")
    assert event["source"] == "https://web.consonance.app/penrose"
    assert (event["subject"], event["time"]) == ("works/61424", "2027-03-03T10:00:00Z")


async def test_ids_in_the_data_are_filled_from_the_records(hook: Hook, stand: Stand) -> None:
    await _push(stand)
    [event] = await _received(hook)
    assert event["data"]["work"]["title"] == "Winter Ferries"
    assert event["data"]["owner"] == {
        "kind": "person",
        "display_name": "Samir Haddad",
        "contact_id": 21,
        "role": "owner",
    }


async def test_a_push_is_repeated_until_it_is_taken_and_holds_back_the_next(hook: Hook, stand: Stand) -> None:
    hook.statuses += [503, 429]
    ids = [await _push(stand), await _push(stand)]
    received = await _received(hook, 4)
    assert [event["id"] for event in received] == [ids[0]] * 3 + [ids[1]]
    shown = await stand.tell("GET", "pushes")
    assert shown[0]["statuses"] == [503, 429, 202]


async def test_a_refused_push_is_not_repeated(hook: Hook, stand: Stand) -> None:
    hook.statuses += [400]
    await _push(stand)
    await _push(stand)
    await _received(hook, 2)
    shown = await stand.tell("GET", "pushes")
    assert (shown[0]["state"], shown[0]["statuses"]) == ("refused", [400])


async def test_a_push_with_an_id_of_its_own_can_be_repeated(hook: Hook, stand: Stand) -> None:
    for _ in range(2):
        await _push(stand, id="evt-7")
    assert [event["id"] for event in await _received(hook, 2)] == ["evt-7", "evt-7"]


async def test_a_batch_is_one_signed_body(hook: Hook, stand: Stand) -> None:
    events = [{"type": "work.blocked", "data": _BLOCKED, "id": f"evt-{number}"} for number in range(3)]
    await stand.tell("POST", "push_batch", {"events": events})
    [batch] = await _received(hook)
    headers, body = hook.requests[0]
    Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert [event["id"] for event in batch] == ["evt-0", "evt-1", "evt-2"]


async def test_idle_names_the_push_that_is_still_on_its_way(hook: Hook, stand: Stand) -> None:
    hook.statuses += [503] * 1_000
    before = (await stand.tell("GET", "idle"))["counter"]
    await _push(stand)
    idle = await stand.tell("GET", "idle")
    assert idle["busy"] == ["push of consonance.work.blocked.v1"]
    hook.statuses.clear()
    while (idle := await stand.tell("GET", "idle"))["busy"]:
        pass
    assert (idle["next_due"], idle["counter"] > before) == (None, True)


async def test_a_webhook_that_does_not_exist_yet_is_waited_for() -> None:
    async with standing("http://127.0.0.1:1/consonance/events") as stand:
        await _push(stand)
        while not (shown := await stand.tell("GET", "pushes"))[0]["statuses"]:
            pass
    assert (shown[0]["state"], shown[0]["statuses"][0]) == ("waiting", 0)


async def test_asking_for_rights_says_all_the_contract_wants(hook: Hook, stand: Stand) -> None:
    said = {"work_id": 61418, "rights_holder": 812, "via_agent_contact_id": 900, "respond_by": "2027-03-19"}
    request = await stand.tell("POST", "rights_requests", said)
    [event] = await _received(hook)
    assert event["data"]["terms_hash"] == request["terms_hash"]
    assert event["data"]["rights_holder"]["via_agent_contact_id"] == 900
    assert _parses(event)


async def test_the_life_of_a_milestone_is_told(hook: Hook, stand: Stand) -> None:
    said = {"milestone_id": "M-1", "work_id": 61419, "name": "First layouts", "milestone_key": "first_layouts"}
    affected = [{"contact_id": 830, "role": "designer"}]
    await stand.tell("POST", "milestones", {**said, "due_on": "2027-04-01", "affected": affected})
    for change in ({"due_on": "2027-04-08"}, {"due_on": None}, {"due_on": "2027-04-08", "done_on": "2027-04-10"}):
        await stand.tell("PATCH", "milestones/M-1", change)
    await stand.tell("PATCH", "milestones/M-1", {"done_on": None})
    received = await _received(hook, 6)
    assert [short_name(event["type"]) for event in received] == _A_LIFE
    assert all(map(_parses, received))
    assert "new_due" not in received[2]["data"]
    assert received[4]["data"]["days_late"] == 2


async def test_new_terms_and_a_withdrawal_are_told(hook: Hook, stand: Stand) -> None:
    said = {"request_id": "R-1", "work_id": 61418, "rights_holder": 812, "respond_by": "2027-03-19", "push": False}
    old = await stand.tell("POST", "rights_requests", said)
    terms = {"summary": "e-book only", "territory": ["FR"], "exclusivity": "non_exclusive"}
    await stand.tell("PATCH", "rights_requests/R-1", {"terms": terms})
    await stand.tell("PATCH", "rights_requests/R-1", {"status": "cancelled"})
    changed, withdrawn = await _received(hook, 2)
    assert changed["data"]["new_terms_hash"] != old["terms_hash"]
    assert (withdrawn["type"], withdrawn["data"]["reason"]) == ("consonance.rights.request_withdrawn.v1", "cancelled")


async def test_an_event_is_dated_when_business_time_has_moved(
    hook: Hook, stand: Stand, clock: DevelopmentClock
) -> None:
    clock.set(datetime(2027, 3, 5, 16, tzinfo=UTC))
    await _push(stand)
    [event] = await _received(hook)
    assert event["time"] == "2027-03-05T16:00:00Z"


def _parses(event: dict[str, Any]) -> bool:
    """As ingest reads it once each party has the person it adds."""
    data = event["data"]
    for party in [*data.get("affected", []), *([data["rights_holder"]] if "rights_holder" in data else [])]:
        party["person_id"] = f"p-{party['contact_id']}"
    return convert(KINDS[event["type"]], data) is not None
