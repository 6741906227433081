"""Fails where a function, class or import is used nowhere: ``python -m dev.unused_code``.

Vulture finds them. Fields and enum members are left out: contracts declare more of those than our own code reads.
"""

import sys

import typer
from vulture import Vulture
from vulture.core import Item

from dev.layout import ROOT

FOLDERS = ("services", "shared", "ops", "dev", "bench", "tests")
_KINDS = frozenset({"class", "function", "method", "property", "import", "unreachable_code"})
_CONFIDENCE = 60  # per cent; vulture's value for a name that it sees nowhere else

CALLED_BY_LIBRARIES = (
    # asyncio.Protocol
    "connection_made", "connection_lost", "data_received", "eof_received", "pause_writing", "resume_writing",
    "on_*",  # httptools, aiokafka's rebalance listener
    "enter_*", "leave_*",  # graphql-core's visitors
    "pytest_*",
    "*_command", "list_commands",  # ops.lazy_commands finds commands by name; typer asks for the list
    "IntrospectionQuery", "ThenSection",  # named in strings: typing.cast, an annotation ahead of its class
    "__*__",
)  # fmt: skip
DECORATORS = ("@*validator", "@*.fixture", "@pytest_asyncio.*", "@*.command", "@*.callback", "@*.set_field", "@*.field")


def unused() -> list[Item]:
    """Every unused function, method, class and import of the tree, by place."""
    vulture = Vulture(ignore_names=list(CALLED_BY_LIBRARIES), ignore_decorators=list(DECORATORS))
    vulture.scavenge([str(ROOT / folder) for folder in FOLDERS if (ROOT / folder).exists()])
    return [item for item in vulture.get_unused_code(min_confidence=_CONFIDENCE) if item.typ in _KINDS]


def main() -> None:
    """List what is used nowhere; exits 1 where something is."""
    found = unused()
    for item in found:
        place = item.filename.relative_to(ROOT)
        print(f"{place}:{item.first_lineno}: nothing uses the {item.typ} {item.name}", file=sys.stderr)
    raise typer.Exit(int(bool(found)))


if __name__ == "__main__":
    typer.run(main)
