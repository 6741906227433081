"""A publisher's own as values: its people, its calendar, its choices. All frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from services.rules.terms import Severity
from shared.clients.working_calendar import Duration
from shared.contracts.ids import ContactId


@dataclass(frozen=True, slots=True)
class StandIn:
    """``who`` answers for ``absent``: in these roles (none: all), between these days, both inclusive (none: always)."""

    absent: ContactId
    who: ContactId
    roles: frozenset[str] = frozenset()
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Who fills a role when an event does not say: Consonance contact ids by team and role, by imprint first."""

    teams: Mapping[str, Mapping[str, tuple[ContactId, ...]]]
    imprints: Mapping[int, Mapping[str, tuple[ContactId, ...]]]
    milestones: Mapping[str, tuple[str, ...]]
    stands_in: tuple[StandIn, ...]
    inbox: str


class Basis(StrEnum):
    """Why we may write to somebody in this role."""

    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OPT_IN = "opt_in"


@dataclass(frozen=True, slots=True)
class Brake:
    """How many unasked messages of one person are answered, and how many start rules, ``within`` a while."""

    answers: int = 5
    chains: int = 20
    within: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Tenant:
    """House words and choices: ``house.yaml`` and ``limits.yaml``.

    ``languages`` is by country; ``words`` are the readable forms of codes, by language.
    """

    publisher: Mapping[str, str]
    language: str
    languages: Mapping[str, str]
    default_line: str
    links: Mapping[str, str]
    basis: Mapping[str, Basis]
    staff_pass: Severity | None
    taken_for: Duration
    send_within: Duration
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    brake: Brake = Brake()
