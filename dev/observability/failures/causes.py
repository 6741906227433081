"""The causes of failures: each changes something in the stack, and undoes it when its block ends, where that can be."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil
from aiokafka.admin import AIOKafkaAdminClient

from dev.demo.simulators import CallRefused
from dev.layout import SERVICES, preparation
from dev.observability.failures.actions import FailureContext
from dev.observability.failures.run import CauseOfFailure
from dev.observability.rule_files import RULES_FOLDER
from dev.processes import Child
from dev.templates import template_documents

_UNREADABLE = b"\xff is no record"
_BLOCKED = range(61418, 61426)
_TIMES = 5  # that each title is blocked: enough to be a seventh of all that is decided in an hour of the stories
_SCRAPED = 2.5  # seconds: a counter has been scraped, so that Prometheus sees it grow
_ASKED = 1.5  # seconds: a question has reached a person, also while writes wait
_OTHER_DATABASE = "other"
NOWHERE = "http://127.0.0.1:9"


# ------------------------------------------------------------------ what comes in


@asynccontextmanager
async def unreadable_records(context: FailureContext) -> AsyncIterator[None]:
    """A sender has changed its format: sixty-one records are none."""
    await context.publish("consonance.events", *[_UNREADABLE] * 61)
    yield


@asynccontextmanager
async def unknown_work(context: FailureContext) -> AsyncIterator[None]:
    """An event names a work that no poll has brought, and still waits after half a minute."""
    event = context.golden("consonance.work.blocked.v1", work={"work_id": 999_999})
    await context.publish("consonance.events", event)
    await context.settle()
    context.pass_time(timedelta(seconds=30))
    yield


@asynccontextmanager
async def many_connections(context: FailureContext) -> AsyncIterator[None]:
    """Strangers send what is not signed, and open more connections than the public port keeps."""
    address = urlsplit(context.stack.layout.ingest_url)
    for _ in range(3):
        async with context.simulators.session.post(f"{context.stack.layout.ingest_url}/whatsapp/webhook", data=b"{}"):
            pass
    opened = [await asyncio.open_connection(address.hostname, address.port) for _ in range(150)]
    try:
        yield
    finally:
        for _, writer in opened:
            writer.close()


@asynccontextmanager
async def person_floods(context: FailureContext) -> AsyncIterator[None]:
    """A person, or a machine, writes one message after the other."""
    for number in range(60):
        await context.write("803", "acquisitions", f"message {number} of many, unlike the others: {number * 7919}")
    yield


@asynccontextmanager
async def file_store_away(context: FailureContext) -> AsyncIterator[None]:
    """The folder of received files is no folder any more when a person sends one."""
    folder = context.stack.layout.folder / "data" / "files"
    kept = folder.with_name("files-kept")
    with suppress(FileNotFoundError):
        folder.rename(kept)
    folder.touch()
    await context.write("805", "acquisitions", "", kind="document", filename="pitch.pdf")
    try:
        yield
    finally:
        folder.unlink()
        with suppress(FileNotFoundError):
            kept.rename(folder)


# ------------------------------------------------------------------ rules


@asynccontextmanager
async def rules_refused(context: FailureContext) -> AsyncIterator[None]:
    """A rule file that does not pass the check."""
    file = context.observed.rules / "blocks" / "broken.rule.yaml"
    file.write_text("rule: broken\n")
    try:
        yield
    finally:
        file.unlink()


@asynccontextmanager
async def rules_folder_away(context: FailureContext) -> AsyncIterator[None]:
    """The volume of the rules is gone."""
    rules = context.observed.rules
    away = rules.with_name(f"{rules.name}-away")
    shutil.rmtree(away, ignore_errors=True)
    rules.rename(away)
    try:
        yield
    finally:
        away.rename(rules)


def stands_still(service: str) -> CauseOfFailure:
    """A service does nothing while titles are blocked and minutes pass."""

    @asynccontextmanager
    async def cause(context: FailureContext) -> AsyncIterator[None]:
        processes = context.processes(service)
        for process in processes:
            process.suspend()
        try:
            for work in [*_BLOCKED] * _TIMES:
                await context.block(work)
            await asyncio.sleep(_SCRAPED)  # the pushes have gone as far as they can
            context.pass_time(timedelta(minutes=3))
        finally:
            for process in processes:
                process.resume()
        yield
        context.pass_time(timedelta(minutes=15))  # WhatsApp takes only so many messages to one person in a minute
        await context.settle()

    return cause


# ------------------------------------------------------------------ WhatsApp


@asynccontextmanager
async def template_paused(context: FailureContext) -> AsyncIterator[None]:
    """Meta pauses the template of a question, which is asked then."""
    change = {"name": _meta_name("rights_request"), "language": "fr"}
    await context.simulators.whatsapp("template_changes", [{**change, "status": "PAUSED"}])
    await context.settle()
    await context.ask_agent()
    try:
        yield
    finally:
        await context.simulators.whatsapp("template_changes", [{**change, "status": "APPROVED"}])


@asynccontextmanager
async def template_recategorised(context: FailureContext) -> AsyncIterator[None]:
    """Meta moves a template to marketing."""
    change = {"name": _meta_name("deadline_near"), "language": "en"}
    await context.simulators.whatsapp("template_changes", [{**change, "category": "MARKETING"}])
    try:
        yield
    finally:
        await context.simulators.whatsapp("template_changes", [{**change, "category": "UTILITY"}])


@asynccontextmanager
async def send_without_answer(context: FailureContext) -> AsyncIterator[None]:
    """WhatsApp answers neither of two requests to send a question: of a single one, Prometheus sees no growth."""
    for _ in range(2):
        await context.simulators.whatsapp("faults", [{"kind": "timeout_before", "seconds": 3, "match": {"to": "814"}}])
        await context.ask_licensor()
        await asyncio.sleep(3 + _SCRAPED)
    yield


@asynccontextmanager
async def sends_refused(context: FailureContext) -> AsyncIterator[None]:
    """WhatsApp refuses eight messages: a parameter is not valid."""
    await context.simulators.whatsapp("faults", [{"kind": "error_code", "code": 131009, "count": len(_BLOCKED)}])
    for work in _BLOCKED:
        await context.block(work)
    yield


@asynccontextmanager
async def token_refused(context: FailureContext) -> AsyncIterator[None]:
    """WhatsApp answers 401 as its token has expired; the critical message still waits a minute later."""
    await context.simulators.whatsapp("faults", [{"kind": "error_code", "code": 190, "count": 100}])
    await context.block(_BLOCKED[0])
    await asyncio.sleep(_SCRAPED)
    context.pass_time(timedelta(minutes=1))
    yield


@asynccontextmanager
async def document_away(context: FailureContext) -> AsyncIterator[None]:
    """The host of a document does not answer."""
    await _attach(context, f"{NOWHERE}/cover.pdf")
    yield


@asynccontextmanager
async def document_not_allowed(context: FailureContext) -> AsyncIterator[None]:
    """A rule attaches a document of a host that is not allowed."""
    for _ in range(2):  # the first makes the series, and the second lets it grow
        await _attach(context, "https://files.elsewhere.example/cover.pdf")
        await asyncio.sleep(_SCRAPED)
    yield


async def _attach(context: FailureContext, address: str) -> None:
    message_id = f"{context.next_number():032d}"
    document = {"address": address, "name": "cover", "optional": False}
    event = context.golden("messages.message.requested.v1+document", message_id=message_id, document=document)
    await context.publish("messages.requested", event)


def _meta_name(template: str) -> str:
    """Meta's name of a template, which has a version."""
    names = {str(document["name"]) for document in template_documents(RULES_FOLDER)}
    return next(name for name in sorted(names) if name.startswith(template))


