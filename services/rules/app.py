"""The composition root of rules: from settings to the running process."""

import platform

from services.rules.audit import audit_hops
from services.rules.handlers import RulesHandlers
from services.rules.matching import second_engine
from services.rules.metrics import RulesMetrics
from services.rules.polling import PollingLoops
from services.rules.recorded_inputs import input_expiries
from services.rules.rollout.revisions import Engines, Rollout, RulebookRegistry
from services.rules.rollout.sources import FolderSource, RuleSource
from services.rules.rollout.watcher import SourceWatcher
from services.rules.settings import RulesActivation, RulesSettings
from services.rules.waiting_events import TOPICS
from shared.runtime.clock import SystemClock
from shared.runtime.erasure import erasure_deletion
from shared.runtime.postgres import Pool, load_queries
from shared.runtime.retention import Expiry, delete_expired, deletion
from shared.runtime.service import service_process
from shared.runtime.settings import load_settings
from shared.runtime.telemetry import get_logger

RETENTION = load_queries(__file__, "retention.sql")
log = get_logger()


async def main() -> None:
    settings = load_settings(RulesSettings)
    keys = tuple(key.get_secret_value().encode() for key in settings.signing_keys)
    async with service_process(settings, "rules") as process:
        metrics = RulesMetrics()
        rollout = Rollout(settings.tenant, Engines(RulebookRegistry(), keys))
        watcher = watcher_of(settings, rollout, process.pool, metrics)
        await watcher.begin()
        _announce_second_engine(metrics)
        kept = settings.keep_decision_inputs_days
        rules = RulesHandlers(settings.tenant, rollout, metrics, keep_inputs=kept > 0)
        loops = PollingLoops(rules, process.pool, process.clock, tick=0.02 if settings.development_clock else 0.25)
        process.consume(TOPICS, rules)
        process.task("due", loops.run_due)
        process.task("waiting", loops.release_waiting)
        process.task("rollout", watcher.run)
        process.task("changes", loops.review_changed)
        process.task("periods", loops.start_periods)
        process.task("measure", loops.measure)
        old = (RETENTION.delete_old_chains, RETENTION.delete_old_answers)
        expiries = [Expiry(deletion(process.pool, query), settings.keep_chains_days) for query in old]
        reports = deletion(process.pool, RETENTION.delete_old_file_reports)
        erasures = erasure_deletion(process.pool, RETENTION.forget_visitors)
        expiries += [Expiry(brief, settings.keep_inbox_days) for brief in (reports, erasures)]
        process.task("retention", lambda: delete_expired(process.clock, expiries))
        inputs = input_expiries(process.pool, kept)
        process.task("inputs", lambda: delete_expired(SystemClock(), inputs))
        process.audit(*audit_hops(settings))
        process.add_idle_check(loops.idle)
        await process.run_until_stopped()


def _rule_source(settings: RulesSettings) -> RuleSource:
    if settings.rules_bundle is None:
        return FolderSource(settings.rules_dir, settings.rules_commit)
    from services.rules.rollout.bundles import BundleSource  # noqa: PLC0415 -- an HTTP client, which a folder needs not

    token = settings.rules_bundle_token.get_secret_value() if settings.rules_bundle_token is not None else None
    return BundleSource(settings.rules_bundle, token, settings.rules_commit)


def watcher_of(settings: RulesSettings, rollout: Rollout, pool: Pool, metrics: RulesMetrics) -> SourceWatcher:
    return SourceWatcher(
        _rule_source(settings),
        rollout,
        pool,
        settings.instance or platform.node(),
        metrics,
        is_manual=settings.rules_activation is RulesActivation.MANUAL,
        seconds=settings.rules_watch_seconds,
    )


def _announce_second_engine(metrics: RulesMetrics) -> None:
    """Say whether durable-rules runs beside the evaluator; it cannot be imported on Python 3.13 and later."""
    metrics.set_second_engine(available=second_engine.IS_AVAILABLE)
    if not second_engine.IS_AVAILABLE:
        log.warning(
            "second_engine.disabled", cause="durable-rules cannot be imported", python=platform.python_version()
        )
