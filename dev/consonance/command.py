"""``python -m dev.consonance``: the options of the simulator."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from standardwebhooks import Webhook

from dev.consonance.app import serve
from dev.consonance.schema import Profile
from dev.consonance.simulator import ConsonanceOptions

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _webhook_secret(text: str) -> str:
    try:
        Webhook(text)
    except ValueError as error:
        raise typer.BadParameter("expected whsec_ and base64") from error
    return text


@app.command()
def main(
    *,
    port: Annotated[int, typer.Option(help="0 picks a free one; the ready line names it.")],
    webhook_secret: Annotated[
        str, typer.Option(parser=_webhook_secret, metavar="whsec_…", help="What pushed events are signed with.")
    ],
    key: Annotated[str, typer.Option(help="The bearer key of a client.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    webhook_url: Annotated[
        str | None, typer.Option(help="Where events are pushed; without it every push counts as refused.")
    ] = None,
    profile: Annotated[Profile, typer.Option(help="Which part of the API there is.")] = Profile.EXTENDED,
    development_clock: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Business time; the machine's where absent.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the backlist around the works of the stories.")] = 7,
    tenant: Annotated[str, typer.Option(help="The last part of every event's source.")] = "penrose",
    extra_records: Annotated[
        Path | None, typer.Option(metavar="FILE", help="More contacts and works (dev/consonance/seed_data.py).")
    ] = None,
) -> None:
    """Serve a stand-in for Consonance's GraphQL API, on loopback unless told otherwise."""
    options = ConsonanceOptions(
        key=key,
        webhook_secret=webhook_secret,
        webhook_url=webhook_url,
        host=host,
        port=port,
        profile=profile,
        development_clock=development_clock,
        seed=seed,
        tenant=tenant,
        extra_records=extra_records,
    )
    run(options)


def run(options: ConsonanceOptions) -> None:
    """Serve until a signal ends it."""
    asyncio.run(serve(options))
