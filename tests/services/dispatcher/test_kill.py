"""``kill -9`` between intent and outcome: the simulator counts that nothing was sent twice, and nothing is lost."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from dev.ports import free_ports
from dev.postgres import login_of
from dev.processes import Child, Command
from shared.contracts.envelope import Event, EventData
from shared.contracts.ids import EventId
from shared.contracts.topics import CONTACTS, MESSAGES_REQUESTED, WHATSAPP_STATUSES, Topic
from shared.runtime.clock import machine_now
from tests.dev.whatsapp.simulator_under_test import (
    MAIN,
    RIGHTS_REQUEST,
    TOKEN,
    RecordingWebhook,
    SimulatorUnderTest,
    running_simulator,
)
from tests.infrastructure import ROOT, declare_topics, stop_and_show_log
from tests.services.dispatcher.dispatcher_under_test import (
    TENANT,
    person_observed,
    send_request,
    status_of,
    wait_until,
    withdrawal,
)

pytestmark = pytest.mark.integration
_MESSAGES = 150


@dataclass
class DispatcherProcess:
    """The dispatcher in a process and on topics of its own."""

    settings: dict[str, str]
    folder: Path
    simulator: SimulatorUnderTest
    webhook: RecordingWebhook
    _published: int = 0
    _children: list[Child] = field(default_factory=list)

    async def run(self, module: str, *arguments: str) -> Child:
        name = f"{module.rpartition('.')[2]}-{len(self._children)}"
        command = Command(name, (sys.executable, "-m", module, *arguments), self.settings)
        self._children.append(Child(command, self.folder))
        return self._children[-1]

    async def start(self) -> Child:
        child = await self.run("services.dispatcher")
        await child.start()
        return child

    async def publish(self, topic: Topic, *payloads: EventData) -> None:
        prefix, bootstrap = self.settings["STET_TOPIC_PREFIX"], self.settings["STET_KAFKA_BOOTSTRAP"]
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for data in payloads:
                event = self._event(data)
                await producer.send(prefix + topic.name, event.to_bytes(), event.partitionkey.encode())

    async def states(self) -> dict[str, int]:
        connection = await asyncpg.connect(self.settings["STET_POSTGRES_DSN"])
        rows = await connection.fetch("select state, count(*) from dispatcher.messages group by state")
        await connection.close()
        return dict(rows)

    async def sends(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = await self.simulator.ask("messages")
        return messages

    async def end(self) -> None:
        for child in self._children:
            await stop_and_show_log(child)

    def _event(self, data: EventData) -> Event:
        self._published += 1
        now, number = machine_now(), self._published
        return Event(
            id=EventId(f"event-{number}"), source="test", type=data.kind, time=now, recordedtime=now, tenantid=TENANT,
            partitionkey=f"key-{number}", data=data,
        )  # fmt: skip


@pytest.fixture
async def simulator(webhook: RecordingWebhook) -> AsyncIterator[SimulatorUnderTest]:
    async with running_simulator(webhook) as simulator:
        await simulator.tell("templates", [RIGHTS_REQUEST])
        yield simulator


@pytest.fixture
async def service(
    kafka_bootstrap: str,
    postgres_database: str,
    unique_suffix: str,
    run_folder: Path,
    simulator: SimulatorUnderTest,
    webhook: RecordingWebhook,
) -> AsyncIterator[DispatcherProcess]:
    settings = {
        "PYTHONPATH": str(ROOT), "STET_TENANT": TENANT, "STET_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "STET_POSTGRES_DSN": login_of(postgres_database, "dispatcher"), "STET_TOPIC_PREFIX": f"{unique_suffix}.",
        "STET_HEALTH_PORT": str(free_ports(1)[0]), "STET_WHATSAPP_GRAPH_URL": simulator.url,
        "STET_WHATSAPP_GRAPH_VERSION": "v25.0", "STET_WHATSAPP_TOKEN": TOKEN, "STET_SEND_TIMEOUT_SECONDS": "2",
        "STET_WHATSAPP_LINES": orjson.dumps({"main": MAIN}).decode(),
    }  # fmt: skip
    service = DispatcherProcess(settings, run_folder, simulator, webhook)
    await declare_topics(kafka_bootstrap, f"{unique_suffix}.")
    yield service
    await service.end()


async def _publish_requests(service: DispatcherProcess) -> None:
    expires, numbers = machine_now() + timedelta(days=1), range(_MESSAGES)
    await service.publish(CONTACTS, *(person_observed(f"p{n}", f"+4416329{n:05}") for n in numbers))
    await service.publish(MESSAGES_REQUESTED, *(send_request(f"m{n}", f"p{n}", expires_at=expires) for n in numbers))


@pytest.mark.timeout(180)
async def test_a_kill_between_intent_and_outcome_doubles_nothing_and_loses_nothing(service: DispatcherProcess) -> None:
    await _publish_requests(service)
    killed = await service.start()
    await wait_until(lambda: _at_least(service, 30), 40)
    await killed.kill()
    await service.start()
    await wait_until(lambda: _nothing_waits(service), 60)
    await _deliver_statuses(service)
    await wait_until(lambda: _accounted_for(service), 40)
    counts = await service.simulator.ask("counts")
    assert counts["repeated_callbacks"] == {}
    assert len({message["person"] for message in await service.sends()}) == counts["sends"]


@pytest.mark.timeout(240)
async def test_a_frozen_leader_is_replaced_and_wakes_up_too_late(service: DispatcherProcess) -> None:
    await _publish_requests(service)
    frozen = await service.start()
    await wait_until(lambda: _at_least(service, 30), 40)
    os.kill(frozen.pid, signal.SIGSTOP)
    service.settings["STET_HEALTH_PORT"] = str(free_ports(1)[0])
    await service.start()
    await wait_until(lambda: _nothing_waits(service), 120)  # its session, its transaction and its leases end first
    os.kill(frozen.pid, signal.SIGCONT)
    await wait_until(lambda: _all_delivered(service), 40)
    counts = await service.simulator.ask("counts")
    assert counts["repeated_callbacks"] == {}
    assert len({message["person"] for message in await service.sends()}) == counts["sends"] == _MESSAGES


async def test_a_restarted_dispatcher_sends_nothing_that_was_withdrawn_while_it_was_away(
    service: DispatcherProcess,
) -> None:
    reached = service.settings["STET_WHATSAPP_GRAPH_URL"]
    service.settings["STET_WHATSAPP_GRAPH_URL"] = "http://127.0.0.1:9"
    await _publish_requests(service)
    killed = await service.start()
    await wait_until(lambda: _all_wait(service))
    await killed.kill()
    kept = send_request(f"m{_MESSAGES}", "p0", expires_at=machine_now() + timedelta(days=1))
    withdrawn = [withdrawal(f"m{number}", f"p{number}") for number in range(_MESSAGES)]
    await service.publish(MESSAGES_REQUESTED, *withdrawn, kept)
    service.settings["STET_WHATSAPP_GRAPH_URL"] = reached
    await service.start()
    await wait_until(lambda: _at_least(service, 1), 60)
    await wait_until(lambda: _none_waits(service))
    assert await service.states() == {"withdrawn": _MESSAGES, "accepted": 1}
    assert len(await service.sends()) == 1


async def _all_wait(service: DispatcherProcess) -> bool:
    """All are in the queue, and one has messages that WhatsApp cannot be reached."""
    connection = await asyncpg.connect(service.settings["STET_POSTGRES_DSN"])
    tried = await connection.fetchval("select count(*) from dispatcher.attempts where ending = 'not_written'")
    await connection.close()
    return bool(tried) and await service.states() == {"waiting": _MESSAGES}


async def _none_waits(service: DispatcherProcess) -> bool:
    return not {"waiting", "intent"} & (await service.states()).keys()


async def _all_delivered(service: DispatcherProcess) -> bool:
    """The frozen process reports that its sends never left, or a status proves that they did."""
    await _deliver_statuses(service)
    await asyncio.sleep(0.5)
    return await service.states() == {"delivered": _MESSAGES}


async def _at_least(service: DispatcherProcess, sends: int) -> bool:
    return len(await service.sends()) >= sends


async def _nothing_waits(service: DispatcherProcess) -> bool:
    states = await service.states()
    return sum(states.values()) == _MESSAGES and not {"waiting", "intent"} & states.keys()


async def _deliver_statuses(service: DispatcherProcess) -> None:
    await service.simulator.rest()
    await service.publish(WHATSAPP_STATUSES, *map(status_of, service.webhook.statuses()))


async def _accounted_for(service: DispatcherProcess) -> bool:
    """Every send that reached the simulator is delivered; the others, and only they, stay uncertain."""
    states, sends = await service.states(), len(await service.sends())
    return states.get("delivered") == sends and states.get("uncertain", 0) == _MESSAGES - sends
