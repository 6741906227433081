"""The parts of the simulator put together, and the reset that replaces all but the wiring."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from dev.whatsapp.chance import Chance
from dev.whatsapp.directory import BusinessLines, WhatsAppPeople
from dev.whatsapp.faults import SendFaults
from dev.whatsapp.limits import ProviderLimits
from dev.whatsapp.media import MediaFiles
from dev.whatsapp.messages import Counts, MessageLog
from dev.whatsapp.network import Network, Schedule
from dev.whatsapp.scripted_people import Scripts
from dev.whatsapp.template_account import TemplateAccount
from dev.whatsapp.templates import RegisteredTemplate, TemplateRegistry
from dev.whatsapp.webhooks import Webhooks
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatsAppOptions:
    """``keep`` caps the messages held for inspection (None: all of them); ``templates`` are there from the start."""

    app_secret: str = field(repr=False)
    token: str = field(repr=False)
    verify_token: str = field(repr=False)
    business_account: str
    lines: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 0
    webhook_url: str | None = None
    development_clock: Path | None = None
    seed: int = 7
    disorder: float = 0.3
    fast: bool = False
    keep: int | None = None
    per_second: int = 80
    accept_any_template: bool = False
    templates: Sequence[RegisteredTemplate] = ()
    review_seconds: float = 60.0
    app: str = "670843887433847"
    require_app_secret: bool = False


@dataclass(slots=True)
class DeliverySettings:
    """The settings the control API may change."""

    webhook_url: str | None
    disorder: float
    subscribed: bool = True  # our app to the account


class WhatsAppSimulator:
    def __init__(self, options: WhatsAppOptions) -> None:
        self.options = options
        self.lines = BusinessLines(options.lines)
        self.chance = Chance(options.seed)
        self.delivery = DeliverySettings(options.webhook_url, options.disorder)
        clock_file = options.development_clock
        self.clock: Clock = DevelopmentClock(clock_file) if clock_file else SystemClock()
        self.schedule = Schedule(self.clock)
        self.webhooks = Webhooks(
            options.business_account, options.app_secret, self.delivery, self.chance, strict=not options.fast
        )
        self._busy: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        options = self.options
        self.delivery.webhook_url, self.delivery.disorder = options.webhook_url, options.disorder
        self.delivery.subscribed = True
        self.counters = Counts()
        self.qualities: dict[str, str] = {}  # of lines whose number is not GREEN
        self.upgraded: set[str] = set()  # lines whose number has the higher throughput
        self.people_a_day: str | None = None  # such as TIER_250
        self.faults = SendFaults()
        self.templates = TemplateRegistry(accept_any=options.accept_any_template)
        for template in options.templates:
            self.templates.add(template)
        self.people = WhatsAppPeople(self.chance)
        self.schedule.clear()
        review = timedelta(seconds=options.review_seconds)
        self.template_account = TemplateAccount(
            self.templates, self.clock, self.chance, self.schedule, self.webhooks, review
        )
        self.webhooks.forget(self.counters)
        self.network = Network(
            clock=self.clock,
            chance=self.chance,
            delivery=self.delivery,
            wire=self.webhooks,
            lines=self.lines,
            people=self.people,
            limits=ProviderLimits(per_second=options.per_second, lifted=options.fast),
            message_log=MessageLog(options.keep),
            media=MediaFiles(),
            scripts=Scripts(),
            schedule=self.schedule,
            counters=self.counters,
        )

    @contextmanager
    def busy(self, reason: str) -> Iterator[None]:
        """Work that will change something is going on."""
        self._busy[reason] += 1
        try:
            yield
        finally:
            self._busy[reason] -= 1

    def busy_tasks(self) -> list[str]:
        """Empty once everything due has been done and every update has been answered 200."""
        self.schedule.run_due()
        waiting = self.webhooks.undelivered
        reasons = [f"{reason}: {number}" for reason, number in self._busy.items() if number]
        return [*reasons, *([f"webhooks: {waiting}"] if waiting else [])]
