"""The command line ``stet``, run in this process; output goes where capsys reads it."""

from ops.__main__ import app

WHY = ("--reason", "a test")


def run_stet(*arguments: str) -> int:
    """Returns the exit code."""
    try:
        app(list(arguments), prog_name="stet")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
