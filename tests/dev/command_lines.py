"""Reading a simulator's command line without starting it."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch


def options_of(command: ModuleType, arguments: Sequence[str]) -> Any:
    """The options that ``command`` (``dev.whatsapp.command``, ``dev.consonance.command``) would start with.

    Raises SystemExit where the arguments are wrong; standard error then names the option.
    """
    with patch.object(command, "run") as run:
        try:
            command.app(list(arguments))
        except SystemExit as end:
            if end.code:
                raise
    (options,) = run.call_args.args
    return options
