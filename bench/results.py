"""Measured rounds and how they are printed: Stet's figures, those of the floor, and their ratio.

Stet and the floor are measured in turns, in short rounds, so that other load on the machine affects both.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

Measurement = Callable[[], Awaitable[float]]
PairedMeasurement = Callable[[], Awaitable[tuple[float, float]]]
ROUNDS = 5
NOT_JUDGED = "–"


@dataclass(frozen=True, slots=True)
class BenchResult:
    """``ratio`` and ``target`` are ours to the floor's; a result without a floor is judged by ``is_met`` alone.

    Where no ``target`` is named, the result is printed and not judged.
    """

    name: str
    floor: str
    ours: str
    ratio: float | None
    target: str = NOT_JUDGED
    is_met: bool = True

    @property
    def verdict(self) -> str:
        if self.target == NOT_JUDGED:
            return NOT_JUDGED
        return "met" if self.is_met else "missed"

    @property
    def sentence(self) -> str:
        return f"{self.name}: {self.ours}, floor {self.floor}, ratio {_format_ratio(self.ratio)} ({self.verdict})"


@dataclass(frozen=True, slots=True)
class RoundMedians:
    """Medians over rounds; the ratio is the median of each round's own, since both sides share its noise."""

    floor: float
    ours: float
    ratio: float


async def measure_in_turns(ours: Measurement, floor: Measurement, rounds: int = ROUNDS) -> RoundMedians:
    """``ours`` and ``floor`` each measure one round and return a rate per second."""

    async def pair() -> tuple[float, float]:
        return await ours(), await floor()

    return await repeat_pair(pair, rounds)


async def repeat_pair(pair: PairedMeasurement, rounds: int = ROUNDS) -> RoundMedians:
    """``pair`` measures ours and floor, one after the other; its first result is dropped as warm-up."""
    await pair()
    pairs = [await pair() for _ in range(rounds)]
    return RoundMedians(
        floor=median(floor for _, floor in pairs),
        ours=median(ours for ours, _ in pairs),
        ratio=median(ours / floor for ours, floor in pairs),
    )


def compare_with_floor(name: str, medians: RoundMedians, target: float) -> BenchResult:
    ratio = medians.ratio
    return BenchResult(name, f"{medians.floor:,.0f}", f"{medians.ours:,.0f}", ratio, f"≥ {target}", ratio >= target)


def print_results(results: Iterable[BenchResult]) -> None:
    table = Table(title="Stet beside its floor", caption="per second, where nothing else is said; medians of one run")
    for heading in ("what", "floor", "ours", "ratio", "wanted", ""):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for result in results:
        ratio = _format_ratio(result.ratio)
        table.add_row(result.name, result.floor, result.ours, ratio, result.target, result.verdict)
    Console(width=120).print(table)


def _format_ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
