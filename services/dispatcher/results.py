"""Results: what many sends came to, written in one transaction with the events that tell of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec import Struct

from services.dispatcher.advance import Change, Progress
from services.dispatcher.claims import Intent
from services.dispatcher.evidence import Proofs
from services.dispatcher.hold_store import HoldStore
from services.dispatcher.holds import Changes
from services.dispatcher.outcomes import Outcome, Taken
from services.dispatcher.receipts import answered
from services.dispatcher.setting_aside import each
from services.dispatcher.standing import Delay, Standing, Step, dropped
from services.dispatcher.states import Reason
from shared.runtime.clock import Clock
from shared.runtime.postgres import Pool
from shared.runtime.transaction import Transaction, transaction

SERVICE = "dispatcher"


class Result(Struct, frozen=True):
    """``delay`` is when the message may go again, if its outcome lets it."""

    intent: Intent
    outcome: Outcome
    delay: Delay


@dataclass(frozen=True, slots=True)
class Records:
    pool: Pool
    clock: Clock
    progress: Progress
    proofs: Proofs
    holds: HoldStore

    async def write(self, results: Sequence[Result], holds: Changes) -> None:
        """With ``holds``, what the results stop: neither is kept without the other."""
        async with transaction(self.pool, self.clock, SERVICE) as tx:
            changes = [Change(result.intent.message_id, partial(_answered, result, tx)) for result in results]
            await self.progress.advance(tx, changes)
            await self.proofs.catch_up(
                tx, [result.outcome.wamid for result in results if isinstance(result.outcome, Taken)]
            )
            await self.holds.write(tx.connection, holds)

    async def drop(self, drops: Sequence[tuple[str, Reason]]) -> None:
        """Only what still waits is dropped."""
        reasons = dict(drops)
        await each("drop", self.pool, self.progress.tenant, list(reasons), lambda ids: self._drop(ids, reasons))

    async def _drop(self, message_ids: Sequence[str], reasons: Mapping[str, Reason]) -> None:
        async with transaction(self.pool, self.clock, SERVICE) as tx:
            await self.progress.advance(
                tx, [Change(message_id, partial(_dropped, reasons[message_id], tx)) for message_id in message_ids]
            )


def _answered(result: Result, tx: Transaction, standing: Standing) -> Step:
    return answered(standing, result.intent.attempt, result.outcome, result.delay, tx.now)


def _dropped(reason: Reason, tx: Transaction, standing: Standing) -> Step:
    return dropped(standing, reason, tx.now)
