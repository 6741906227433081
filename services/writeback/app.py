"""Composition root: the one place where writeback's parts meet."""

from datetime import timedelta
from functools import partial

from services.writeback.abilities import Abilities
from services.writeback.carry import Carrier
from services.writeback.gate import Gate
from services.writeback.handlers import Intake
from services.writeback.ledger import SERVICE, Ledger
from services.writeback.mapping_file import read_mapping
from services.writeback.queue import LANES_SESSION, Queue
from services.writeback.report import Report
from services.writeback.settings import Settings
from shared.clients.consonance_graphql import ConsonanceClient
from shared.contracts import topics
from shared.runtime.postgres import connect
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings

MEANWHILE = "the queue is kept"


async def main() -> None:
    settings = load_settings(Settings)
    ways = read_mapping(settings.consonance_mapping)
    key = settings.consonance_key.get_secret_value()
    timeout = timedelta(seconds=settings.consonance_timeout)
    may_land = timedelta(seconds=settings.consonance_may_land)
    async with (
        service_process(settings, SERVICE) as process,
        ConsonanceClient(
            settings.consonance_endpoint, key, timeout, service=SERVICE, meanwhile=MEANWHILE
        ) as consonance,
    ):
        ledger = Ledger(process.pool, process.clock)
        carrier = Carrier(ledger, consonance, Abilities(ways), timeout + may_land)
        connect_lanes = partial(connect, settings.postgres_dsn.get_secret_value(), SERVICE, **LANES_SESSION)
        queue = Queue(connect_lanes, ledger, carrier, consonance, Gate(settings.writes_at_once))
        report = Report(ledger, queue, process.clock)
        process.consume((topics.WRITES_REQUESTED, topics.CONTACTS), Intake())
        process.task("queue", queue.run)
        process.task("report", report.run)
        process.add_idle_check(report.idle)
        process.health.details.append(consonance.key_detail)
        await process.run_until_stopped()
