"""The command line of the simulator, read once into one value."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_KEPT_WHEN_FAST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``keep`` caps the messages held for inspection (None: all of them)."""

    app_secret: str = field(repr=False)
    token: str = field(repr=False)
    verify_token: str = field(repr=False)
    business_account: str
    lines: Mapping[str, str]
    port: int = 0
    webhook_url: str | None = None
    development_clock: Path | None = None
    seed: int = 7
    disorder: float = 0.3
    fast: bool = False
    keep: int | None = None
    per_second: int = 80
    accept_any_template: bool = False


def parse(arguments: Sequence[str]) -> Options:
    given = _parser().parse_args(arguments)
    values = vars(given)
    if given.fast:
        values["disorder"] = 0.0
        values["keep"] = _KEPT_WHEN_FAST if given.keep is None else given.keep
    return Options(**values)


def _parser() -> ArgumentParser:
    parser = ArgumentParser("dev.whatsapp", description="A stand-in for the WhatsApp Cloud API, on loopback.")
    say = parser.add_argument
    say("--port", type=int, required=True, help="0 picks a free one; the ready line names it")
    say("--webhook-url", help="where updates are posted; without it none are")
    say("--app-secret", required=True)
    say("--verify-token", required=True)
    say("--token", required=True, help="the bearer token of a sender")
    say("--business-account", required=True, metavar="WABA")
    say("--lines", type=_lines, required=True, metavar="NAME=ID,…")
    say("--development-clock", type=Path, metavar="FILE", help="business time; the machine's where absent")
    say("--seed", type=int, default=7)
    say("--disorder", type=_share, default=0.3, help="0 to 1: how much webhooks are mixed, repeated and skipped")
    say("--fast", action="store_true", help="no disorder, limits lifted, few messages kept; for benches")
    say("--keep", type=int, help="messages held for inspection")
    say("--per-second", type=int, default=80, help="sends a second and number")
    say("--accept-any-template", action="store_true")
    return parser


def _lines(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and number_id.isdecimal() for name, _, number_id in pairs):
        raise ArgumentTypeError("expected name=phone_number_id, separated by commas")
    return {name: number_id for name, _, number_id in pairs}


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ArgumentTypeError("expected a number from 0 to 1")
    return share
