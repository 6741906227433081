"""Promise: is the delivery promise kept, and what is open that a person must see?"""

from dev.observability.dashboards.common import NO_TROUBLE, number_panel
from dev.observability.panels import Dashboard, Kind, Panel, Query, Row
from dev.observability.promises import PROMISES, Promise


def promise_dashboard() -> Dashboard:
    return Dashboard(
        "promise",
        "Stet / Promise",
        "Is the delivery promise kept, and what is open that a person must see? Open this page first.",
        [
            Row("Is the promise kept?", [_kept(promise) for promise in PROMISES]),
            Row(
                "How fast is the error budget used up?",
                [_burning("1h", "page at 14.4"), _burning("6h", "page at 6"), _broken(), _firing()],
            ),
            Row("What is open that a person must see?", _open_work()),
        ],
        since="24h",
    )


def _kept(promise: Promise) -> Panel:
    by_lane = bool(promise.labels)
    events, errors = promise.events_over("$__range"), promise.errors_over("$__range")
    return Panel(
        f"{promise.sentence.partition(':')[0]}: kept for what share?",
        f"{promise.sentence}. Share over the time shown; the objective is {promise.objective:.1%} of 30 days.",
        "percentunit",
        [Query(f"1 - {errors} / ({events})", "{{lane}}" if by_lane else "kept")],
        Kind.NUMBER,
        (promise.objective, promise.objective - 2 * promise.budget),
        6,
        5,
    )


def _burning(window: str, alerts: str) -> Panel:
    queries = []
    for promise in PROMISES:
        ratio = f'stet:promise_errors:ratio_rate{window}{{promise="{promise.name}"}}'
        lane = " {{lane}}" if promise.labels else ""
        queries.append(Query(f"{ratio} / {promise.budget:g}", promise.name.replace("_", " ") + lane))
    return Panel(
        f"How many times too fast does the budget burn, over {window}?",
        f"1 uses up in 30 days exactly what may fail in 30 days. The alerts: {alerts}, also over a shorter window.",
        "none",
        queries,
        limits=(1, 14.4),
    )


def _broken() -> Panel:
    return Panel(
        "How many events broke a promise in the last hour?",
        "Webhooks refused, events decided late, messages accepted late, replies written late. Under five never alert.",
        "short",
        [Query("stet:promise_errors:increase1h", "{{promise}} {{lane}}")],
        Kind.BARS,
        (1, 5),
    )


def _firing() -> Panel:
    firing = 'group by (alertname, severity, service) (ALERTS{alertname=~"Stet.+", alertname!="StetWatchdog"})'
    return Panel(
        "Which alerts are pending or firing?",
        "Each has a page in docs/operations/runbooks. The dead man's switch, which always fires, is left out.",
        "none",
        [Query(firing, "alerts")],
        Kind.TABLE,
        empty_because=NO_TROUBLE,
    )


def _open_work() -> list[Panel]:
    return [
        number_panel(
            "Parked records",
            "Records that no service could handle. Each waits for a person: replay or discard it.",
            "short",
            "sum(max by (namespace, service, reason) (stet_parked_records))",
            (1, 20),
        ),
        number_panel(
            "Uncertain sends",
            "Sends that nothing proves or disproves yet. Most settle by themselves within minutes.",
            "short",
            "sum(max by (namespace) (stet_uncertain_sends))",
            (1, 10),
        ),
        number_panel(
            "Manual tasks",
            "Writes that this Consonance cannot do: a person enters them.",
            "short",
            "sum(max by (namespace, operation) (stet_open_manual_tasks)) or vector(0)",
            (1, 20),
        ),
        number_panel(
            "Chains set aside",
            "Chains whose due step failed. They do nothing until a person retries them.",
            "short",
            "sum(max by (namespace) (stet_chains_set_aside))",
            (1, 5),
        ),
        number_panel(
            "Stopped lines",
            "WhatsApp numbers that send nothing until a person acts.",
            "short",
            "sum(max by (namespace, line) (stet_line_stopped)) or vector(0)",
            (1, 1),
        ),
        number_panel(
            "Gaps of the audit",
            "What was taken over and has no end in time. stet audit lists each with its reason.",
            "short",
            "sum(max by (namespace, service, hop) (stet_audit_gaps))",
            (1, 1),
        ),
        number_panel(
            "Oldest run of the audit",
            "Time since the hop that was audited longest ago; each run proves that it can find a gap.",
            "s",
            "time() - min(max by (namespace, service, hop) (stet_audit_last_run_timestamp_seconds))",
            (900, 1800),
        ),
        number_panel(
            "Webhook gaps open",
            "1 while webhooks may be missing that WhatsApp has not had the time to send again.",
            "short",
            "sum(max by (namespace) (stet_webhook_gap_open))",
            (1, 1),
        ),
        number_panel(
            "Oldest gap of the audit",
            "Since its end was owed.",
            "s",
            "max(stet_audit_oldest_gap_age_seconds)",
            (1, 3600),
        ),
        number_panel(
            "Erasures of people",
            "Those that are not complete, counted in each service.",
            "short",
            "sum(max by (namespace, service) (stet_erasures_open))",
        ),
        number_panel(
            "Oldest erasure",
            "Since it was requested. A day is promised.",
            "s",
            "max(stet_oldest_open_erasure_age_seconds)",
            (43200, 79200),
        ),
        number_panel(
            "Rows erased",
            "Deleted or redacted by erasures, over the time shown.",
            "short",
            "sum(increase(stet_erased_rows_total[$__range]))",
        ),
        number_panel(
            "Last poll of Consonance",
            "Since all of it was read.",
            "s",
            "max(stet_snapshot_age_seconds)",
            (600, 1800),
        ),
    ]
