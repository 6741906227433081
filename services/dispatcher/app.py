"""The dispatcher, put together: what it reads, what sends, what sweeps, what it reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from services.dispatcher.account import Account
from services.dispatcher.advance import Progress
from services.dispatcher.backlog import Backlog, Ends
from services.dispatcher.evidence import Proofs
from services.dispatcher.handlers import TOPICS, Dispatcher
from services.dispatcher.hold_store import HoldStore
from services.dispatcher.holds import Holds
from services.dispatcher.intake import Intake
from services.dispatcher.ledger import Ledger
from services.dispatcher.owning import Owner
from services.dispatcher.people import People
from services.dispatcher.portfolio import OWNERS_SESSION, Portfolio
from services.dispatcher.queue import Queue
from services.dispatcher.results import SERVICE, Records
from services.dispatcher.sending import Sender
from services.dispatcher.settings import Settings
from services.dispatcher.sweeps import Sweeps
from services.dispatcher.watching import Watch
from services.dispatcher.whatsapp import WhatsApp
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool, connect
from shared.runtime.progress import Partition
from shared.runtime.service import Process, service_process
from shared.runtime.settings import load_settings


@dataclass(frozen=True, slots=True)
class Parts:
    """``handler`` takes what Kafka brings; the others run for as long as the process does."""

    handler: Dispatcher
    sender: Sender
    owner: Owner
    sweeps: Sweeps
    watch: Watch


def compose(settings: Settings, pool: Pool, clock: Clock, whatsapp: WhatsApp, ends: Ends | None = None) -> Parts:
    """``ends`` asks the broker how far there is to read; without a broker there is nothing to read first."""
    tenant, lines = settings.tenant, tuple(settings.whatsapp_lines)
    people, queue, ledger, account = People(tenant), Queue(tenant), Ledger(tenant), Account(tenant)
    progress = Progress(tenant, ledger, people)
    proofs = Proofs(tenant, progress)
    records = Records(pool, clock, progress, proofs, HoldStore(tenant))
    sender = Sender(clock, records, whatsapp, Holds(), settings.sends_in_flight)
    backlog = Backlog([topic.name for topic in TOPICS], ends)
    session = partial(connect, settings.postgres_dsn.get_secret_value(), SERVICE, **OWNERS_SESSION)
    return Parts(
        handler=Dispatcher(people, Intake(queue, progress), proofs, account),
        sender=sender,
        owner=Owner(
            Portfolio(session, tenant), backlog, records.holds, queue, sender, settings.limits(), lines, settings.lease
        ),
        sweeps=Sweeps(sender, records, queue, account, lines, settings.unproven_after),
        watch=Watch(pool, queue, ledger, proofs, sender, lines, settings.unproven_after),
    )


async def main() -> None:
    settings = load_settings(Settings)
    async with (
        service_process(settings, SERVICE) as process,
        WhatsApp(settings.endpoint(), settings.sends_in_flight) as whatsapp,
    ):
        parts = compose(settings, process.pool, process.clock, whatsapp, partial(_ends, process))
        _register(process, parts)
        await process.run_until_stopped()


async def _ends(process: Process, places: Iterable[Partition]) -> Mapping[Partition, int]:
    """By the connection on which the consumer's own progress is watched."""
    _, watch = process.consumers[0]
    return await watch.ends(places)


def _register(process: Process, parts: Parts) -> None:
    process.consume(TOPICS, parts.handler)
    process.task("owner", parts.owner.run)
    process.task("deliver", parts.sender.deliver)
    process.task("record", parts.sender.record)
    process.task("sweeps", parts.sweeps.run)
    process.task("gauges", parts.watch.gauges)
    process.add_idle_check(parts.watch.idle)
    process.health.details.append(parts.watch.token)
