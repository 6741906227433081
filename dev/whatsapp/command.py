"""``python -m dev.whatsapp``: the options of the simulator."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from dev.whatsapp.app import serve
from dev.whatsapp.simulator import WhatsAppOptions
from dev.whatsapp.templates import RegisteredTemplate

_KEPT_WHEN_FAST = 10_000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _lines(text: str) -> dict[str, str]:
    """Phone number ids by the name of their line, from ``name=id,…``."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and number_id.isdecimal() for name, _, number_id in pairs):
        raise typer.BadParameter("expected name=phone_number_id, separated by commas")
    return {name: number_id for name, _, number_id in pairs}


def _templates_of(rules: Path) -> tuple[RegisteredTemplate, ...]:
    from dev.templates import template_documents  # noqa: PLC0415 -- the rule language; most runs need none of it

    return tuple(RegisteredTemplate.model_validate(document) for document in template_documents(rules))


@app.command()
def main(
    *,
    port: Annotated[int, typer.Option(help="0 picks a free one; the ready line names it.")],
    app_secret: Annotated[str, typer.Option(help="What webhooks are signed with.")],
    verify_token: Annotated[str, typer.Option(help="Sent when the webhook's address is verified.")],
    token: Annotated[str, typer.Option(help="The bearer token of a sender.")],
    business_account: Annotated[str, typer.Option(metavar="WABA", help="The WhatsApp business account.")],
    lines: Annotated[dict, typer.Option(parser=_lines, metavar="NAME=ID,…", help="Phone number ids by line.")],  # type: ignore[type-arg]
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    webhook_url: Annotated[str | None, typer.Option(help="Where updates are posted; without it none are.")] = None,
    development_clock: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Business time; the machine's where absent.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the disorder.")] = 7,
    disorder: Annotated[
        float, typer.Option(min=0, max=1, help="How much webhooks are mixed, repeated and skipped.")
    ] = 0.3,
    fast: Annotated[
        bool, typer.Option("--fast", help="No disorder, limits lifted, few messages kept; for benches.")
    ] = False,
    keep: Annotated[int | None, typer.Option(help="Messages held for inspection; all where absent.")] = None,
    per_second: Annotated[int, typer.Option(help="Sends a second and number.")] = 80,
    accept_any_template: Annotated[
        bool, typer.Option("--accept-any-template", help="Send templates that are not registered, too.")
    ] = False,
    review_seconds: Annotated[float, typer.Option(min=0, help="How long the review of a template takes.")] = 60.0,
    rules: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Rules whose templates are registered from the start.")
    ] = None,
) -> None:
    """Serve a stand-in for the WhatsApp Cloud API, on loopback unless told otherwise."""
    if fast:
        disorder, keep = 0.0, _KEPT_WHEN_FAST if keep is None else keep
    options = WhatsAppOptions(
        app_secret=app_secret,
        token=token,
        verify_token=verify_token,
        business_account=business_account,
        lines=lines,
        host=host,
        port=port,
        webhook_url=webhook_url,
        development_clock=development_clock,
        seed=seed,
        disorder=disorder,
        fast=fast,
        keep=keep,
        per_second=per_second,
        accept_any_template=accept_any_template,
        review_seconds=review_seconds,
        templates=() if rules is None else _templates_of(rules),
    )
    run(options)


def run(options: WhatsAppOptions) -> None:
    """Serve until a signal ends it."""
    uvloop.run(serve(options))
