"""``stet doctor``: checks what a service's environment names: settings, secrets, neighbours, rights, clocks, rules.

Every check is harmless: it reads, or asks for what changes nothing. What is wrong is said with the setting and with
what to do about it.
"""

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import asyncpg
import typer
from rich.table import Table
from rich.text import Text

from ops.command_line import (
    ExitCode,
    Format,
    OutputFormat,
    Service,
    console,
    database_away,
    print_error,
    print_json,
    run,
)
from ops.environment import current_stack
from ops.topics import admin_client
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import IngestSettings
from services.rules.rollout.bundles import BundleSource
from services.rules.rulebook.validation import Validation, validate, validate_folder
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.contracts.errors import Misconfigured, Unavailable
from shared.contracts.topics import CONSUMED, PRODUCED
from shared.runtime.clock import machine_now
from shared.runtime.postgres import MIN_VERSION, Connection, connect, missing_migrations
from shared.runtime.setting_names import PREFIX
from shared.runtime.settings import ServiceSettings, load_settings
from shared.runtime.topic_rights import missing_rights
from shared.runtime.topic_setup import UNREADABLE, topic_differences, topic_problems

_SETTINGS: Mapping[Service, type[ServiceSettings]] = {
    Service.INGEST: IngestSettings,
    Service.RULES: RulesSettings,
    Service.DISPATCHER: DispatcherSettings,
    Service.WRITEBACK: WritebackSettings,
}
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MOST_SKEW = timedelta(seconds=2)
_RIGHTS_PAGE = "docs/operations/install.md"
_STYLES = {"fine": "green", "warning": "yellow", "wrong": "bold red"}


