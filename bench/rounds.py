"""Ours and floor in turns: short rounds, so that whatever else the machine does befalls both."""

from collections.abc import Awaitable, Callable
from statistics import median

from bench.table import Rounds

Round = Callable[[], Awaitable[float]]
Pair = Callable[[], Awaitable[tuple[float, float]]]
ROUNDS = 5


async def take_turns(ours: Round, floor: Round, rounds: int = ROUNDS) -> Rounds:
    """``ours`` and ``floor`` each measure one round, a second's worth."""

    async def pair() -> tuple[float, float]:
        return await ours(), await floor()

    return await repeat(pair, rounds)


async def repeat(pair: Pair, rounds: int = ROUNDS) -> Rounds:
    """``pair`` measures ours and floor, one after the other; its first time only warms up."""
    await pair()
    pairs = [await pair() for _ in range(rounds)]
    return Rounds(
        floor=median(floor for _, floor in pairs),
        ours=median(ours for ours, _ in pairs),
        ratio=median(ours / floor for ours, floor in pairs),
    )
