"""The simulator's parts put together, and the reset that replaces all but the wiring."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dev.whatsapp.chance import Chance
from dev.whatsapp.faults import Faults
from dev.whatsapp.ledger import Ledger, Tally
from dev.whatsapp.limits import Limits
from dev.whatsapp.lines import Lines
from dev.whatsapp.network import Network
from dev.whatsapp.options import Options
from dev.whatsapp.people import People
from dev.whatsapp.schedule import Schedule
from dev.whatsapp.scripts import Scripts
from dev.whatsapp.templates import Templates
from dev.whatsapp.webhooks import Webhooks
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock


@dataclass(slots=True)
class Trouble:
    """The settings the control API may change."""

    webhook_url: str | None
    disorder: float


class Simulator:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.lines = Lines(options.lines)
        self.chance = Chance(options.seed)
        self.trouble = Trouble(options.webhook_url, options.disorder)
        clock_file = options.development_clock
        self.clock: Clock = DevelopmentClock(clock_file) if clock_file else SystemClock()
        self.schedule = Schedule(self.clock)
        self.webhooks = Webhooks(
            options.business_account, options.app_secret, self.trouble, self.chance, strict=not options.fast
        )
        self._at_work: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        options = self.options
        self.trouble.webhook_url, self.trouble.disorder = options.webhook_url, options.disorder
        self.tally = Tally()
        self.faults = Faults()
        self.templates = Templates(accept_any=options.accept_any_template)
        self.people = People(self.chance)
        self.schedule.clear()
        self.webhooks.forget(self.tally)
        self.network = Network(
            clock=self.clock,
            chance=self.chance,
            trouble=self.trouble,
            wire=self.webhooks,
            lines=self.lines,
            people=self.people,
            limits=Limits(per_second=options.per_second, lifted=options.fast),
            ledger=Ledger(options.keep),
            scripts=Scripts(),
            schedule=self.schedule,
            tally=self.tally,
        )

    @contextmanager
    def busy(self, reason: str) -> Iterator[None]:
        """Work that will change something is going on."""
        self._at_work[reason] += 1
        try:
            yield
        finally:
            self._at_work[reason] -= 1

    def what_is_busy(self) -> list[str]:
        """Empty once everything due has been done and every update has been answered 200."""
        self.schedule.run_due()
        waiting = self.webhooks.undelivered
        reasons = [f"{reason}: {number}" for reason, number in self._at_work.items() if number]
        return [*reasons, *([f"webhooks: {waiting}"] if waiting else [])]
