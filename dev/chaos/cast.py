"""Who takes part in a run, and in which works: drawn from the seed, written as the files the stack starts with.

Everybody is staff, so that the house's hours hold for them, and these are open at whatever hour a run is made: the
people of the day are in a zone whose morning is over, those who sleep in a zone whose morning begins within the run.
"""

import math
import random
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import holidays
import orjson

_FIRST_CONTACT, _FIRST_WORK = 20_001, 70_001
_PHONE = "+33 1 99 00 {:02d} {:02d}"  # kept for fiction (dev/consonance/phones.py); the seed draws from the beginning
_FIRST_PHONE = 5_000
_COUNTRIES = ("JP", "GB", "TH", "EG", "KE", "IN")
_STAGE = 8
_IMPRINT = 7
_NIGHT_AT = 6  # o'clock, where those who sleep are, when the run is prepared
_DAY_AHEAD = 3  # hours, of the people of the day
_MENDED = {"id": 835, "name": "Leonora Briggs", "country": "GB", "phone": _PHONE.format(99, 99), "tags": []}
"""The seed's one contact whose number is none: in these runs nothing is unfit, so that nothing may be parked."""
RULES = Path(__file__).parent / "rules"
_HOUSE_WORDS = Path(__file__).parent.parent.parent / "rules" / "house"


@dataclass(frozen=True)
class Person:
    contact: int
    phone: str
    asleep: bool

    @property
    def digits(self) -> str:
        """As WhatsApp knows them."""
        return "".join(c for c in self.phone if c.isdigit())


@dataclass
class Work:
    """``subtitle`` is what Consonance holds as far as the driver knows."""

    id: int
    title: str
    subtitle: str
    authors: tuple[int, ...]
    editor: int


@dataclass
class Cast:
    """``opens`` is when those who sleep may be written to."""

    people: dict[int, Person]
    works: dict[int, Work]
    opens: datetime
    country: str
    night_zone: str
    day_zone: str

    @property
    def awake(self) -> list[Person]:
        return [person for person in self.people.values() if not person.asleep]

    @property
    def sleepers(self) -> list[Person]:
        return [person for person in self.people.values() if person.asleep]


def draw(seed: int, now: datetime, people: int, works: int) -> Cast:
    """The same seed gives the same people and works; the zones follow from ``now``."""
    chance = random.Random(f"{seed}/cast")
    night = _etc_zone(_NIGHT_AT - now.hour)
    asleep = max(4, people // 12)
    crowd = {_FIRST_CONTACT + n: _person(n, asleep=n < asleep) for n in range(people)}
    awake = [contact for contact, person in crowd.items() if not person.asleep]
    return Cast(
        people=crowd,
        works={_FIRST_WORK + n: _work(n, awake, chance) for n in range(works)},
        opens=now,
        country=_country_without_holiday(now),
        night_zone=_zone(night),
        day_zone=_zone(night + _DAY_AHEAD),
    )


def _person(number: int, *, asleep: bool) -> Person:
    place = _FIRST_PHONE + number
    return Person(_FIRST_CONTACT + number, _PHONE.format(*divmod(place, 100)), asleep)


def _work(number: int, awake: list[int], chance: random.Random) -> Work:
    authors = chance.sample(awake, 1 + number % 3)
    editor = chance.choice([contact for contact in awake if contact not in authors])
    return Work(_FIRST_WORK + number, f"Work {number}", f"The {number}th book", tuple(authors), editor)


def _etc_zone(hours: int) -> int:
    """So many hours ahead of UTC, from -12 to 11: together with a day ahead still a zone that exists."""
    return (hours + 12) % 24 - 12


def _zone(ahead: int) -> str:
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/UTC"  # their signs are the wrong way round


def _country_without_holiday(now: datetime) -> str:
    days = {(now + timedelta(days=n)).date() for n in (-1, 0, 1)}
    years = {day.year for day in days}
    free = (code for code in _COUNTRIES if not days & set(holidays.country_holidays(code, years=years)))
    return next(free, _COUNTRIES[0])


def write_crowd(cast: Cast, file: Path) -> None:
    """For the Consonance simulator."""
    contacts = [_MENDED, *(_contact(cast, person) for person in cast.people.values())]
    works = [
        {
            "id": work.id, "title": work.title, "subtitle": work.subtitle, "imprint": _IMPRINT, "stage": _STAGE,
            "people": {**{str(author): "A01" for author in work.authors}, str(work.editor): "B01"},
        }
        for work in cast.works.values()
    ]  # fmt: skip
    file.write_bytes(orjson.dumps({"contacts": contacts, "works": works}))


def _contact(cast: Cast, person: Person) -> dict[str, Any]:
    zone = cast.night_zone if person.asleep else cast.day_zone
    return {
        "id": person.contact, "name": f"Person {person.contact}", "country": cast.country, "phone": person.phone,
        "tags": ["language:en", f"zone:{zone}"],
    }  # fmt: skip


def open_at(cast: Cast, earliest: datetime) -> None:
    """Those who sleep may be written to from the next full minute on."""
    cast.opens = datetime.fromtimestamp(math.ceil(earliest.timestamp() / 60) * 60, UTC)


def write_rules(cast: Cast, folder: Path) -> None:
    """The rules of a run: those beside this file, the house's own words, and a house that is open now."""
    shutil.copytree(RULES, folder)
    shutil.copytree(_HOUSE_WORDS, folder / "house")
    for name, text in house_files(cast).items():
        (folder / name).write_text(text, "utf-8")


def house_files(cast: Cast) -> dict[str, str]:
    """The house of a run: open now for those awake, all of whom are staff; by file name."""
    ahead = _ahead(cast.night_zone)
    hours = f"{cast.opens + timedelta(hours=ahead):%H:%M}-23:59"
    everybody = ", ".join(map(str, cast.people))
    desk = ", ".join(str(person.contact) for person in cast.awake[:3])
    return {
        "calendar.yaml": (
            f'house: {{country: {cast.country}, zone: {cast.day_zone}, hours: "{hours}",'
            " days: [mon, tue, wed, thu, fri, sat, sun]}\n"
        ),
        "people.yaml": (
            f"teams:\n  editorial: {{managing_editor: [{desk}]}}\n  crowd: {{freelancer: [{everybody}]}}\n"
            "inbox: editorial\n"
        ),
        "house.yaml": "publisher: {en: Penrose}\nlanguage: en\nline: main\nbasis: {author: contract}\n",
        "limits.yaml": "free: replies\ntaken_for: 8 seconds\nsend_within: 90 seconds\n",
    }


def _ahead(zone: str) -> int:
    return 0 if zone == "Etc/UTC" else -int(zone.removeprefix("Etc/GMT"))
