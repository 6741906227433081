"""The composition root of rules: from settings to the running process."""

import platform

from services.rules.books import Shelf
from services.rules.handlers import RulesHandlers
from services.rules.matching import durable_shadow
from services.rules.metrics import RulesMetrics
from services.rules.polling import PollingLoops
from services.rules.settings import RulesSettings
from services.rules.waiting_events import TOPICS
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings
from shared.runtime.telemetry import get_logger

log = get_logger()


async def main() -> None:
    settings = load_settings(RulesSettings)
    keys = tuple(key.get_secret_value().encode() for key in settings.signing_keys)
    shelf = Shelf.from_folder(settings.rules_dir, keys)
    async with service_process(settings, "rules") as process:
        await shelf.keep(process.pool, process.clock.now())
        metrics = RulesMetrics()
        _announce_shadow(metrics)
        rules = RulesHandlers(settings.tenant, shelf, metrics)
        loops = PollingLoops(rules, process.pool, process.clock, tick=0.02 if settings.development_clock else 0.25)
        process.consume(TOPICS, rules)
        process.task("due", loops.run_due)
        process.task("waiting", loops.release_waiting)
        process.task("measure", loops.measure)
        process.add_idle_check(loops.idle)
        await process.run_until_stopped()


def _announce_shadow(metrics: RulesMetrics) -> None:
    """Say whether durable-rules runs beside the evaluator; it cannot be imported on Python 3.13 and later."""
    metrics.set_shadow(available=durable_shadow.IS_AVAILABLE)
    if not durable_shadow.IS_AVAILABLE:
        log.warning("shadow.disabled", cause="durable-rules cannot be imported", python=platform.python_version())