# ------------------------------------------------------------------ Consonance


@asynccontextmanager
async def key_refused(context: FailureContext) -> AsyncIterator[None]:
    """Consonance refuses the key."""
    async with _consonance_fault(context, kind="revoked_key"):
        with suppress(CallRefused):
            await context.simulators.poll()
        yield
    await context.simulators.poll()


@asynccontextmanager
async def write_refused(context: FailureContext) -> AsyncIterator[None]:
    """Consonance does not take a decision that a person has given."""
    async with _consonance_fault(
        context, kind="ok_with_errors", operation="recordRightsDecision", place="payload", message="is locked"
    ):
        await context.ask_agent()
        await context.settle()
        await context.agent_approves()
        await context.settle()
        yield


@asynccontextmanager
async def consonance_down(context: FailureContext) -> AsyncIterator[None]:
    """Consonance answers 503 while six decisions wait to be written, for minutes."""
    await context.simulators.consonance("faults", {"kind": "http_503", "count": None})
    for _ in range(3):
        await context.ask_agent()
        await asyncio.sleep(_ASKED)
        await context.agent_approves()
    await asyncio.sleep(_SCRAPED)
    context.pass_time(timedelta(minutes=3))
    yield


@asynccontextmanager
async def consonance_back(context: FailureContext) -> AsyncIterator[None]:
    """Consonance answers again, and what waited is written, too late."""
    await context.simulators.consonance("faults", {}, "DELETE")
    yield


