"""The templates of the rules and those of the account: compare, create and edit them, and what is known of each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field, model_validator

from ops.command_line import ExitCode, Format, OutputFormat, command_group, print_error, print_rows
from ops.command_settings import TenantSettings, load_command_settings, run
from ops.database import operator_pool
from ops.rules.folder import DEFAULT_FOLDER, RuleFolder, require_rules
from ops.rules.output import counted
from ops.template_plan import (
    PlannedTemplate,
    TemplateAction,
    WantedTemplate,
    category_note,
    left_to_a_person,
    plan_templates,
    rows_of,
    wanted_templates,
)
from services.dispatcher.templates import USABLE_STATUSES
from services.rules.rulebook.loader import load
from services.rules.rulebook.rule_folder import read_folder
from shared.clients.file_types import HEAD_BYTES, FileRefused, content_type
from shared.clients.graph_api import TemplateClient, TemplateEndpoint, TemplateRefused
from shared.clients.whatsapp_limits import DOCUMENT_MEGABYTES
from shared.contracts.errors import Misconfigured, Unavailable
from shared.runtime.connection_settings import SecretUrlSettings
from shared.runtime.credentials import AccessKey
from shared.runtime.postgres import load_queries

QUERIES = load_queries(__file__, "templates.sql")

app = command_group("The message templates of the rules, and those of the WhatsApp business account.")

_PLAN_COLUMNS = {
    "action": "action",
    "template": "template",
    "language": "language",
    "status": "status at Meta",
    "category": "category",
    "note": "note",
}
_STATUS_COLUMNS = {
    "template": "template",
    "language": "language",
    "status": "status",
    "category": "category",
    "moved_from": "moved from",
    "quality": "quality",
    "waiting": "messages waiting",
    "reason": "reason",
    "reported_at": "reported",
}


class AccountSettings(SecretUrlSettings):
    """The Graph API and the accounts whose templates are meant, which the dispatcher reads as well."""

    whatsapp_graph_url: Annotated[str, Field(pattern=r"^https?://")]
    whatsapp_graph_version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")]
    whatsapp_token: AccessKey
    whatsapp_business_account: Annotated[str | None, Field(pattern=r"^\d+$")] = None
    whatsapp_accounts: Annotated[dict[str, Annotated[str, Field(pattern=r"^\d+$")]], Field(default_factory=dict)]

    @model_validator(mode="after")
    def _check_accounts(self) -> Self:
        if self.whatsapp_business_account is None and not self.whatsapp_accounts:
            raise ValueError("STET_WHATSAPP_BUSINESS_ACCOUNT, or STET_WHATSAPP_ACCOUNTS, names no account")
        return self

    def endpoints(self) -> list[TemplateEndpoint]:
        """One for each account, the first being that of most lines."""
        token, most = self.whatsapp_token.get_secret_value(), self.whatsapp_business_account
        named = dict.fromkeys((*([most] if most else []), *self.whatsapp_accounts.values()))
        return [
            TemplateEndpoint(self.whatsapp_graph_url, self.whatsapp_graph_version, account, token) for account in named
        ]

    def secret_urls(self) -> list[tuple[str, str]]:
        return [*super().secret_urls(), ("STET_WHATSAPP_GRAPH_URL", self.whatsapp_graph_url)]


class TemplateSettings(AccountSettings):
    """And the app under which examples are uploaded."""

    whatsapp_app: Annotated[
        str | None,
        Field(
            pattern=r"^\d+$",
            description="The id of the app at Meta; `stet templates` uploads the examples of documents under it.",
        ),
    ] = None


class StatusSettings(TenantSettings):
    """The accounts of the lines, where there are several."""

    whatsapp_business_account: str = ""
    whatsapp_accounts: Annotated[dict[str, str], Field(default_factory=dict)]

    def accounts_of_lines(self) -> tuple[list[str], list[str], str | None]:
        """Lines, the account of each, and that of the others; it is None where all belong to one."""
        lines, accounts = list(self.whatsapp_accounts), list(self.whatsapp_accounts.values())
        if len({*accounts, self.whatsapp_business_account} - {""}) < _SEVERAL:
            return [], [], None
        return lines, accounts, self.whatsapp_business_account


@app.command("plan")
def plan_command(folder: RuleFolder = DEFAULT_FOLDER, *, output: Format = OutputFormat.TEXT) -> None:
    """Compare the templates of the rules with the account: what to create, what to edit, what needs a person.

    Nothing is changed. Exit code 1 where something differs, or where Meta has rejected, paused, disabled or moved a
    template; so it runs in a pipeline of the rules.
    """
    wanted, settings = _wanted(folder), load_command_settings(TemplateSettings)

    async def command() -> int:
        async with AsyncExitStack() as stack:
            plans = await _plans(stack, settings, wanted, folder)
        return _print_plan([each for _, plan in plans for each in plan], output)

    run(command())


@app.command("apply")
def apply_command(
    folder: RuleFolder = DEFAULT_FOLDER,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Create and edit; without it the plan alone is shown.")] = False,
    output: Format = OutputFormat.TEXT,
) -> None:
    """Create the missing templates and edit the changed ones; without --yes only say what would be done.

    Meta reviews each within a day. It takes one edit a day of an approved template, and ten in thirty days. Nothing is
    ever deleted. The example of a document, a PDF that the template's file names, is uploaded under the app of
    STET_WHATSAPP_APP. Exit code 1 where something was refused, was put into another category, or is left for a person.
    """
    wanted, settings = _wanted(folder), load_command_settings(TemplateSettings)

    async def command() -> int:
        async with AsyncExitStack() as stack:
            plans = await _plans(stack, settings, wanted, folder)
            plan = [each for _, of_account in plans for each in of_account]
            if not yes:
                code = _print_plan(plan, output)
                print_error("nothing was changed: a dry run; --yes creates and edits")
                return code
            done = list[dict[str, str]]()
            for client, of_account in plans:
                examples = Examples(client, folder, settings.whatsapp_app)
                done += [await _apply(client, examples, each) for each in of_account if each.action in _APPLIED]
        left = [each for each in plan if each.action not in {*_APPLIED, TemplateAction.KEEP}]
        rows = [*done, *rows_of(left)]
        print_rows(rows, _columns(_PLAN_COLUMNS, rows), output, empty="the account has every template as it is written")
        noted = any(row["action"] in {_REFUSED, _CREATED} and row["note"] for row in done)
        return ExitCode.FINDINGS if noted or _needs_a_person(left) else ExitCode.FINE

    run(command())


@app.command("status")
def status_command(output: Format = OutputFormat.TEXT) -> None:
    """Show what is known of each template from Meta's webhooks and its list, and how many messages wait for it.

    Exit code 1 where one cannot be sent, or was moved to marketing.
    """
    settings = load_command_settings(StatusSettings)

    async def command() -> int:
        async with operator_pool(settings) as pool:
            found = await pool.fetch(QUERIES.templates, settings.tenant, *settings.accounts_of_lines())
            read_at = await pool.fetchval(QUERIES.last_reading, settings.tenant)
        rows = [dict(row) for row in found]
        if len({row["account"] for row in rows} - {""}) < _SEVERAL:
            rows = [{name: value for name, value in row.items() if name != "account"} for row in rows]
        print_rows(rows, _columns(_STATUS_COLUMNS, rows), output, empty="Meta has reported nothing of any template yet")
        if output is OutputFormat.TEXT:
            print_error(f"the account's list was last read {read_at:%Y-%m-%d %H:%M}Z" if read_at else _NEVER_READ)
        return ExitCode.FINDINGS if any(map(_is_held, rows)) else ExitCode.FINE

    run(command())


_SEVERAL = 2
_APPLIED = frozenset({TemplateAction.CREATE, TemplateAction.EDIT})
_REFUSED, _CREATED = "refused", "created"
_NEVER_READ = (
    "the account's list was never read: STET_WHATSAPP_BUSINESS_ACCOUNT names the account to the dispatcher, and with "
    "STET_WHATSAPP_TEMPLATES_SECONDS at 0 it reads none"
)


def _wanted(folder: Path) -> list[WantedTemplate]:
    """Exits with code 2 where the rules cannot be loaded."""
    book, faults = load(read_folder(require_rules(folder)))
    if book is None or faults:
        sentence = f"{folder}: {counted(len(faults), 'fault')}, the first: {faults[0]}; run stet rules check {folder}"
        raise typer.Exit(print_error(sentence, code=ExitCode.CANNOT_RUN))
    return wanted_templates(book)


async def _plans(
    stack: AsyncExitStack, settings: TemplateSettings, wanted: Sequence[WantedTemplate], folder: Path
) -> list[tuple[TemplateClient, Sequence[PlannedTemplate]]]:
    """For each account its client, open until the stack ends, and the plan: any line may send any template."""
    clients = [await stack.enter_async_context(TemplateClient(endpoint)) for endpoint in settings.endpoints()]
    plans = list[tuple[TemplateClient, Sequence[PlannedTemplate]]]()
    for client in clients:
        plan = with_checked_examples(plan_templates(wanted, await _listed(client)), folder, settings.whatsapp_app)
        account = client.account if len(clients) > 1 else ""
        plans.append((client, [replace(each, account=account) for each in plan]))
    return plans


async def _listed(client: TemplateClient) -> list[dict[str, Any]]:
    try:
        return await client.list()
    except TemplateRefused as refused:
        sentence = f"WhatsApp refuses the list of templates of the account {client.account}: {refused}"
        raise Misconfigured("STET_WHATSAPP_TOKEN", sentence) from None
    except Unavailable as error:
        raise Misconfigured("STET_WHATSAPP_GRAPH_URL", str(error)) from None


@dataclass(slots=True)
class Examples:
    """Uploads each example once, however many languages it is for."""

    client: TemplateClient
    folder: Path
    app: str | None
    _handles: dict[str, str] = field(default_factory=dict)

    async def attach(self, wanted: WantedTemplate) -> WantedTemplate:
        """The template with the handle of its example. Raises UnusableExample, TemplateRefused and Unavailable."""
        if wanted.example is None or self.app is None:
            return wanted
        if wanted.example not in self._handles:
            file = read_example(self.folder, wanted.example)
            self._handles[wanted.example] = await self.client.upload(self.app, file.name, EXAMPLE_TYPE, file.content)
        return wanted.with_handle(self._handles[wanted.example])


async def _apply(client: TemplateClient, examples: Examples, planned: PlannedTemplate) -> dict[str, str]:
    """The line of the plan, with what came of it."""
    (row,) = rows_of([planned])
    try:
        wanted = await examples.attach(planned.wanted)
        if planned.action is TemplateAction.CREATE:
            answer = await client.create(wanted.creation())
            category = str(answer.get("category") or wanted.category).upper()
            said = {"status": str(answer.get("status", "")), "category": category}
            return {**row, "action": _CREATED, **said, "note": category_note(wanted, category)}
        await client.edit(planned.template_id, {"components": wanted.components})
    except (UnusableExample, TemplateRefused, Unavailable) as error:
        return {**row, "action": _REFUSED, "note": str(error)}
    return {**row, "action": "edited", "status": "PENDING"}


def _print_plan(plan: Sequence[PlannedTemplate], output: OutputFormat) -> ExitCode:
    found = [each for each in plan if each.is_finding]
    rows = list(rows_of(found))
    print_rows(
        rows, _columns(_PLAN_COLUMNS, rows), output, empty=f"the account has all {len(plan)} templates as written"
    )
    if output is OutputFormat.TEXT and found:
        counts = Counter(each.action.value for each in plan)
        print_error(", ".join(f"{number} to {action}" for action, number in sorted(counts.items())))
    return ExitCode.FINDINGS if found else ExitCode.FINE


def _columns(columns: Mapping[str, str], rows: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """The columns, with the account first where there are several."""
    return {**({"account": "account"} if any("account" in row for row in rows) else {}), **columns}


def _needs_a_person(left: Iterable[PlannedTemplate]) -> bool:
    return any(each.action is TemplateAction.ACT for each in left)


def _is_held(row: dict[str, Any]) -> bool:
    moved = row["category"] == "MARKETING" and row["moved_from"] not in {None, "", "MARKETING"}
    return row["status"] not in USABLE_STATUSES or moved or bool(row["waiting"])


# ------------------------------------------------------------------ example documents

EXAMPLE_TYPE = "application/pdf"
"""The one type of a document that Meta's Resumable Upload API takes."""
_MOST_BYTES = DOCUMENT_MEGABYTES * 1_000_000


