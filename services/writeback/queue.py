"""Takes due writes off the queue, one per lane at a time, as many lanes at once as the gate lets through.

A lane (a work, else a record) is held by a session lock on one connection of its own, so a process that dies lets go at
once; the lock orders replicas, the ledger's attempt numbers fence them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from services.writeback.abilities import Abilities, Introspected
from services.writeback.carry import Carrier
from services.writeback.gate import Gate, Pause
from services.writeback.ledger import Due, Ledger, queries
from shared.contracts.errors import Unavailable
from shared.runtime.clock import machine_now
from shared.runtime.failures import TRANSIENT_ERRORS, describe_failure, parking_reason
from shared.runtime.postgres import SERIALIZATION_FAILURES, Connection, advisory_lock_key, raise_if_read_only
from shared.runtime.telemetry import counter, effect_span, gauge, get_logger

CHANNEL = "stet_writeback_queue"
_LOOK_EVERY = 0.5  # seconds; a notification comes sooner
_AFTER_LOSS = 1.0  # seconds before a lost database is asked again
_TO_FINISH = 4.0  # seconds that requests in flight are given when the process stops; the process gives five
_SET_ASIDE = timedelta(seconds=30)
_LANES_LOOKED_AT = 4  # due lanes per free place, for some are held by other replicas

LANES_SESSION = {"idle_session_timeout": "60s"}
"""A frozen process loses its lanes; what it meant to send it then finds too old to send (``carry``)."""

Connect = Callable[[], Awaitable[Connection]]

log = get_logger()


class Queue:
    """``connect`` opens the connection that holds the lanes.

    ``turns`` rises with every write that was taken up: the development clock watches it.
    """

    def __init__(
        self, connect: Connect, ledger: Ledger, carrier: Carrier, consonance: Introspected, gate: Gate
    ) -> None:
        self._connect = connect
        self._ledger = ledger
        self._carrier = carrier
        self._consonance = consonance
        self._gate = gate
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self.turns = 0

    @property
    def at_work(self) -> int:
        return len(self._running)

    @property
    def abilities(self) -> Abilities:
        return self._carrier.abilities

    async def run(self) -> None:
        while True:
            try:
                await self._attend(await self._connect())
            except (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES) as error:
                log.warning("queue.database_lost", error=type(error).__name__)
                await asyncio.sleep(_AFTER_LOSS)
            except Exception as error:  # noqa: BLE001 -- the boundary of a loop: what it was given must not end it
                surprised("queue", error)
                await asyncio.sleep(_AFTER_LOSS)

    async def _attend(self, connection: Connection) -> None:
        """With one connection that holds the lanes, until it breaks or the process stops."""
        try:
            await connection.add_listener(CHANNEL, self._wake)
            while True:
                self._woken.clear()
                await self._let_go(connection)
                await self._take_up(connection)
                await self._until_woken()
        finally:
            await self._finish()
            connection.terminate()

    async def _take_up(self, connection: Connection) -> None:
        room = self._gate.width(machine_now()) - len(self._running)
        if room <= 0 or not await self._able():
            return
        due = await self._ledger.due(self._running, room * _LANES_LOOKED_AT)
        for each in due:
            if room > 0 and await connection.fetchval(queries.hold_lane, _lane_lock(each.lane)):
                room -= 1
                self._start(each)

    def _start(self, due: Due) -> None:
        self.turns += 1
        task = asyncio.create_task(self._carry(due), name=f"write {due.write_id}")
        task.add_done_callback(self._wake)
        self._running[due.lane] = task

    async def _let_go(self, connection: Connection) -> None:
        """Also without a lane to let go of: a connection that says nothing for long is taken for frozen."""
        done = [lane for lane, task in self._running.items() if task.done()]
        await connection.execute(queries.let_go_of_lanes, [_lane_lock(lane) for lane in done])
        raise_if_read_only(connection)
        for lane in done:
            self._running.pop(lane).result()

    async def _able(self) -> bool:
        """Introspection comes first, and is what is tried when the gate opens a crack."""
        if not self.abilities.doubted:
            return True
        try:
            await self.abilities.renew(self._consonance)
        except Unavailable as error:
            self._shut(error)
            return False
        except Exception as error:  # noqa: BLE001 -- an introspection that cannot be read is a neighbour's failure
            surprised("introspection", error)
            self._shut(Unavailable("Consonance's introspection cannot be read"))
            return False
        self._answered()
        return True

    async def _carry(self, due: Due) -> None:
        try:
            entry = await self._ledger.fetch(due)
            if entry is not None:
                with effect_span(
                    "consonance.write", entry.traceparent, operation=entry.write.input.operation
                ) as parent:
                    await self._carrier.carry(replace(entry, traceparent=parent))
                self._answered()
        except Unavailable as error:
            self._shut(error)
        except (*TRANSIENT_ERRORS, *SERIALIZATION_FAILURES) as error:
            log.warning("write.database_lost", write_id=due.write_id, error=type(error).__name__)
            await asyncio.sleep(_AFTER_LOSS)
        except Exception as error:  # noqa: BLE001 -- the boundary of one write: its surprise must not stop the others
            await self._set_aside(due, error)

    async def _set_aside(self, due: Due, error: Exception) -> None:
        """It is tried again after a pause; meanwhile what stands behind it in its lane waits, and other lanes go on."""
        reason = parking_reason(error)
        counter("stet_writeback_set_aside_total", "Writes that surprised and were put off", "reason").labels(
            reason
        ).inc()
        log.error("write.set_aside", write_id=due.write_id, reason=reason, sentence=describe_failure(error))
        try:
            await self._ledger.set_aside(due, machine_now() + _SET_ASIDE)
        except Exception as fault:  # noqa: BLE001 -- not even that: it is due again after a while
            surprised("set_aside", fault)
            await asyncio.sleep(_AFTER_LOSS)

    def _shut(self, error: Unavailable) -> None:
        before = self._gate.pause
        self._gate.shut(error, machine_now())
        self.abilities.doubt()
        if self._gate.pause is not before:
            log.warning("consonance.paused", pause=self._gate.pause, setting="STET_CONSONANCE_URL")
            self._show_pause()

    def _answered(self) -> None:
        if self._gate.pause is not None:
            log.info("consonance.resumed")
        self._gate.answered()
        self._show_pause()

    def _show_pause(self) -> None:
        paused = gauge("stet_writeback_paused", "1 while nothing is written, and why", "pause")
        for pause in Pause:
            paused.labels(pause).set(pause is self._gate.pause)

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_EVERY):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _finish(self) -> None:
        """Lets requests in flight end; what does not is found again by its intent."""
        if self._running:
            _, late = await asyncio.wait(self._running.values(), timeout=_TO_FINISH)
            for task in late:
                task.cancel()
            self._running.clear()

    def _wake(self, *_: object) -> None:
        self._woken.set()


def surprised(loop: str, error: BaseException) -> None:
    """A loop met an error that no write of its own explains, and goes on. The text of an error may quote data."""
    counter("stet_writeback_loop_errors_total", "Errors that a loop met and went on after", "loop").labels(loop).inc()
    log.error("loop.failed", loop=loop, sentence=describe_failure(error))


def _lane_lock(lane: str) -> int:
    return advisory_lock_key(f"queue/{lane}")
