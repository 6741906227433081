"""The time zones there are. A module of its own since the pure parts of a service may read it, and no clock."""

from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import available_timezones


def zone_named(written: str | None) -> str | None:
    """The IANA time zone somebody wrote, in its own spelling (``europe/paris`` is Europe/Paris); None where none is."""
    return _zones().get(written.strip().replace(" ", "_").casefold()) if written else None


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, str]:
    return {zone.casefold(): zone for zone in available_timezones()}
