"""``stet``, the command line for operators; also ``python -m ops``. ``--help`` of each command says what it does.

A new command is a module of this package and a line of ``COMMANDS``.
"""

from shared.runtime.startup import collect_garbage_seldom, end_on_interrupt, raise_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take tenths of a second
    collect_garbage_seldom()

from pathlib import Path
from typing import Annotated

import typer

from ops.command_line import ExitCode, print_error
from ops.environment import use_stack
from ops.lazy_commands import LazyCommand, LazyCommands
from shared.contracts.errors import Misconfigured
from shared.runtime.setting_names import PREFIX

_HELP = """\
Answers an operator's questions about a running Stet, and changes it.

Settings are the STET_… variables of the services (docs/operations/settings.md), or files in STET_SECRETS_DIR. \
Where no such variable is set and .run/stack.json is there, the stack of `make up` is meant; with RUN=name \
.run/name/stack.json, that of `RUN=name make up`.

Exit codes: 0 fine; 1 something was found, or was not; 2 the command cannot run, and says which setting is at fault. \
Errors go to standard error."""

_ASK, _CHANGE, _SETTLE, _SET_UP = "Ask", "Change", "Settle by hand", "Set up"

COMMANDS = (
    LazyCommand(
        "status",
        "Show what is open, overdue, left out, parked, uncertain, paused, and what needs a person.",
        _ASK,
        attribute="status_command",
    ),
    LazyCommand(
        "trace",
        "Show the whole life of a message, event, write, chain or person on one time line.",
        _ASK,
        attribute="trace_command",
    ),
    LazyCommand("why", "Say why a person got a message about a subject, or did not.", _ASK, attribute="why_command"),
    LazyCommand(
        "doctor",
        "Check every setting, secret, neighbour and right of a service's environment, and say what to do.",
        _ASK,
        attribute="doctor_command",
    ),
    LazyCommand("lines", "The WhatsApp numbers: what waits on each, and what holds it.", _ASK),
    LazyCommand(
        "cost",
        "Show what the messages of a month or a period cost, by category, country, rule and line.",
        _ASK,
        attribute="cost_command",
    ),
    LazyCommand(
        "pause",
        "Hold a line, a template, a rule or everything; what is held says so, and is not lost.",
        _CHANGE,
        module="pauses",
        attribute="pause_app",
    ),
    LazyCommand("resume", "Let go on what was paused.", _CHANGE, module="pauses", attribute="resume_app"),
    LazyCommand(
        "drain",
        "Pause the tenant, wait until nothing is under way, and say what is left in the queues.",
        _CHANGE,
        attribute="drain_command",
    ),
    LazyCommand("parked", "Records that a service could not handle.", _SETTLE),
    LazyCommand("sends", "Sends that nothing proves.", _SETTLE),
    LazyCommand("tasks", "Writes that a person must do in Consonance.", _SETTLE),
    LazyCommand("evidence", "The proof of each approval and write: `stet evidence RECORD` exports it.", _ASK),
    LazyCommand("chains", "Chains that were set aside.", _SETTLE),
    LazyCommand("consent", "On which ground people may be written to, and their opt-ins.", _CHANGE),
    LazyCommand(
        "audit-log",
        "List what operators changed, and read of people: who did it and why, the newest first.",
        _ASK,
        module="changes",
        attribute="audit_log_command",
    ),
    LazyCommand("audit", "List what the conservation audit found missing.", _ASK, attribute="audit_command"),
    LazyCommand("rules", "The rule files.", _SET_UP),
    LazyCommand(
        "templates", "The message templates of the rules, and those of the WhatsApp business account.", _SET_UP
    ),
    LazyCommand(
        "mapping",
        "How writes go into your Consonance: the mapping file, and what your Consonance takes of it.",
        _SET_UP,
    ),
    LazyCommand(
        "erase",
        "Erase a person from every table, topic and stored file within a day.",
        _CHANGE,
        module="people",
        attribute="erase_command",
    ),
    LazyCommand(
        "export",
        "Print everything that is kept about a person: the report for a request of access.",
        _ASK,
        module="people",
        attribute="export_command",
    ),
    LazyCommand("topics", "The topics of Stet on STET_KAFKA_BOOTSTRAP.", _SET_UP),
    LazyCommand("migrate", "Create or update the schemas in STET_POSTGRES_DSN.", _SET_UP, attribute="migrate_command"),
    LazyCommand(
        "settings",
        "List every setting: who reads it, its type, its default and its meaning.",
        _SET_UP,
        attribute="settings_command",
    ),
    LazyCommand(
        "command-reference",
        "Print the reference of all commands as Markdown.",
        _SET_UP,
        attribute="command_reference_command",
    ),
    LazyCommand("asyncapi", "Print the AsyncAPI description of all topics.", _SET_UP, attribute="asyncapi_command"),
    LazyCommand(
        "openapi",
        "Print the OpenAPI description of the endpoint for pushed events.",
        _SET_UP,
        attribute="openapi_command",
    ),
)
"""Every command and group, in the order of the help: its name, its first sentence, and where it is."""

app = typer.Typer(
    cls=LazyCommands.of(COMMANDS),
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _choose_settings(
    stack: Annotated[
        Path | None, typer.Option("--stack", metavar="FILE", help="Use the settings of a stack: .run/stack.json.")
    ] = None,
) -> None:
    try:
        found = use_stack(stack)
    except Misconfigured as error:
        raise typer.Exit(print_error(str(error), code=ExitCode.CANNOT_RUN)) from None
    if found is not None:
        print_error(f"(settings of {found}: no {PREFIX}… variable is set)")


if __name__ == "__main__":
    raise_on_interrupt()
    app(prog_name="stet")
