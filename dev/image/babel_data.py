"""``python -m dev.image.babel_data FOLDER``: leaves in Babel's locale data what Stet reads, for every language.

Of a language's 40 kinds of data Stet reads dates, numbers, lists, and the names of languages and countries. Names of
units, currencies and time zones are two thirds of the size. Babel raises KeyError for a kind that was left out, and
``ruff`` refuses the functions that would ask for one.
"""

import pickle
import sys
from pathlib import Path

LEFT_OUT = frozenset(
    {
        "compact_currency_formats",
        "compact_decimal_formats",
        "compound_unit_patterns",
        "currency_formats",
        "currency_names",
        "currency_names_plural",
        "currency_symbols",
        "currency_unit_patterns",
        "date_fields",
        "datetime_skeletons",
        "interval_formats",
        "measurement_systems",
        "meta_zones",
        "time_zones",
        "unit_display_names",
        "unit_patterns",
        "zone_formats",
    }
)
"""Keys of Babel's data: units, currencies, time zones, intervals, and numbers and dates in short forms."""


def reduce_file(file: Path) -> None:
    """Write a locale's data again without the kinds that are left out. Babel's own build pickles it the same way."""
    data = pickle.loads(file.read_bytes())  # noqa: S301 -- the installed package's own data, checked against its hash
    file.write_bytes(pickle.dumps({kind: of for kind, of in data.items() if kind not in LEFT_OUT}, 2))


def main(folder: Path) -> int:
    files = sorted(folder.glob("*.dat"))
    if not files:
        print(f"babel_data: there is no locale data in {folder}", file=sys.stderr)
        return 1
    for file in files:
        reduce_file(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