class Result(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    result: Result
    sentence: str


def fine(check: str, sentence: str) -> Finding:
    return Finding(check, Result.FINE, sentence)


def warning(check: str, sentence: str) -> Finding:
    return Finding(check, Result.WARNING, sentence)


def wrong(check: str, sentence: str) -> Finding:
    return Finding(check, Result.WRONG, sentence)


def doctor_command(
    service: Annotated[
        Service | None, typer.Option("--service", help="Whose environment this is; a stack's services are all checked.")
    ] = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Check every setting, secret, neighbour and right of a service's environment, and say what to do.

    Run it where the service runs, with its environment: in its pod, or against the stack of `make up`. It changes
    nothing. Ends with 1 where something is wrong; a warning alone is no fault.
    """
    environments = _environments(service)
    if not environments:
        problem = "--service: name the service whose environment this is, and run it there, as in a pod of that service"
        raise typer.Exit(print_error(problem, code=ExitCode.CANNOT_RUN))

    async def command() -> int:
        rows = []
        for name, environment in environments.items():
            with _environment(environment):
                rows += [
                    {"service": name, "check": one.check, "result": one.result, "sentence": one.sentence}
                    async for one in examine(name)
                ]
        faults = [row for row in rows if row["result"] == Result.WRONG]
        if output is OutputFormat.JSON:
            print_json(rows)
        else:
            _print(rows)
        return ExitCode.FINDINGS if faults else ExitCode.FINE

    run(command())


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    screen = console()
    shown = ""
    for row in rows:
        if row["service"] != shown:
            shown = row["service"]
            screen.print(Text(shown, "bold"))
        result = row["result"]
        table = Table.grid(padding=(0, 1))
        table.add_column(width=8, no_wrap=True)
        table.add_column(width=11, no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row(Text(f" {result}", _STYLES[result]), row["check"], Text(row["sentence"]))
        screen.print(table)
    faults = sum(row["result"] == Result.WRONG for row in rows)
    screen.print(f"{faults} of {len(rows)} checks found something wrong" if faults else "nothing is wrong")


def _environments(service: Service | None) -> dict[Service, Mapping[str, str]]:
    """The environment to check of each service; of a stack, those of all its services."""
    stack = current_stack()
    if stack is not None:
        known = {Service(name): environment for name, environment in stack.environments.items()}
        return {name: known[name] for name in known if service in {None, name}}
    return {} if service is None else {service: {k: v for k, v in os.environ.items() if k.startswith(PREFIX)}}


@contextmanager
def _environment(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    for name in before:
        del os.environ[name]
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            os.environ.pop(name, None)
        os.environ.update(before)


async def examine(service: Service) -> AsyncIterator[Finding]:
    """Every check of one service, by the settings in the environment; those after a wrong setting are left out."""
    try:
        settings = load_settings(_SETTINGS[service])
    except Misconfigured as error:
        yield wrong("settings", str(error))
        return
    yield fine("settings", "every setting is known and valid")
    for check in (*_COMMON, *_OWN[service]):
        try:
            for finding in await check(settings, service):
                yield finding
        except Misconfigured as error:
            yield wrong(_name(check), str(error))


DoctorCheck = Callable[[Any, Service], Awaitable[Sequence[Finding]]]


def _name(check: DoctorCheck) -> str:
    return check.__name__.removeprefix("_check_").removeprefix("polled_").replace("_", " ")


# ------------------------------------------------------------------ secrets and clocks


async def _check_secrets(_: ServiceSettings, __: Service) -> Sequence[Finding]:
    folder = os.environ.get(f"{PREFIX}SECRETS_DIR")
    if folder is None:
        return [fine("secrets", "STET_SECRETS_DIR is not set: secrets come from variables")]
    closed = fine("secrets", f"every file in {folder} is there and closed to other users")
    return _secret_findings(Path(folder)) or [closed]


def _secret_findings(folder: Path) -> list[Finding]:
    findings = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        try:
            mode, content = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            findings.append(
                wrong("secrets", f"{path} cannot be read: {error.strerror}; the service needs its group (fsGroup)")
            )
            continue
        if mode & stat.S_IRWXO:
            sentence = (
                f"{path} can be read by every user ({stat.filemode(mode)}): use mode 0440 (defaultMode of the volume)"
            )
            findings.append(wrong("secrets", sentence))
        elif not content.strip():
            findings.append(wrong("secrets", f"{path} is empty"))
    return findings


def _skew(check: str, theirs: datetime, whose: str) -> list[Finding]:
    difference = abs(machine_now() - theirs)
    if difference <= _MOST_SKEW:
        return []
    sentence = f"the clock of {whose} differs by {difference.total_seconds():.0f} s: synchronise both by NTP"
    return [warning(check, sentence)]


# ------------------------------------------------------------------ the broker


async def _check_broker(settings: ServiceSettings, service: Service) -> Sequence[Finding]:
    topics = (*CONSUMED[service], *PRODUCED[service])
    async with admin_client(settings) as admin:
        problems = await topic_problems(admin, settings.topic_prefix, topics)
        differences = await topic_differences(admin, settings.topic_prefix, topics)
        rights = await missing_rights(admin, settings.topic_prefix, service) if not problems else []
    findings = [fine("broker", f"{settings.kafka_bootstrap} answers ({settings.kafka_security_protocol})")]
    findings += [
        wrong("topics", f"{name}: {lack}; run stet topics create, or let this login use it")
        for name, lack in problems.items()
    ]
    findings += [wrong("topics", f"{sentence}; see {_RIGHTS_PAGE}") for sentence in rights]
    differs = [sentence for sentence in differences if UNREADABLE not in sentence]  # a service need not read it
    findings += [warning("topics", sentence) for sentence in differs if not problems]
    enough = fine("topics", f"all {len(topics)} that it uses are there, and this login has its rights on them")
    return findings if len(findings) > 1 else [*findings, enough]


# ------------------------------------------------------------------ the database


async def _check_database(settings: ServiceSettings, service: Service) -> Sequence[Finding]:
    try:
        connection = await connect(settings.dsn, service.value)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        return [
            wrong("database", f"STET_POSTGRES_DSN: the login is refused ({type(error).__name__}); check its password")
        ]
    except asyncpg.InvalidCatalogNameError:
        return [wrong("database", "STET_POSTGRES_DSN: the database it names does not exist")]
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError):
        return [
            wrong(
                "database",
                f"STET_POSTGRES_DSN: the login may not act as stet_{service}: use that one, or run stet migrate",
            )
        ]
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        return [wrong("database", str(database_away(error)))]
    try:
        return await _database_findings(connection, service)
    finally:
        await connection.close()


async def _database_findings(connection: Connection, service: Service) -> list[Finding]:
    version = connection.get_server_version()
    findings = [fine("database", f"PostgreSQL {version.major}.{version.minor} takes writes from stet_{service}")]
    if version.major < MIN_VERSION:
        findings.append(wrong("database", f"STET_POSTGRES_DSN: it must be PostgreSQL {MIN_VERSION} or newer"))
    try:
        applied = dict(await connection.fetch("select name, digest from migrations"))
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return [*findings, wrong("schema", f"there is no schema {service}: run stet migrate")]
    missing = missing_migrations(service, applied)
    lacks = ", ".join(migration.name for migration in missing)
    findings.append(wrong("schema", f"it lacks {lacks}: run stet migrate") if missing else fine("schema", "up to date"))
    standby = await connection.fetchval("select current_setting('synchronous_standby_names')")
    alone = "no synchronous standby: a failover may lose the last commits (synchronous_standby_names)"
    findings.append(fine("standby", f"synchronous: {standby}") if standby else warning("standby", alone))
    if await connection.fetchval("select current_setting('synchronous_commit')") == "off":
        findings.append(
            wrong("standby", "synchronous_commit is off: a crash loses what was acknowledged; set it to on")
        )
    now = await connection.fetchval("select clock_timestamp()")
    return findings + _skew("clock", now, "the database")


# ------------------------------------------------------------------ WhatsApp and Consonance


async def _check_whatsapp(settings: DispatcherSettings, _: Service) -> Sequence[Finding]:
    endpoint = settings.endpoint()
    headers = {"Authorization": f"Bearer {endpoint.token}"}
    findings: list[Finding] = []
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
        for line, number in endpoint.numbers.items():
            url = f"{endpoint.graph_url.rstrip('/')}/{endpoint.version}/{number}?fields=id,quality_rating,name_status"
            try:
                async with session.get(url, allow_redirects=False) as answer:
                    body: Any = await answer.json(content_type=None)
                    findings += _whatsapp_findings(line, number, answer, body)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                sentence = f"STET_WHATSAPP_GRAPH_URL: {endpoint.graph_url} does not answer ({type(error).__name__})"
                return [*findings, wrong("whatsapp", sentence)]
    return findings


def _whatsapp_findings(line: str, number: str, answer: aiohttp.ClientResponse, body: Any) -> list[Finding]:
    skew = _skew("clock", _date_of(answer), "WhatsApp") if "Date" in answer.headers else []
    if answer.ok:
        return [fine("whatsapp", f"line {line} is number {number}"), *skew]
    error = body.get("error", {}) if isinstance(body, dict) else {}
    code = error.get("code")
    if code == 190:
        advice = "make a new token of the system user in Meta Business Settings"
        return [wrong("whatsapp", f"STET_WHATSAPP_TOKEN: WhatsApp refuses it (code 190): {advice}"), *skew]
    if code == 100:
        advice = "look the phone number id up in WhatsApp Manager, or let the system user use it"
        return [
            wrong("whatsapp", f"STET_WHATSAPP_LINES: line {line}: WhatsApp does not know {number}: {advice}"),
            *skew,
        ]
    return [wrong("whatsapp", f"STET_WHATSAPP_GRAPH_URL: line {line}: HTTP {answer.status}, code {code}"), *skew]


async def _check_consonance(settings: Any, _: Service) -> Sequence[Finding]:
    headers = {"Authorization": f"Bearer {settings.consonance_key.get_secret_value()}"}
    url = settings.consonance_endpoint
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
            session.post(url, json={"query": "query { __typename }"}, allow_redirects=False) as answer,
        ):
            if answer.status in {401, 403}:
                return [wrong("consonance", "STET_CONSONANCE_KEY: Consonance refuses it: make a new key there")]
            body: Any = await answer.json(content_type=None)
            skew = _skew("clock", _date_of(answer), "Consonance") if "Date" in answer.headers else []
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} does not answer as GraphQL ({type(error).__name__})")]
    if not isinstance(body, dict) or "data" not in body:
        return [wrong("consonance", f"STET_CONSONANCE_URL: {url} is no GraphQL endpoint (HTTP {answer.status})")]
    return [fine("consonance", f"{url} takes the key"), *skew]


def _date_of(answer: aiohttp.ClientResponse) -> datetime:
    return parsedate_to_datetime(answer.headers["Date"]).astimezone(UTC)


# ------------------------------------------------------------------ what one service has


async def _check_public_port(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    if not settings.ingest_role.receives:
        return [fine("public port", f"none, as STET_INGEST_ROLE is {settings.ingest_role}")]
    if settings.listen_address.startswith("127.") and "KUBERNETES_SERVICE_HOST" in os.environ:
        sentence = "STET_LISTEN_ADDRESS is loopback: no webhook can reach this pod; set it to 0.0.0.0"
        return [wrong("public port", sentence)]
    return [fine("public port", f"{settings.listen_address}:{settings.listen_port}")]


async def _check_polled_consonance(settings: IngestSettings, service: Service) -> Sequence[Finding]:
    if not settings.ingest_role.polls:
        return [fine("consonance", f"not read, as STET_INGEST_ROLE is {settings.ingest_role}")]
    return await _check_consonance(settings, service)


async def _check_rules(settings: RulesSettings, _: Service) -> Sequence[Finding]:
    if settings.rules_bundle is None and not settings.rules_dir.is_dir():
        sentence = f"STET_RULES_DIR: there is no folder {settings.rules_dir}: mount the rules there, or name another"
        return [wrong("rules", sentence)]
    try:
        setting, validation, files = await _read_rules(settings)
    except Unavailable as error:
        return [wrong("rules", f"{error}; does it answer from here, and does it take STET_RULES_BUNDLE_TOKEN?")]
    if validation.faults:
        first = validation.faults[0]
        sentence = f"{setting}: {len(validation.faults)} faults, the first: {first}; run stet rules check"
        return [wrong("rules", sentence)]
    return [
        fine(
            "rules",
            f"{len(files)} files, {len(validation.rulebook.rules)} rules, revision {validation.rulebook.revision}",
        )
    ]


async def _read_rules(settings: RulesSettings) -> tuple[str, Validation, Mapping[str, str]]:
    """The setting that names where the rules come from, their validation, and their texts. Raises Unavailable."""
    if settings.rules_bundle is None:
        return "STET_RULES_DIR", *validate_folder(settings.rules_dir)
    token = settings.rules_bundle_token
    source = BundleSource(settings.rules_bundle, token.get_secret_value() if token is not None else None)
    content = await source.read()
    files = content.files if content is not None else {}
    validation = validate(files)
    faults = (*(content.faults if content is not None else ()), *validation.faults)
    return source.setting, replace(validation, faults=faults), files


_COMMON: tuple[DoctorCheck, ...] = (_check_secrets, _check_broker, _check_database)
_OWN: Mapping[Service, tuple[DoctorCheck, ...]] = {
    Service.INGEST: (_check_public_port, _check_polled_consonance),
    Service.RULES: (_check_rules,),
    Service.DISPATCHER: (_check_whatsapp,),
    Service.WRITEBACK: (_check_consonance,),
}
"""A new check is a function here: it gets the settings and returns its findings."""
