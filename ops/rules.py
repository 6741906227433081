"""The rule files: ``stet rules check`` reads a folder, names every fault and plays its stories."""

from ops.command_line import command_group
from services.rules import check

app = command_group("The rule files.")
app.command("check", help=check.DESCRIPTION, epilog=check.EPILOG)(check.check)


@app.callback()
def _rules_group() -> None:
    """Keep ``check`` a sub-command although it is the only one."""
