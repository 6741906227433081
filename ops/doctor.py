"""``stet doctor``: checks what a service's environment names: settings, secrets, neighbours, rights, clocks, rules.

Every check is harmless: it reads, asks for what changes nothing, or deletes what it wrote. Each fault is named with its
setting, and with the remedy. docs/operations/connections.md lists what is tried, and what cannot be.
"""

import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import asyncpg
import typer
from cryptography import x509
from rich.table import Table
from rich.text import Text

from ops.command_line import ExitCode, Format, OutputFormat, Service, console, print_error, print_json
from ops.command_settings import database_away, run
from ops.database import QUERIES
from ops.environment import current_stack, stack_advice
from ops.file_checks import (
    check_document_hosts,
    check_document_store,
    check_media_hosts,
    check_media_store,
    check_scanner,
)
from ops.findings import Finding, Result, fine, skew_findings, warning, wrong
from ops.rules.output import counted
from ops.topics import admin_client
from ops.web_checks import check_collector, check_consonance, check_mapping, check_polled_consonance
from ops.whatsapp_checks import check_app_secrets, check_media_at_whatsapp, check_whatsapp
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
from shared.runtime.telemetry import error_location
from shared.runtime.topic_rights import missing_rights
from shared.runtime.topic_setup import UNREADABLE, topic_differences, topic_problems

_SETTINGS: Mapping[Service, type[ServiceSettings]] = {
    Service.INGEST: IngestSettings,
    Service.RULES: RulesSettings,
    Service.DISPATCHER: DispatcherSettings,
    Service.WRITEBACK: WritebackSettings,
}
_RENEWED_BEFORE = timedelta(days=7)
_RIGHTS_PAGE = "docs/operations/install.md"
_STYLES = {"fine": "green", "warning": "yellow", "wrong": "bold red"}


def doctor_command(
    service: Annotated[
        Service | None, typer.Option("--service", help="Whose environment this is; a stack's services are all checked.")
    ] = None,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Check every setting, secret, neighbour and right of a service's environment, and say what to do.

    Run it where the service runs, with its environment: in its pod, or against the stack of `make up`. It deletes again
    whatever it has written. Ends with 1 where something is wrong; a warning alone is no fault.
    """
    environments = _environments(service)
    if not environments:
        problem = (
            "--service: name the service whose environment this is, and run it there, as in a pod of that service"
            f"{stack_advice()}"
        )
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
        except Exception as error:  # noqa: BLE001 -- a surprise in one check must not hide what the others find
            place = f"{type(error).__name__} at {error_location(error)}"
            yield wrong(_name(check), f"the check itself failed ({place}): please report it")


DoctorCheck = Callable[[Any, Service], Awaitable[Sequence[Finding]]]


def _name(check: DoctorCheck) -> str:
    return check.__name__.lstrip("_").removeprefix("check_").removeprefix("polled_").replace("_", " ")


# ------------------------------------------------------------------ secrets and clocks


async def _check_secrets(_: ServiceSettings, __: Service) -> Sequence[Finding]:
    folder = os.environ.get(f"{PREFIX}SECRETS_DIR")
    if folder is None:
        return [fine("secrets", "STET_SECRETS_DIR is not set: secrets come from variables")]
    closed = fine("secrets", f"every file in {folder} is there and closed to other users")
    return _secret_findings(Path(folder)) or [closed]


async def _check_certificates(settings: ServiceSettings, _: Service) -> Sequence[Finding]:
    """Of each file of certificates the first that ends."""
    findings = []
    for path in settings.certificate_files():
        ends = [found.not_valid_after_utc for found in _certificates_in(path)]
        if ends and (left := min(ends) - machine_now()) < _RENEWED_BEFORE:
            has_ended = left < timedelta()
            state = "has ended" if has_ended else "ends soon"
            sentence = f"{path}: a certificate in it {state}, at {min(ends):%Y-%m-%d %H:%M}Z: renew it"
            findings.append((wrong if has_ended else warning)("certificates", sentence))
    return findings


def _certificates_in(path: Path) -> Sequence[x509.Certificate]:
    """None of a file that holds a key, or a list of revoked certificates."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []


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
        return [wrong("database", f"STET_POSTGRES_DSN: the login is refused ({error}); check its password")]
    except asyncpg.InvalidCatalogNameError:
        return [wrong("database", "STET_POSTGRES_DSN: the database it names does not exist")]
    except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError):
        return [
            wrong(
                "database",
                f"STET_POSTGRES_DSN: the login may not act as stet_{service}: use that one, or run stet migrate",
            )
        ]
    except (OSError, asyncpg.PostgresError, asyncpg.InternalClientError) as error:
        return [wrong("database", str(database_away(error, urlsplit(settings.dsn).netloc.rpartition("@")[2])))]
    try:
        return await _database_findings(connection, service) + await _pool_findings(connection, settings.postgres_pool)
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
    if unusable := [row["name"] for row in await connection.fetch(QUERIES.lacking_rights, service.value)]:
        tables = ", ".join(unusable[:3]) + (f" and {len(unusable) - 3} more" if len(unusable) > 3 else "")
        owner = f"alter table … owner to stet_{service}"
        sentence = f"stet_{service} may not use {tables}: records wait until an administrator runs {owner}"
        findings.append(wrong("rights", sentence))
    standby = await connection.fetchval("select current_setting('synchronous_standby_names')")
    alone = "no synchronous standby: a failover may lose the last commits (synchronous_standby_names)"
    findings.append(fine("standby", f"synchronous: {standby}") if standby else warning("standby", alone))
    if await connection.fetchval("select current_setting('synchronous_commit')") == "off":
        findings.append(
            wrong("standby", "synchronous_commit is off: a crash loses what was acknowledged; set it to on")
        )
    now = await connection.fetchval("select clock_timestamp()")
    return findings + skew_findings(now, "the database")


