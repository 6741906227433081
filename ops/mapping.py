"""The mapping file of writeback: its faults, what a Consonance takes of it, and what fills the variables in it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field, HttpUrl

from ops.command_line import ExitCode, Format, OutputFormat, command_group, print_error, print_rows
from ops.command_settings import load_command_settings, run
from services.writeback.capabilities import OperationSupport, examine_schema
from services.writeback.changes import input_names
from services.writeback.operation_mapping import READ_VALUES, MappedOperation, OperationMapping, load_mapping
from services.writeback.settings import SHIPPED_MAPPING, WritebackSettings
from shared.clients.consonance_graphql import ConsonanceClient, KeyRefused
from shared.contracts.errors import Misconfigured, Unavailable
from shared.contracts.writes import WriteOperation
from shared.runtime.connection_settings import SecretUrlSettings
from shared.runtime.credentials import AccessKey
from shared.runtime.settings import graphql_endpoint

app = command_group("How writes go into your Consonance: the mapping file, and what your Consonance takes of it.")

_NOT_HERE = "a task for a person"
_UNMAPPED = "(none)"
_OPERATION_COLUMNS = {"operation": "operation", "name": "name in the file", "when": "when"}
_SUPPORT_COLUMNS = {**_OPERATION_COLUMNS, "read": "read", "written": "written", "removed": "old text removed"}
_INPUT_COLUMNS = {"operation": "operation", "inputs": "inputs for variables", "values": "values to read"}

MappingPath = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="By default that of STET_CONSONANCE_MAPPING, else the one that comes along."),
]


class MappingSettings(SecretUrlSettings):
    """The file that writeback reads."""

    consonance_mapping: Path = SHIPPED_MAPPING


class TenantConsonanceSettings(MappingSettings):
    """And the Consonance that it writes to."""

    consonance_url: HttpUrl
    consonance_key: AccessKey
    consonance_timeout: Annotated[float, Field(gt=0)] = 15.0

    def secret_urls(self) -> list[tuple[str, str]]:
        return [*super().secret_urls(), ("STET_CONSONANCE_URL", str(self.consonance_url))]


@app.command("check")
def check_command(file: MappingPath = None, *, output: Format = OutputFormat.TEXT) -> None:
    """Check a mapping file without asking Consonance, and list its operations in the order in which they are tried.

    Exit code 1 where the file has faults: each is printed with its line and column.
    """
    mapping = _load(file or load_command_settings(MappingSettings).consonance_mapping)
    rows = [_operation_row(name, mapped) for name, mapped in mapping.items()]
    print_rows(rows, _OPERATION_COLUMNS, output, empty="the file has no operations: every write is a task for a person")


@app.command("capabilities")
def capabilities_command(file: MappingPath = None, *, output: Format = OutputFormat.TEXT) -> None:
    """Ask your Consonance for its schema, and say of each operation whether it can be done there.

    Run it with the settings of writeback, as in its pod. Nothing is written. An operation that cannot be written
    becomes a task for a person, with the exact values; exit code 1 where something does, and the schema's reasons on
    standard error.
    """
    settings = load_command_settings(TenantConsonanceSettings)
    mapping = _load(file or settings.consonance_mapping)

    async def command() -> int:
        supports = await find_supports(settings, mapping)
        rows = support_rows(supports)
        print_rows(rows, _SUPPORT_COLUMNS, output, empty="there are no operations")
        for support in supports:
            for sentence in support.schema_errors:
                print_error(f"{support.name}: {sentence}")
        return ExitCode.FINDINGS if any(row["written"] != _YES for row in rows) else ExitCode.FINE

    run(command())


@app.command("inputs")
def inputs_command(output: Format = OutputFormat.TEXT) -> None:
    """List for each operation the inputs that fill its variables, and the values that its comparison can use."""
    print_rows(input_rows(), _INPUT_COLUMNS, output, empty="")


def input_rows() -> list[dict[str, Any]]:
    """A row for each operation: inputs by name, and values to read, of which the first is required."""
    return [
        {"operation": operation.value, "inputs": sorted(input_names(operation)), "values": list(READ_VALUES[operation])}
        for operation in WriteOperation
    ]


async def find_supports(
    settings: TenantConsonanceSettings | WritebackSettings, mapping: OperationMapping
) -> Sequence[OperationSupport]:
    """Raises Misconfigured where Consonance does not describe its schema."""
    url = str(settings.consonance_url)
    client = ConsonanceClient(
        graphql_endpoint(url),
        settings.consonance_key.get_secret_value(),
        timedelta(seconds=settings.consonance_timeout),
        service="writeback",
        meanwhile="nothing was written",
    )
    try:
        async with client:
            return examine_schema(await client.fetch_schema(), mapping)
    except KeyRefused as error:
        raise Misconfigured("STET_CONSONANCE_KEY", f"{error}; make a new key there") from None
    except Unavailable as error:
        raise Misconfigured("STET_CONSONANCE_URL", f"{url}: {error}") from None


_YES, _NO = "yes", "no"


def support_rows(supports: Iterable[OperationSupport]) -> list[dict[str, str]]:
    """A row for each operation of the file, and one for each kind of write that the file does not know."""
    supports = list(supports)
    rows = [
        {
            **_operation_row(support.name, support.mapped),
            "read": _YES if support.read else _NO,
            "written": _YES if support.read and support.write else _NOT_HERE,
            "removed": "" if support.mapped.remove is None else _YES if support.remove else _NO,
        }
        for support in supports
    ]
    known = {support.mapped.operation for support in supports}
    unknown = [operation for operation in WriteOperation if operation not in known]
    return [
        *rows,
        *(
            {"operation": each.value, "name": _UNMAPPED, "when": "", "read": _NO, "written": _NOT_HERE, "removed": ""}
            for each in unknown
        ),
    ]


def _operation_row(name: str, mapped: MappedOperation) -> dict[str, str]:
    return {"operation": mapped.operation.value, "name": name, "when": _condition(mapped.when)}


def _condition(when: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in when.items())


def _load(path: Path) -> OperationMapping:
    """Exits with code 1 where the file has faults, and with 2 where it cannot be read."""
    try:
        return load_mapping(path)
    except Misconfigured as error:
        code = ExitCode.FINDINGS if path.is_file() else ExitCode.CANNOT_RUN
        raise typer.Exit(print_error(error.sentence, code=code)) from None
