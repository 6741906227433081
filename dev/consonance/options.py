"""The command line of the simulator, read once into one value."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.consonance.schema import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    webhook_url: str | None = None
    port: int = 0
    profile: Profile = Profile.EXTENDED
    development_clock: Path | None = None
    seed: int = 7
    tenant: str = "penrose"
    crowd: Path | None = None


def parse(arguments: Sequence[str]) -> Options:
    return Options(**vars(_parser().parse_args(arguments)))


def _parser() -> ArgumentParser:
    parser = ArgumentParser("dev.consonance", description="A stand-in for Consonance's GraphQL API, on loopback.")
    say = parser.add_argument
    say("--port", type=int, required=True, help="0 picks a free one; the ready line names it")
    say("--webhook-url", help="where events are pushed; without it every push counts as refused")
    say("--webhook-secret", required=True, metavar="whsec_…")
    say("--key", required=True, help="the bearer key of a client")
    say("--profile", type=Profile, choices=list(Profile), default=Profile.EXTENDED)
    say("--development-clock", type=Path, metavar="FILE", help="business time; the machine's where absent")
    say("--seed", type=int, default=7, help="of the list around the cast of the stories")
    say("--tenant", default="penrose", help="the last part of every event's source")
    say("--crowd", type=Path, metavar="FILE", help="more contacts and works (dev/consonance/crowd.py)")
    return parser
