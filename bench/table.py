"""What a bench found, and how it is printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """``ratio`` and ``wanted`` are ours to the floor's; a row without a floor is judged by ``met`` alone."""

    what: str
    floor: str
    ours: str
    ratio: float | None
    wanted: str
    met: bool

    @property
    def verdict(self) -> str:
        return "met" if self.met else "missed"

    @property
    def sentence(self) -> str:
        return f"{self.what}: {self.ours}, floor {self.floor}, ratio {_spelled(self.ratio)} ({self.verdict})"


def against_floor(what: str, rounds: "Rounds", wanted: float) -> Row:
    ratio = rounds.ratio
    return Row(what, f"{rounds.floor:,.0f}", f"{rounds.ours:,.0f}", ratio, f"≥ {wanted}", ratio >= wanted)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Medians over rounds; the ratio is the median of each round's own, since both sides share its noise."""

    floor: float
    ours: float
    ratio: float


def print_table(rows: Iterable[Row]) -> None:
    table = Table(title="Stet beside its floor", caption="a second, where nothing else is said; medians of one run")
    for heading in ("what", "floor", "ours", "ratio", "wanted", ""):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        table.add_row(row.what, row.floor, row.ours, _spelled(row.ratio), row.wanted, row.verdict)
    Console(width=120).print(table)


def _spelled(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"
