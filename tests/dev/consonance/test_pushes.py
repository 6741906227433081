"""Events to the webhook: signed, in order, again until they are taken, and well formed."""

import json
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from shared.contracts.consonance import KINDS, short_name
from shared.contracts.values import convert
from shared.runtime.clock import DevelopmentClock
from tests.dev.consonance.simulator_under_test import (
    SECRET,
    RecordingWebhook,
    SimulatorUnderTest,
    running_simulator,
    until,
)

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


async def _push(simulator: SimulatorUnderTest, **more: Any) -> str:
    said = {"type": "work.blocked", "subject": "works/61424", "data": _BLOCKED, **more}
    id_: str = (await simulator.tell("POST", "push", said))["id"]
    return id_


async def _received(webhook: RecordingWebhook, count: int = 1) -> list[Any]:
    await until(lambda: len(webhook.requests) >= count)
    return [json.loads(body) for _, body in webhook.requests]


async def test_a_push_is_a_signed_cloud_event_at_business_time(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    id_ = await _push(simulator)
    [event] = await _received(webhook)
    headers, body = webhook.requests[0]
    Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents+json"
    assert (event["id"], event["type"]) == (id_, "consonance.work.blocked.v1")
    assert event["source"] == "https://web.consonance.app/penrose"
    assert (event["subject"], event["time"]) == ("works/61424", "2027-03-03T10:00:00Z")


async def test_ids_in_the_data_are_filled_from_the_records(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    await _push(simulator)
    [event] = await _received(webhook)
    assert event["data"]["work"]["title"] == "Winter Ferries"
    assert event["data"]["owner"] == {
        "kind": "person",
        "display_name": "Samir Haddad",
        "contact_id": 21,
        "role": "owner",
    }


async def test_a_push_is_repeated_until_it_is_taken_and_holds_back_the_next(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    webhook.statuses += [503, 429]
    ids = [await _push(simulator), await _push(simulator)]
    received = await _received(webhook, 4)
    assert [event["id"] for event in received] == [ids[0]] * 3 + [ids[1]]
    shown = await simulator.tell("GET", "pushes")
    assert shown[0]["statuses"] == [503, 429, 202]


async def test_a_refused_push_is_not_repeated(webhook: RecordingWebhook, simulator: SimulatorUnderTest) -> None:
    webhook.statuses += [400]
    await _push(simulator)
    await _push(simulator)
    await _received(webhook, 2)
    shown = await simulator.tell("GET", "pushes")
    assert (shown[0]["state"], shown[0]["statuses"]) == ("refused", [400])


async def test_a_push_with_an_id_of_its_own_can_be_repeated(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    for _ in range(2):
        await _push(simulator, id="evt-7")
    assert [event["id"] for event in await _received(webhook, 2)] == ["evt-7", "evt-7"]


async def test_a_batch_is_one_signed_body(webhook: RecordingWebhook, simulator: SimulatorUnderTest) -> None:
    events = [{"type": "work.blocked", "data": _BLOCKED, "id": f"evt-{number}"} for number in range(3)]
    await simulator.tell("POST", "push_batch", {"events": events})
    [batch] = await _received(webhook)
    headers, body = webhook.requests[0]
    Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert [event["id"] for event in batch] == ["evt-0", "evt-1", "evt-2"]


async def test_idle_names_the_push_that_is_still_on_its_way(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    webhook.statuses += [503] * 1_000
    before = (await simulator.tell("GET", "idle"))["counter"]
    await _push(simulator)
    idle = await simulator.tell("GET", "idle")
    assert idle["busy"] == ["push of consonance.work.blocked.v1"]
    webhook.statuses.clear()
    while (idle := await simulator.tell("GET", "idle"))["busy"]:
        pass
    assert (idle["next_due"], idle["counter"] > before) == (None, True)


async def test_a_webhook_that_does_not_exist_yet_is_waited_for() -> None:
    async with running_simulator("http://127.0.0.1:1/consonance/events") as simulator:
        await _push(simulator)
        while not (shown := await simulator.tell("GET", "pushes"))[0]["statuses"]:
            pass
    assert (shown[0]["state"], shown[0]["statuses"][0]) == ("waiting", 0)


async def test_a_rights_request_pushes_every_field_of_the_contract(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest
) -> None:
    said = {"work_id": 61418, "rights_holder": 812, "via_agent_contact_id": 900, "respond_by": "2027-03-19"}
    request = await simulator.tell("POST", "rights_requests", said)
    [event] = await _received(webhook)
    assert event["data"]["terms_hash"] == request["terms_hash"]
    assert event["data"]["rights_holder"]["via_agent_contact_id"] == 900
    assert _parses(event)


async def test_every_change_of_a_milestone_is_pushed(webhook: RecordingWebhook, simulator: SimulatorUnderTest) -> None:
    said = {"milestone_id": "M-1", "work_id": 61419, "name": "First layouts", "milestone_key": "first_layouts"}
    affected = [{"contact_id": 830, "role": "designer"}]
    await simulator.tell("POST", "milestones", {**said, "due_on": "2027-04-01", "affected": affected})
    for change in ({"due_on": "2027-04-08"}, {"due_on": None}, {"due_on": "2027-04-08", "done_on": "2027-04-10"}):
        await simulator.tell("PATCH", "milestones/M-1", change)
    await simulator.tell("PATCH", "milestones/M-1", {"done_on": None})
    received = await _received(webhook, 6)
    assert [short_name(event["type"]) for event in received] == _A_LIFE
    assert all(map(_parses, received))
    assert "new_due" not in received[2]["data"]
    assert received[4]["data"]["days_late"] == 2


async def test_new_terms_and_a_withdrawal_are_pushed(webhook: RecordingWebhook, simulator: SimulatorUnderTest) -> None:
    said = {"request_id": "R-1", "work_id": 61418, "rights_holder": 812, "respond_by": "2027-03-19", "push": False}
    old = await simulator.tell("POST", "rights_requests", said)
    terms = {"summary": "e-book only", "territory": ["FR"], "exclusivity": "non_exclusive"}
    await simulator.tell("PATCH", "rights_requests/R-1", {"terms": terms})
    await simulator.tell("PATCH", "rights_requests/R-1", {"status": "cancelled"})
    changed, withdrawn = await _received(webhook, 2)
    assert changed["data"]["new_terms_hash"] != old["terms_hash"]
    assert (withdrawn["type"], withdrawn["data"]["reason"]) == ("consonance.rights.request_withdrawn.v1", "cancelled")


async def test_an_event_is_dated_when_business_time_has_moved(
    webhook: RecordingWebhook, simulator: SimulatorUnderTest, clock: DevelopmentClock
) -> None:
    clock.set(datetime(2027, 3, 5, 16, tzinfo=UTC))
    await _push(simulator)
    [event] = await _received(webhook)
    assert event["time"] == "2027-03-05T16:00:00Z"


def _parses(event: dict[str, Any]) -> bool:
    """As ingest reads it once each party has the person it adds."""
    data = event["data"]
    for party in [*data.get("affected", []), *([data["rights_holder"]] if "rights_holder" in data else [])]:
        party["person_id"] = f"p-{party['contact_id']}"
    return convert(KINDS[event["type"]], data) is not None
