"""Telephone numbers nobody has: ranges regulators keep for fiction, taken where the phonenumbers library calls them
valid. It refuses the fictional mobile ranges of Britain and France, so landlines stand in for mobiles there.
"""

# https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama · Arcep decision 2019-0954 (audiovisual
# works) · Bundesnetzagentur "Rufnummern für Medien" · North American Numbering Plan 555-0100 to 555-0199 ·
# Post- och telestyrelsen "Telefonnummer för användning i böcker och filmer"
_RANGES = {
    "GB": ("+44 20 7946 0{:03d}", 1_000),
    "FR": ("+33 1 99 00 {:02d} {:02d}", 10_000),
    "DE": ("+49 171 39200{:02d}", 100),
    "US": ("+1 312-555-01{:02d}", 100),
    "SE": ("+46 70 174 06 {:02d}", 95),
}
_SWEDISH_START = 5
_NATIONAL = {"GB": ("+44 ", "0"), "FR": ("+33 ", "0")}


class Switchboard:
    """Hands out each number once, country by country."""

    def __init__(self) -> None:
        self._given = dict.fromkeys(_RANGES, 0)

    def number(self, country: str, *, national: bool = False) -> str:
        """``national``: as somebody at home would type it. Raises LookupError when a range is used up."""
        pattern, size = _RANGES[country]
        place = self._given[country]
        if place >= size:
            raise LookupError(f"no fictional number is left for {country}")
        self._given[country] += 1
        if country == "SE":
            place += _SWEDISH_START
        number = pattern.format(*divmod(place, 100)) if country == "FR" else pattern.format(place)
        if national and country in _NATIONAL:
            abroad, home = _NATIONAL[country]
            return number.replace(abroad, home, 1)
        return number
