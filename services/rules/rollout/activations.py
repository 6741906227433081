"""The log of activations: one revision is in force at a time, and each partition switches to it at one point.

A batch reads the newest activation in its own transaction, after it has locked the progress of its partitions and the
keys of its events. Due chains and waiting events do the same after locking their keys. So the batches of a partition
see activations in the order of the log, whichever replica applies them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from shared.contracts.ids import Revision, TenantId
from shared.runtime.batch import ReceivedEvent
from shared.runtime.postgres import Connection, Pool, advisory_lock_key, load_queries

QUERIES = load_queries(__file__, "rollout.sql")

_KEPT_ACTIVATIONS = 200
_SHARES = 2**32


class ActivationCause(StrEnum):
    SOURCE = "source"
    PROMOTED = "promoted"


class TrialKind(StrEnum):
    SHADOW = "shadow"
    CANARY = "canary"


class TrialResult(StrEnum):
    """How a trial ended; ``turned_back`` by itself, ``replaced`` by another trial of its kind."""

    PROMOTED = "promoted"
    ABORTED = "aborted"
    TURNED_BACK = "turned_back"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Activation:
    """``commit`` is None where it was not given; ``activated_at`` is machine time."""

    number: int
    revision: Revision
    commit: str | None
    activated_at: datetime


@dataclass(frozen=True, slots=True)
class Trial:
    """A revision that is tried. ``imprints`` go before ``share``, which is a share of the works from 0 to 1."""

    number: int
    kind: TrialKind
    revision: Revision
    commit: str | None
    share: float
    imprints: tuple[int, ...]


def in_share(trial: Trial, key: str, imprint: Callable[[], object]) -> bool:
    """Whether a canary decides for a partition key; always the same for one key, and for more keys in a larger share.

    Where the trial names imprints, it is for the works of those and for nothing else; ``imprint`` is asked only then.
    """
    if trial.imprints:
        return imprint() in trial.imprints
    place = int.from_bytes(blake2b(key.encode(), digest_size=4, person=b"canary").digest(), "big")
    return place < trial.share * _SHARES


async def lock_log(connection: Connection, tenant: TenantId) -> None:
    """Lock the log: until the transaction ends no other session activates a revision, or begins or ends a trial."""
    await connection.execute(QUERIES.lock_log, advisory_lock_key(f"stet/rules/rollout/{tenant}"))


async def read_log(connection: Connection, tenant: TenantId) -> tuple[Activation | None, tuple[Trial, ...]]:
    """The activation in force, None before the first, and the open trials."""
    rows = await connection.fetch(QUERIES.in_force, tenant)
    if not rows:
        return None, ()
    first = rows[0]
    activation = Activation(first["number"], Revision(first["revision"]), first["commit"], first["activated_at"])
    trials = tuple(
        Trial(
            row["trial"],
            TrialKind(row["kind"]),
            Revision(row["trial_revision"]),
            row["trial_commit"],
            row["share"],
            tuple(row["imprints"]),
        )
        for row in rows
        if row["trial"] is not None
    )
    return activation, trials


class SwitchPoints:
    """The offsets from which partitions use an activation; each is written once, with the batch that begins there."""

    def __init__(self) -> None:
        self._recorded: dict[tuple[str, int], int] = {}

    async def record(self, connection: Connection, batch: Sequence[ReceivedEvent], activation: int) -> None:
        """Record them in the transaction of a batch. Where that fails it is repeated, which does no harm."""
        new: dict[tuple[str, int], int] = {}
        for received in batch:
            partition = (received.topic.name, received.partition)
            if self._recorded.get(partition) != activation:
                new[partition] = min(received.offset, new.get(partition, received.offset))
        if new:
            await _record(connection, ((*partition, offset) for partition, offset in new.items()), activation)

    def committed(self, batch: Sequence[ReceivedEvent], activation: int) -> None:
        self._recorded.update(dict.fromkeys(((one.topic.name, one.partition) for one in batch), activation))


async def move_idle_partitions(pool: Pool, activation: int) -> int:
    """Record the point of partitions that have no records to read; returns how many partitions have none yet.

    The rows of progress are locked: a batch that comes later reads the log after this, and finds this activation or a
    newer one.
    """
    async with pool.acquire() as connection:
        if await connection.fetchval(QUERIES.count_unmoved_partitions, activation):
            async with connection.transaction():
                rows = await connection.fetch(QUERIES.lock_unmoved_partitions, activation)
                await _record(
                    connection, ((row["topic"], row["partition"], row["next_offset"]) for row in rows), activation
                )
                await connection.execute(QUERIES.forget_points, activation - _KEPT_ACTIVATIONS)
        return int(await connection.fetchval(QUERIES.count_unmoved_partitions, activation))


async def _record(connection: Connection, points: Iterable[tuple[str, int, int]], activation: int) -> None:
    rows = sorted(points)
    if rows:
        await connection.execute(QUERIES.record_points, *map(list, zip(*rows, strict=True)), activation)
