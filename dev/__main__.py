"""``python -m dev`` is ``make up``; the name of the stack comes from RUN."""

from typing import Annotated

import typer

from dev import up


def main(
    name: Annotated[str, typer.Option(envvar="RUN", help="The name of the stack; another runs beside it.")] = "",
) -> None:
    """Run the four services on a real broker, database and simulators until Ctrl-C; .run/stack.json says where."""
    raise typer.Exit(up.main(name))


if __name__ == "__main__":
    typer.run(main)
