"""Prints the result of a run: counts, recoveries, and what each check judged and found."""

from collections import defaultdict
from pathlib import Path
from statistics import median

from dev.chaos.checks.ends import NEVER_FINISHED
from dev.chaos.checks.recovery import Recovery
from dev.chaos.checks.verdict import RunVerdict

_SHOWN = 8  # violations of one check
_LAST_LINES = 4  # of each process
_LONGEST_LINE = 300


def show(verdict: RunVerdict, folder: Path) -> int:
    """Print it; returns the exit code."""
    print(f"\nseed {verdict.seed}")
    for name, number in verdict.counts.items():
        print(f"  {number:7,d}  {name}")
    for line in verdict.ended:
        print(f"  ended by itself: {line}")
    _show_recoveries(verdict.recoveries)
    print("\nchecked")
    for result in verdict.results:
        print(f"  {result.judged:7,d} judged  {len(result.violations):5,d} violations  {result.check}")
    for result in verdict.results:
        for violation in result.violations[:_SHOWN]:
            print(f"  ! {violation}")
        if len(result.violations) > _SHOWN:
            print(f"  ! {result.check}: and {len(result.violations) - _SHOWN} more")
    if any(result.check == NEVER_FINISHED and result.violations for result in verdict.results):
        _show_last_lines(folder / "logs")
    total = sum(len(result.violations) for result in verdict.results)
    disruptions = verdict.counts["disruptions"]
    print(f"\nseed {verdict.seed}: {total or 'no'} violations in {disruptions} disruptions; files: {folder}")
    return 0 if verdict.holds else 1


def _show_last_lines(logs: Path) -> None:
    """The last lines of every process, since a run that did not finish may leave no other trace."""
    for log in sorted(logs.glob("*.log")):
        print(f"\nlast lines of {log.stem}")
        for line in log.read_text(errors="replace").splitlines()[-_LAST_LINES:]:
            print(f"  {line[:_LONGEST_LINE]}")


def _show_recoveries(found: list[Recovery]) -> None:
    """For each disruption, then for each kind."""
    print("\nrecovery: seconds until the first effect of a later event, and of all events of the first two seconds")
    for number, one in enumerate(found, start=1):
        print(f"  {number:4d}  {one.kind:26s} {_seconds(one.first)}  {_seconds(one.slowest)}")
    kinds: dict[str, list[Recovery]] = defaultdict(list)
    for one in found:
        kinds[one.kind].append(one)
    for kind, ones in sorted(kinds.items()):
        print(f"  {len(ones):4d} × {kind:24s} {_range([one.first for one in ones])}"
              f"  {_range([one.slowest for one in ones])}")  # fmt: skip


def _seconds(number: float | None) -> str:
    return "     -" if number is None else f"{number:6.1f}"


def _range(seconds: list[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    return f"{median(known):6.1f} (at most {max(known):.1f})" if known else "     -"
