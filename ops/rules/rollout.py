"""``stet rules rollout``: which revision of the rules is in force, putting a stored one into force, and trying one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import orjson
import typer

from ops.changes import ReasonOption, Yes, audited, confirm, current_person
from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    command_group,
    print_error,
    print_json,
    print_result,
    print_rows,
)
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.output import counted
from services.rules.rollout.activations import TrialKind, TrialResult, lock_log
from services.rules.rollout.differences import untried_rules
from services.rules.rulebook.validation import validate
from shared.contracts.ids import RuleId, TenantId
from shared.runtime.clock import machine_now
from shared.runtime.postgres import Pool, load_queries

QUERIES = load_queries(__file__, "rollout.sql")
_SHOWN_SOURCES = timedelta(days=1)

_SOURCE_COLUMNS = {
    "replica": "replica",
    "state": "its source is",
    "revision": "revision",
    "commit": "commit",
    "read_at": "read at",
}
_HISTORY_COLUMNS = {
    "number": "activation",
    "revision": "revision",
    "commit": "commit",
    "activated_at": "since",
    "cause": "by",
    "who": "who",
}

_TRIAL_COLUMNS = {
    "number": "trial",
    "kind": "kind",
    "revision": "revision",
    "commit": "commit",
    "of": "decides",
    "judged": "judged",
    "seen": "observed",
    "started_at": "since",
    "state": "state",
}
_DIFFERENCE_COLUMNS = {
    "trial": "trial",
    "rule": "rule",
    "kind": "what the shadow would do otherwise",
    "count": "times",
    "judged": "of judged",
    "example": "newest example",
}

Stored = Annotated[
    str, typer.Argument(metavar="REVISION", help="The first characters of a stored revision, or of its commit.")
]

app = command_group("Which revision of the rules is in force, putting one into force, and trying one.")


@app.command("status")
def status_command(
    limit: Annotated[int, typer.Option("--most", metavar="N", min=1, help="At most so many activations.")] = 5,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Show the revision in force, the ones before it, what the source of each replica holds, and the trials.

    Exit code 1 where a source is refused or differs from what is in force, a partition has not switched yet, or the
    newest canary was turned back.
    """
    settings = load_command_settings(TenantSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _show_status(pool, settings.tenant, limit, output)

    run(command())


async def _show_status(pool: Pool, tenant: TenantId, limit: int, output: OutputFormat) -> int:
    trials = [dict(row) for row in await pool.fetch(QUERIES.list_trials, tenant, limit)]
    differences = await pool.fetch(QUERIES.list_differences, [one["number"] for one in trials])
    history = [dict(row) for row in await pool.fetch(QUERIES.list_history, tenant, limit)]
    if not history:
        return print_error("no revision of the rules is in force yet: has the rules service started?")
    active = history[0]
    rows = await pool.fetch(QUERIES.list_sources, tenant, machine_now() - _SHOWN_SOURCES)
    sources = [{**row, "state": source_state(row, active["revision"])} for row in rows]
    behind = int(await pool.fetchval(QUERIES.count_behind, active["number"]))
    if output is OutputFormat.JSON:
        kinds = [*({"kind": "activation"} | one for one in history), *({"kind": "source"} | one for one in sources)]
        tried = [{"trial": one["kind"], **one, "kind": "trial"} for one in trials]
        otherwise = [{"difference": one["kind"], **dict(one), "kind": "difference"} for one in differences]
        print_json([*kinds, *tried, *otherwise, {"kind": "partitions", "behind": behind}])
    else:
        print_rows(history, _HISTORY_COLUMNS, output, empty="no activations")
        print_rows(sources, _SOURCE_COLUMNS, output, empty="no replica has read its source in the last day")
        for one in sources:
            for fault in one["faults"]:
                typer.echo(f"{one['replica']}: {fault}")
        if behind:
            have = "has" if behind == 1 else "have"
            typer.echo(f"{counted(behind, 'partition')} {have} not switched to this revision yet")
        _print_trials(trials, differences, output)
    wrong = behind or any(one["state"] != "active" for one in sources) or _newest_was_turned_back(trials)
    return ExitCode.FINDINGS if wrong else ExitCode.FINE


def _print_trials(
    trials: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]], output: OutputFormat
) -> None:
    if not trials:
        return
    described = [
        {**one, "state": _trial_state(one), "of": _trial_share(one), "seen": _trial_bounds(one)} for one in trials
    ]
    print_rows(described, _TRIAL_COLUMNS, output, empty="no trials")
    shadows = {one["number"]: one["judged"] for one in trials if one["kind"] == TrialKind.SHADOW}
    if shadows:
        rows = [{**one, "rule": one["rule"] or "no rule", "judged": shadows.get(one["trial"])} for one in differences]
        print_rows(rows, _DIFFERENCE_COLUMNS, output, empty="the shadow decided nothing otherwise")