@asynccontextmanager
async def not_polled(_: FailureContext) -> AsyncIterator[None]:
    """No replica polls Consonance: in this stack only a call does."""
    yield


@asynccontextmanager
async def person_without_address(context: FailureContext) -> AsyncIterator[None]:
    """Rules of several owners have something for a person whose only number is no number."""
    await context.ask_unreachable()
    yield


@asynccontextmanager
async def _consonance_fault(context: FailureContext, **fault: object) -> AsyncIterator[None]:
    await context.simulators.consonance("faults", {"count": None, **fault})
    try:
        yield
    finally:
        await context.simulators.consonance("faults", {}, "DELETE")


# ------------------------------------------------------------------ time


@asynccontextmanager
async def day_passes(context: FailureContext) -> AsyncIterator[None]:
    """A day on which the designer answers, and no other person."""
    context.pass_time(timedelta(days=1))
    await context.settle()
    await context.designer_is_done()
    yield


# ------------------------------------------------------------------ processes


@asynccontextmanager
async def services_killed(context: FailureContext) -> AsyncIterator[None]:
    """Each service is killed."""
    await asyncio.gather(*(context.stack.kill(service) for service in SERVICES))
    yield
    await asyncio.gather(*(context.stack.start(service) for service in SERVICES))


@asynccontextmanager
async def service_restarts(context: FailureContext) -> AsyncIterator[None]:
    """Writeback is killed again and again."""
    for _ in range(4):
        await context.stack.kill("writeback")
        await context.stack.start("writeback")
        await asyncio.sleep(1.5)  # it is scraped
    yield


@asynccontextmanager
async def few_descriptors(context: FailureContext) -> AsyncIterator[None]:
    """Rules may open hardly more files than it has open."""
    process = context.processes("rules")[0]
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 2, limits[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limits)


def leader_kept_away(lock: str) -> CauseOfFailure:
    """A session that hangs holds the lock of a leader."""

    @asynccontextmanager
    async def cause(context: FailureContext) -> AsyncIterator[None]:
        connection = await context.take_lock(lock)
        try:
            yield
        finally:
            await connection.close()

    return cause


@asynccontextmanager
async def second_leader(context: FailureContext) -> AsyncIterator[None]:
    """A dispatcher of another version works on another database, as after a split of PostgreSQL, and leads there."""
    stack, neighbours = context.stack, context.stack.neighbours
    connection = await asyncpg.connect(neighbours.postgres_dsn)
    await connection.execute(f"create database {_OTHER_DATABASE}")
    await connection.close()
    other = urlunsplit(urlsplit(neighbours.postgres_dsn)._replace(path=f"/{_OTHER_DATABASE}"))
    neighbours = replace(neighbours, postgres_dsn=other)
    await Child(preparation("migrate-other", neighbours, "migrate"), stack.layout.folder).run()
    own = {"STET_HEALTH_PORT": str(context.observed.spare_port), "STET_INSTANCE": "second", "STET_COMMIT": "f" * 40}
    command = replace(stack.layout.service("dispatcher", neighbours, own), name="second-dispatcher")
    child = Child(command, stack.layout.folder)
    await child.start()
    try:
        yield
    finally:
        await child.stop()


# ------------------------------------------------------------------ Kafka and PostgreSQL


@asynccontextmanager
async def postgres_gone(context: FailureContext) -> AsyncIterator[None]:
    """PostgreSQL is killed, and people write."""
    await context.stack.kill("postgres")
    for number in range(12):
        await context.write("803", "main", f"is this the right number? ({number})")
    yield
    await context.stack.start("postgres")


@asynccontextmanager
async def broker_frozen(context: FailureContext) -> AsyncIterator[None]:
    """Kafka stands still; the leading dispatcher loses its session meanwhile, and steps of chains fall due."""
    processes = context.processes("kafka")
    for process in processes:
        process.suspend()
    connection = await context.take_lock("stet/dispatcher/portfolio/penrose")
    await connection.close()
    context.pass_time(timedelta(days=20))
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@asynccontextmanager
async def topic_missing(context: FailureContext) -> AsyncIterator[None]:
    """A topic that rules writes is deleted."""
    neighbours = context.stack.neighbours
    admin = AIOKafkaAdminClient(bootstrap_servers=neighbours.kafka_bootstrap)
    await admin.start()
    await admin.delete_topics(["decisions"])
    await admin.close()
    await context.block(_BLOCKED[0])
    yield
    create = preparation("topics-again", neighbours, "topics", "create")
    await Child(create, context.stack.layout.folder).run()