async def _pool_findings(connection: Connection, pool: int) -> list[Finding]:
    """A server that takes fewer connections than one replica keeps refuses the rest."""
    login = await connection.fetchval("select rolconnlimit from pg_roles where rolname = session_user")
    most = await connection.fetchval(
        "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )
    allowed, whose = (login, "this login") if 0 <= login < most else (most, "the server")
    if pool <= allowed:
        return []
    sentence = f"STET_POSTGRES_POOL is {pool}, and {whose} takes {allowed} connections: lower it, or raise that limit"
    return [wrong("database", sentence)]


# ------------------------------------------------------------------ what one service has


async def _check_public_port(settings: IngestSettings, _: Service) -> Sequence[Finding]:
    if not settings.ingest_role.receives:
        return [fine("public port", f"none, as STET_INGEST_ROLE is {settings.ingest_role}")]
    if settings.listen_address.startswith("127.") and "KUBERNETES_SERVICE_HOST" in os.environ:
        sentence = "STET_LISTEN_ADDRESS is loopback: no webhook can reach this pod; set it to 0.0.0.0"
        return [wrong("public port", sentence)]
    return [fine("public port", f"{settings.listen_address}:{settings.listen_port}")]


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
        sentence = f"{setting}: {counted(len(validation.faults), 'fault')}, the first: {first}; run stet rules check"
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


_COMMON: tuple[DoctorCheck, ...] = (
    _check_secrets,
    _check_certificates,
    _check_broker,
    _check_database,
    check_collector,
)
_OWN: Mapping[Service, tuple[DoctorCheck, ...]] = {
    Service.INGEST: (
        _check_public_port,
        check_polled_consonance,
        check_media_store,
        check_scanner,
        check_media_hosts,
        check_media_at_whatsapp,
        check_app_secrets,
    ),
    Service.RULES: (_check_rules,),
    Service.DISPATCHER: (check_whatsapp, check_document_store, check_document_hosts),
    Service.WRITEBACK: (check_consonance, check_mapping),
}
"""A new check is a function here: it gets the settings and returns its findings."""
