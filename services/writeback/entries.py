"""A write as the ledger knows it: the request, where it stands, and what has been tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.writeback.protocol import Answer, Attempt
from shared.contracts.ids import TenantId
from shared.contracts.writes import RequestWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``lane``: the partition key, and what is locked; ``looks``: looks in a row that settled nothing;
    ``failed_reads``: the latest of them, in a row, that Consonance answered with errors.

    ``before``: what each change found before the first attempt; ``said``: the far side's words about the latest one,
    while the process that heard them lives.
    """

    tenant: TenantId
    write: RequestWrite
    lane: str
    event_id: str
    correlation_id: str | None = None
    traceparent: str | None = None
    once_key: str | None = None
    attempt: Attempt | None = None
    looks: int = 0
    failed_reads: int = 0
    unknown_told: bool = False
    before: Mapping[str, str | None] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    @property
    def attempts(self) -> int:
        return self.attempt.number if self.attempt is not None else 0


def attempt_of(number: int, answer: str | None, asked_at: datetime | None) -> Attempt | None:
    if number == 0 or answer is None or asked_at is None:
        return None
    return Attempt(number, Answer(answer), asked_at)