def _trial_state(trial: Mapping[str, Any]) -> str:
    if trial["ended_at"] is None:
        return "open"
    if trial["result"] == TrialResult.TURNED_BACK:
        return f"turned back: {trial['cause'].replace('_', '-')}"
    return f"{trial['result']}: {trial['cause']}" if trial["cause"] else str(trial["result"])


def _trial_share(trial: Mapping[str, Any]) -> str:
    if trial["kind"] == TrialKind.SHADOW:
        return "beside all"
    if trial["imprints"]:
        return "imprints " + ", ".join(map(str, trial["imprints"]))
    return f"{trial['share']:.1%} of the works and people"


def _trial_bounds(trial: Mapping[str, Any]) -> str:
    """The observations of a canary, each with its bound."""
    if trial["kind"] == TrialKind.SHADOW:
        return ""
    return ", ".join(
        f"{name.replace('_', '-')} {trial[name]} (at most {trial['max_' + name]})"
        for name in ("opt_outs", "failures", "disagreements")
    )


def _newest_was_turned_back(trials: Iterable[Mapping[str, Any]]) -> bool:
    canaries = sorted((one for one in trials if one["kind"] == TrialKind.CANARY), key=lambda one: -one["number"])
    return bool(canaries) and canaries[0]["result"] == TrialResult.TURNED_BACK


def source_state(source: Mapping[str, Any], active: str) -> str:
    """``active``, ``refused``, ``held`` (never in force yet) or ``behind`` (in force before, or kept out by hand)."""
    if source["refused"] is not None:
        return "refused"
    if source["revision"] == active:
        return "active"
    return "behind" if source["was_in_force"] else "held"


