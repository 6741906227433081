"""Where the settings of a command come from: ``STET_…`` variables, or the document of a stack on this machine.

``make up`` writes ``.run/stack.json`` with the environment of each of its services, ``RUN=name make up``
``.run/name/stack.json``. It is used where ``--stack`` names it, or where no ``STET_…`` variable is set and it is there.
No stack says who the operator is.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts.errors import Misconfigured
from shared.runtime.setting_names import PREFIX

DEFAULT_STACK = Path(".run/stack.json")
RUN_VARIABLE = "RUN"
OPERATOR_VARIABLE = "STET_OPERATOR"


class StackDocument(msgspec.Struct, frozen=True):
    """The part of ``stack.json`` that is used: the address of a health port and the settings, by service."""

    health_urls: dict[str, str]
    environments: dict[str, dict[str, str]]
    settings: dict[str, str]


_found: list[StackDocument] = []


def use_stack(path: Path | None) -> Path | None:
    """Put the settings of a stack in place of the environment's, and return its file where ``path`` did not name it.

    Raises Misconfigured for a file that is none.
    """
    own = {name for name in os.environ if name.startswith(PREFIX) and name != OPERATOR_VARIABLE}
    default = _default_stack()
    if path is None and (own or not default.exists()):
        return None
    document = _read(path or default)
    for name in own:
        del os.environ[name]
    os.environ.update(document.settings)
    _found[:] = [document]
    return default if path is None else None


def _default_stack() -> Path:
    """The document of the stack that RUN names, as for ``make up``."""
    name = os.environ.get(RUN_VARIABLE)
    return DEFAULT_STACK.parent / name / DEFAULT_STACK.name if name else DEFAULT_STACK


def stack_advice() -> str:
    """Advice for a missing setting; empty where the settings are those of a stack."""
    if _found:
        return ""
    running = sorted(DEFAULT_STACK.parent.glob(f"*/{DEFAULT_STACK.name}"))
    example = f", such as {running[0]}" if running else ""
    return f"; or let --stack, before the command, name the stack.json of a stack{example}"


def current_stack() -> StackDocument | None:
    """The stack whose settings are in use, if they are a stack's."""
    return _found[0] if _found else None


def _read(path: Path) -> StackDocument:
    try:
        content: Any = path.read_bytes()
    except OSError as error:
        raise Misconfigured("--stack", f"{path}: {error.strerror}; is the stack running (make up)?") from None
    try:
        return msgspec.json.decode(content, type=StackDocument)
    except msgspec.MsgspecError as error:
        raise Misconfigured("--stack", f"{path} is not the document of a running stack: {error}") from None
