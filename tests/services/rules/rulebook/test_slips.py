"""One slip of the hand in a file of the valid rulebook: a line or a sign too many, too few, or in another column."""

from collections.abc import Iterator

from services.rules.scenario.folder_check import check_files
from tests.services.rules.rulebooks import good_files

SIGNS = ":{}[],\"'-"
STEP = 9
"""Every so many slips are tried: all of them take half a minute."""


def slips() -> Iterator[tuple[str, str, str]]:
    """File, what was done to it, and its text then."""
    for file, text in good_files().items():
        if file.startswith("house/"):
            continue
        lines = text.split("\n")
        for number, line in enumerate(lines):
            before, after = lines[:number], lines[number + 1 :]
            changed = {"deleted": [], "twice": [line, line], "indented": [f"  {line}"]}
            if line.startswith("  "):
                changed |= {"outdented": [line[2:]], "outdented by one": [line[1:]]}
            for column, sign in enumerate(line):
                if sign in SIGNS:
                    changed[f"without {sign} in column {column + 1}"] = [line[:column] + line[column + 1 :]]
            for done, instead in changed.items():
                yield file, f"line {number + 1} {done}", "\n".join([*before, *instead, *after])


def test_a_slip_is_at_most_two_faults() -> None:
    counts = {
        (file, done): len(check_files({**good_files(), file: text}, tested=False).faults)
        for file, done, text in list(slips())[::STEP]
    }
    assert len(counts) > 100
    assert {slip: count for slip, count in counts.items() if count > 2} == {}