@app.command("promote")
def promote_command(
    revision: Stored,
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Put a stored revision into force: one that waits, or an earlier one to go back to.

    All replicas decide by it from their next batch on; chains that run keep the revision they started with.
    """
    settings = load_command_settings(TenantSettings)
    confirm(f"Put the rules {revision} into force?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _promote(pool, settings.tenant, revision, reason, output)

    run(command())


async def _promote(pool: Pool, tenant: TenantId, named: str, reason: str, output: OutputFormat) -> int:
    stored = await _stored_revision(pool, named)
    if stored is None:
        return ExitCode.CANNOT_RUN
    revision = stored["revision"]
    async with audited(pool, "promote rules", revision, reason) as entry:
        async with pool.acquire() as connection, connection.transaction():
            await lock_log(connection, tenant)
            number = await connection.fetchval(
                QUERIES.activate, tenant, revision, stored["commit"], machine_now(), current_person()
            )
            await connection.execute(
                QUERIES.end_trials, tenant, None, revision, machine_now(), TrialResult.PROMOTED, reason
            )
        entry.result = "in force" if number is not None else "was in force already"
    print_result(
        f"the rules {revision} {'are in force' if number is not None else 'were in force already'}",
        {"revision": revision, "commit": stored["commit"], "activation": number},
        output,
    )
    return ExitCode.FINE


async def _stored_revision(pool: Pool, named: str) -> Mapping[str, Any] | None:
    """The one stored revision that begins so and passes the check; None after a message where there is none."""
    found = await pool.fetch(QUERIES.find_revisions, named)
    if len(found) != 1:
        what = "several revisions begin so" if found else "no stored revision or commit begins so"
        print_error(f"{named}: {what}; stet rules rollout status lists them", code=ExitCode.CANNOT_RUN)
        return None
    stored: Mapping[str, Any] = found[0]
    faults = validate(dict(orjson.loads(stored["files"]))).faults
    if faults:
        print_error(f"{stored['revision']} does not pass the check of this version: {faults[0]}")
        return None
    return stored


# ------------------------------------------------------------------ trials

_USUAL_SHARE = 5.0
"""Percent of the works and people."""
_BOUND = "Turn it back once there are more than so many"


@app.command("shadow")
def shadow_command(
    revision: Stored, *, reason: ReasonOption, yes: Yes = False, output: Format = OutputFormat.TEXT
) -> None:
    """Let a stored revision decide beside the one in force, and count what it would do otherwise.

    Nothing is sent or written by it. Due steps are judged as if their chains had begun under it; where the rule has
    other steps they cannot be, which is counted too. It costs about as much processor time as deciding itself. A
    shadow that is open is replaced.
    """
    _begin_command(_Plan(TrialKind.SHADOW, revision, share=1.0), reason, yes=yes, output=output)


@app.command("canary")
def canary_command(
    revision: Stored,
    *,
    share: Annotated[
        float | None,
        typer.Option("--share", metavar="PERCENT", min=0.1, max=100, help="For so much of the works and people: 5."),
    ] = None,
    imprint: Annotated[
        list[int] | None,
        typer.Option("--imprint", metavar="ID", help="For all works of this imprint instead; repeatable."),
    ] = None,
    opt_outs: Annotated[
        int, typer.Option("--max-opt-outs", metavar="N", min=0, help=f"{_BOUND} opt-outs of people it wrote to.")
    ] = 3,
    failures: Annotated[
        int, typer.Option("--max-failures", metavar="N", min=0, help=f"{_BOUND} failed messages, decisions and steps.")
    ] = 10,
    disagreements: Annotated[
        int,
        typer.Option("--max-disagreements", metavar="N", min=0, help=f"{_BOUND} answers in which the engines differ."),
    ] = 0,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Let a stored revision decide for a stable share of the works and people, or for imprints.

    The share is chosen by a hash of the partition key, so that a work or a person stays in it. Chains end as they
    began. It is turned back by itself once a bound is passed. A canary that is open is replaced.
    """
    if share is not None and imprint:
        sentence = "--share and --imprint are two ways to choose: a canary of an imprint decides for all its works"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    bounds, percent = (opt_outs, failures, disagreements), _USUAL_SHARE if share is None else share
    plan = _Plan(TrialKind.CANARY, revision, share=percent / 100, imprints=tuple(imprint or ()), bounds=bounds)
    _begin_command(plan, reason, yes=yes, output=output)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A trial that is asked for; ``bounds`` are of opt-outs, failures and disagreements."""

    kind: TrialKind
    named: str
    share: float
    imprints: tuple[int, ...] = ()
    bounds: tuple[int, int, int] = (0, 0, 0)


def _begin_command(plan: _Plan, reason: str, *, yes: bool, output: OutputFormat) -> None:
    settings = load_command_settings(TenantSettings)
    confirm(f"Try the rules {plan.named} as a {plan.kind}?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _begin(pool, settings.tenant, plan, reason, output)

    run(command())


async def _begin(pool: Pool, tenant: TenantId, plan: _Plan, reason: str, output: OutputFormat) -> int:
    stored = await _stored_revision(pool, plan.named)
    if stored is None:
        return ExitCode.CANNOT_RUN
    revision, now = stored["revision"], machine_now()
    active = await pool.fetchrow(QUERIES.find_active, tenant)
    if active is not None and active["revision"] == revision:
        return print_error(f"the rules {revision} are in force already", code=ExitCode.CANNOT_RUN)
    async with (
        audited(pool, f"begin {plan.kind}", revision, reason),
        pool.acquire() as connection,
        connection.transaction(),
    ):
        await lock_log(connection, tenant)
        await connection.execute(QUERIES.end_trials, tenant, plan.kind, None, now, TrialResult.REPLACED, reason)
        number = await connection.fetchval(
            QUERIES.begin_trial, tenant, plan.kind, revision, stored["commit"], plan.share, list(plan.imprints),
            *plan.bounds, now, current_person(),
        )  # fmt: skip
    untried = await _untried(pool, plan.kind, stored, active)
    print_result(
        f"the rules {revision} are tried as a {plan.kind}: stet rules rollout status{_untried_text(untried)}",
        {"trial": number, "kind": plan.kind, "revision": revision, "untried": untried},
        output,
    )
    return ExitCode.FINE


async def _untried(
    pool: Pool, kind: TrialKind, stored: Mapping[str, Any], active: Mapping[str, Any] | None
) -> list[RuleId]:
    """The recurring rules that the trial does not show."""
    known = await pool.fetch(QUERIES.find_revisions, active["revision"]) if active is not None else ()
    proposed, acting = (validate(dict(orjson.loads(one["files"]))).rulebook for one in (stored, *(known or (stored,))))
    return untried_rules(kind, acting, proposed)


def _untried_text(rules: Sequence[RuleId]) -> str:
    if not rules:
        return ""
    return f"\nnot tried, since recurring rules start by the revision in force: {', '.join(rules)}"


@app.command("abort")
def abort_command(
    kind: Annotated[TrialKind, typer.Argument(metavar="shadow|canary", help="The trial to end.")],
    *,
    reason: ReasonOption,
    yes: Yes = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """End a trial: the revision in force decides on all again. Chains of a canary end as they began.

    Exit code 1 where no such trial is open.
    """
    settings = load_command_settings(TenantSettings)
    confirm(f"End the {kind}?", yes=yes)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            return await _abort(pool, settings.tenant, kind, reason, output)

    run(command())


async def _abort(pool: Pool, tenant: TenantId, kind: TrialKind, reason: str, output: OutputFormat) -> int:
    async with audited(pool, f"abort {kind}", kind, reason) as entry:
        row = await pool.fetchrow(QUERIES.end_trials, tenant, kind, None, machine_now(), TrialResult.ABORTED, reason)
        entry.result = "ended" if row is not None else "no such trial was open"
    if row is None:
        return print_error(f"no {kind} is open")
    print_result(f"the {kind} of {row['revision']} has ended", {"trial": row["number"], "kind": kind}, output)
    return ExitCode.FINE
