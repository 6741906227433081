"""The composition root of rules: settings to running process."""

from services.rules.books import Shelf
from services.rules.handlers import RulesHandlers
from services.rules.metrics import RulesMetrics
from services.rules.polling import PollingLoops
from services.rules.settings import RulesSettings
from services.rules.waiting_events import TOPICS
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings


async def main() -> None:
    settings = load_settings(RulesSettings)
    keys = tuple(key.get_secret_value().encode() for key in settings.signing_keys)
    shelf = Shelf.from_folder(settings.rules_dir, keys)
    async with service_process(settings, "rules") as process:
        await shelf.keep(process.pool, process.clock.now())
        rules = RulesHandlers(settings.tenant, shelf, RulesMetrics())
        loops = PollingLoops(rules, process.pool, process.clock, tick=0.02 if settings.development_clock else 0.25)
        process.consume(TOPICS, rules)
        process.task("due", loops.run_due)
        process.task("waiting", loops.release_waiting)
        process.task("measure", loops.measure)
        process.add_idle_check(loops.idle)
        await process.run_until_stopped()
