"""``python -m ops``: the command line for operators of Stet. ``--help`` of each command says what it does."""

from ops import asyncapi, chains, migrate, parked, sends, tasks, topics
from ops.command_line import command_group

app = command_group(
    "Operate Stet: parked records, sends, tasks, evidence, chains, topics, schemas, and their description."
)
app.add_typer(parked.app, name="parked")
app.add_typer(sends.app, name="sends")
app.add_typer(tasks.app, name="tasks")
app.add_typer(tasks.evidence_app, name="evidence")
app.add_typer(chains.app, name="chains")
app.add_typer(topics.app, name="topics")
app.command("migrate")(migrate.migrate_command)
app.command("asyncapi")(asyncapi.asyncapi_command)

if __name__ == "__main__":
    app(prog_name="python -m ops")