class ExampleFile(Struct, frozen=True):
    name: str
    content: bytes


class UnusableExample(Exception):
    """The sentence says what is wrong with the file."""


def read_example(folder: Path, path: str) -> ExampleFile:
    """``path`` is relative to the folder of the rules. Raises UnusableExample."""
    file = folder / path
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UnusableExample(f"its example {path} is a link out of the folder")
        size = file.stat().st_size
        if size > _MOST_BYTES:
            raise UnusableExample(f"its example {path} has {size:,} bytes; Meta takes {_MOST_BYTES:,}")
        content = file.read_bytes()
    except OSError as error:
        raise UnusableExample(f"its example {path} cannot be read: {error.strerror}") from None
    try:
        content_type(content[:HEAD_BYTES], EXAMPLE_TYPE, {EXAMPLE_TYPE})
    except FileRefused as refused:
        seen = f"is {refused.mime}" if refused.mime else "is empty"
        raise UnusableExample(f"its example {path} {seen}, and no PDF") from None
    return ExampleFile(file.name, content)


def with_checked_examples(plan: Iterable[PlannedTemplate], folder: Path, app: str | None) -> list[PlannedTemplate]:
    """Leave to a person, with the reason, each template whose example cannot be uploaded."""
    return [_checked(each, folder, app) for each in plan]


def _checked(planned: PlannedTemplate, folder: Path, app: str | None) -> PlannedTemplate:
    if planned.action not in _APPLIED or planned.wanted.example is None:
        return planned
    if app is None:
        return left_to_a_person(
            planned, "set STET_WHATSAPP_APP to the id of the app, under which its example is uploaded"
        )
    try:
        read_example(folder, planned.wanted.example)
    except UnusableExample as unusable:
        return left_to_a_person(planned, str(unusable))
    return planned
