"""The composition root of rules: from settings to the running process."""

import platform

from services.rules import recorded_inputs
from services.rules.audit import audit_hops
from services.rules.conversation.button_ids import Keys
from services.rules.conversation.decider import Decider
from services.rules.handlers import RulesHandlers
from services.rules.matching import durable_shadow
from services.rules.matching.matcher import RuleMatcher
from services.rules.metrics import RulesMetrics
from services.rules.polling import PollingLoops
from services.rules.rulebook.registry import RulebookRegistry
from services.rules.settings import RulesSettings
from services.rules.waiting_events import TOPICS
from shared.clients.working_calendar import resolve_zone
from shared.contracts.contacts import PersonObserved
from shared.runtime.build import commit_of
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings
from shared.runtime.telemetry import get_logger

log = get_logger()


async def main() -> None:
    settings = load_settings(RulesSettings)
    keys = tuple(key.get_secret_value().encode() for key in settings.signing_keys)
    registry = RulebookRegistry.from_folder(settings.rules_dir)
    async with service_process(settings, "rules") as process:
        await registry.store_current(process.pool, process.clock.now())
        metrics = RulesMetrics()
        book = registry.current
        metrics.set_rulebook(book.revision, settings.rules_commit or commit_of(settings.rules_dir), book.rules)
        _announce_shadow(metrics)
        kept = settings.keep_decision_inputs_days
        rules = RulesHandlers(settings.tenant, registry, decider_of(registry, keys), metrics, keep_inputs=kept > 0)
        loops = PollingLoops(rules, process.pool, process.clock, tick=0.02 if settings.development_clock else 0.25)
        process.consume(TOPICS, rules)
        process.task("due", loops.run_due)
        process.task("waiting", loops.release_waiting)
        process.task("measure", loops.measure)
        process.task("inputs", lambda: recorded_inputs.delete_old(process.pool, kept))
        process.audit(*audit_hops(settings))
        process.add_idle_check(loops.idle)
        await process.run_until_stopped()


def _announce_shadow(metrics: RulesMetrics) -> None:
    """Say whether durable-rules runs beside the evaluator; it cannot be imported on Python 3.13 and later."""
    metrics.set_shadow(available=durable_shadow.IS_AVAILABLE)
    if not durable_shadow.IS_AVAILABLE:
        log.warning("shadow.disabled", cause="durable-rules cannot be imported", python=platform.python_version())


def decider_of(registry: RulebookRegistry, signing_keys: Keys) -> Decider:
    """The decider of a process: people without a zone of their own get the zone of their country or phone number."""
    book = registry.current

    def zone_of(seen: PersonObserved) -> str | None:
        return resolve_zone(seen.zone, seen.country, seen.addresses.phone, book.calendar.office.zone)

    return Decider(
        rulebook=book,
        rulebook_at=registry.of_revision,
        matcher=RuleMatcher(book.rules.values()),
        zone_of=zone_of,
        signing_keys=signing_keys,
    )
