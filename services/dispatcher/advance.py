"""One way for news to reach the ledger: lock the messages, let the state machine take each step, save and announce."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from services.dispatcher.announce import Origin, event_of
from services.dispatcher.hold_store import HoldStore
from services.dispatcher.holds import Target
from services.dispatcher.ledger import Ledger
from services.dispatcher.outcomes import Faulted
from services.dispatcher.people import People
from services.dispatcher.standing import Ended, Standing, Step
from shared.contracts.envelope import Event
from shared.contracts.ids import EventId, TenantId
from shared.contracts.messages import Wording
from shared.contracts.topics import MESSAGES_EVENTS
from shared.runtime.transaction import Transaction

_WINDOW_WAS_CLOSED = 131047  # Meta: more than 24 hours since the person's last message


class Change(Struct, frozen=True):
    """What a piece of news makes of one message; ``cause`` is the event that brought it."""

    message_id: str
    make: Callable[[Standing], Step]
    cause: EventId | None = None


@dataclass(slots=True)
class _Fold:
    """The changes of one transaction, in order; ``standings`` begins as loaded and ends as it is to be."""

    standings: dict[str, Standing]
    moved: dict[str, Standing] = field(default_factory=dict)
    endings: dict[tuple[str, int], Ended] = field(default_factory=dict)
    failures: list[tuple[Faulted, Target]] = field(default_factory=list)

    def take(self, change: Change) -> Step | None:
        before = self.standings.get(change.message_id)
        if before is None:
            return None
        step = change.make(before)
        if step.ended is not None:
            self.endings[change.message_id, step.ended.attempt] = step.ended
        if step.failure is not None:
            self.failures.append((step.failure, _target_of(before)))
        if step.standing is not before:
            self.standings[change.message_id] = self.moved[change.message_id] = step.standing
        return step


@dataclass(frozen=True, slots=True)
class Progress:
    """Stateless: each call works in the transaction it is given."""

    tenant: TenantId
    ledger: Ledger
    people: People

    async def advance(self, tx: Transaction, changes: Sequence[Change]) -> Mapping[str, Standing]:
        """Where the messages stand afterwards; those nobody knows are missing."""
        if not changes:
            return {}
        kept = await self.ledger.load(tx.connection, (change.message_id for change in changes))
        fold = _Fold({message_id: standing for message_id, (standing, _) in kept.items()})
        for change in changes:
            step = fold.take(change)
            for event in self._events(tx, step, change, kept) if step is not None else ():
                tx.publish(MESSAGES_EVENTS, event)
        await self._save(tx, fold)
        return fold.standings

    def _events(
        self, tx: Transaction, step: Step, change: Change, kept: Mapping[str, tuple[Standing, Origin]]
    ) -> Sequence[Event]:
        origin = kept[change.message_id][1]
        attempts = step.standing.attempts
        return [event_of(news, attempts, origin, self.tenant, tx.now, change.cause) for news in step.news]

    async def _save(self, tx: Transaction, fold: _Fold) -> None:
        if fold.moved:
            await self.ledger.save(tx.connection, list(fold.moved.values()), tx.now)
        if fold.endings:
            await self.ledger.end_attempts(tx.connection, fold.endings, tx.now)
        if fold.failures:
            await HoldStore(self.tenant).learn(tx, fold.failures)
        closed = [attempt for attempt, ended in fold.endings.items() if ended.code == _WINDOW_WAS_CLOSED]
        if closed:
            await self.people.close_windows(tx.connection, closed)


def _target_of(standing: Standing) -> Target:
    template = standing.template if standing.wording is Wording.TEMPLATE else None
    return Target(standing.line, standing.person_id, template)
