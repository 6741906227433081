"""``python -m tests.dev.image.babel_values [FOLDER]``: prints as JSON everything that Stet reads of Babel's data.

``FOLDER`` has other data than the installed ones. It runs as a process of its own, since data once read are kept.
"""

import json
import sys
from datetime import UTC, date, datetime

from babel import localedata

from services.ingest.fields import parse_language
from services.rules.conversation import absence_text
from services.rules.conversation.form_answers import Place, _day_comes_first, _month_names, display_value, read_value
from services.rules.conversation.rendering import format_value, locale_of
from services.rules.rulebook.codes import _codes_by_name, _countries_by_name, _languages, is_language
from services.rules.rulebook.model import FieldKind

_DAY, _INSTANT = date(2027, 3, 9), datetime(2027, 3, 9, 14, 5, tzinfo=UTC)
_VALUES = (_DAY, _INSTANT, 1234567.891, ["a", "b", "c"], ["a", "b"])


def values_of(language: str) -> list[object]:
    """Dates, numbers and lists as a person reads them, and what is read of them again."""
    locale, place = locale_of(language, None), Place(language)
    number = display_value(FieldKind.NUMBER, "1234.5", place)
    day = display_value(FieldKind.DATE, _DAY.isoformat(), place)
    return [
        *(format_value(value, language, {}) for value in _VALUES),
        *(number, read_value(FieldKind.NUMBER, number, place), day, read_value(FieldKind.DATE, day, place)),
        *(sorted(_month_names(locale).items()), _day_comes_first(locale)),
        *(is_language(language), parse_language(language)),
    ]


def all_values() -> dict[str, object]:
    return {language: values_of(language) for language in sorted(_languages())} | {
        "en of a country": str(locale_of("en", "GB")),
        "names": [sorted(_codes_by_name().items()), sorted(_countries_by_name().items())],
        "absence": [sorted(absence_text._weekdays().items()), sorted(absence_text._months().items())],
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        localedata._dirname = sys.argv[1]
    sys.stdout.write(json.dumps(all_values()))
