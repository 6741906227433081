"""People and works of a run: drawn from the seed, written as the files the stack starts with.

All people are staff, so the publisher's working hours hold for them. A run is possible at any hour: most people are in
a zone whose morning is over, the sleepers in a zone whose morning begins within the run.
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
from ruamel.yaml import YAML

_FIRST_CONTACT, _FIRST_WORK = 20_001, 70_001
_PHONE = "+33 1 99 00 {:02d} {:02d}"  # kept for fiction (dev/consonance/seed_data.py); the seed begins at the other end
_FIRST_PHONE = 5_000
_COUNTRIES = ("JP", "GB", "TH", "EG", "KE", "IN")
_STAGE = 8
_IMPRINT = 7
_NIGHT_AT = 6  # o'clock in the sleepers' zone when the run is prepared
_DAY_AHEAD = 3  # hours, of the zone of the others
_MENDED_CONTACT = {"id": 835, "name": "Leonora Briggs", "country": "GB", "phone": _PHONE.format(99, 99), "tags": []}
"""The seed's one contact with an unusable number, mended: in these runs no record is invalid, so none may be parked."""
RULES = Path(__file__).parent / "rules"
_OWN_TEMPLATES = Path(__file__).parent.parent.parent / "rules" / "house"


@dataclass(frozen=True)
class ChaosPerson:
    contact: int
    phone: str
    asleep: bool

    @property
    def digits(self) -> str:
        """The number as WhatsApp writes it."""
        return "".join(c for c in self.phone if c.isdigit())


@dataclass
class ChaosWork:
    """``subtitle`` is the value in Consonance, as far as the load knows."""

    id: int
    title: str
    subtitle: str
    authors: tuple[int, ...]
    editor: int


@dataclass
class Population:
    """``opens`` is the instant from which sleepers may be written to."""

    people: dict[int, ChaosPerson]
    works: dict[int, ChaosWork]
    opens: datetime
    country: str
    night_zone: str
    day_zone: str

    @property
    def awake(self) -> list[ChaosPerson]:
        return [person for person in self.people.values() if not person.asleep]

    @property
    def sleepers(self) -> list[ChaosPerson]:
        return [person for person in self.people.values() if person.asleep]


def draw_population(seed: int, now: datetime, people: int, works: int) -> Population:
    """The same seed gives the same people and works; the zones follow from ``now``."""
    chance = random.Random(f"{seed}/cast")
    night = _etc_zone(_NIGHT_AT - now.hour)
    asleep = max(4, people // 12)
    crowd = {_FIRST_CONTACT + n: _person(n, asleep=n < asleep) for n in range(people)}
    awake = [contact for contact, person in crowd.items() if not person.asleep]
    return Population(
        people=crowd,
        works={_FIRST_WORK + n: _work(n, awake, chance) for n in range(works)},
        opens=now,
        country=_country_without_holiday(now),
        night_zone=_zone(night),
        day_zone=_zone(night + _DAY_AHEAD),
    )


def _person(number: int, *, asleep: bool) -> ChaosPerson:
    place = _FIRST_PHONE + number
    return ChaosPerson(_FIRST_CONTACT + number, _PHONE.format(*divmod(place, 100)), asleep)


def _work(number: int, awake: list[int], chance: random.Random) -> ChaosWork:
    authors = chance.sample(awake, 1 + number % 3)
    editor = chance.choice([contact for contact in awake if contact not in authors])
    return ChaosWork(_FIRST_WORK + number, f"Work {number}", f"The {number}th book", tuple(authors), editor)


def _etc_zone(hours: int) -> int:
    """Hours ahead of UTC, from -12 to 11, so that a zone ``_DAY_AHEAD`` hours further exists too."""
    return (hours + 12) % 24 - 12


def _zone(ahead: int) -> str:
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/UTC"  # their signs are the wrong way round


def _country_without_holiday(now: datetime) -> str:
    days = {(now + timedelta(days=n)).date() for n in (-1, 0, 1)}
    years = {day.year for day in days}
    free = (code for code in _COUNTRIES if not days & set(holidays.country_holidays(code, years=years)))
    return next(free, _COUNTRIES[0])


def write_records(population: Population, file: Path) -> None:
    """Write the people and works as a file for the Consonance simulator."""
    contacts = [_MENDED_CONTACT, *(_contact(population, person) for person in population.people.values())]
    works = [
        {
            "id": work.id, "title": work.title, "subtitle": work.subtitle, "imprint": _IMPRINT, "stage": _STAGE,
            "people": {**{str(author): "A01" for author in work.authors}, str(work.editor): "B01"},
        }
        for work in population.works.values()
    ]  # fmt: skip
    file.write_bytes(orjson.dumps({"contacts": contacts, "works": works}))


def _contact(population: Population, person: ChaosPerson) -> dict[str, Any]:
    zone = population.night_zone if person.asleep else population.day_zone
    return {
        "id": person.contact, "name": f"Person {person.contact}", "country": population.country, "phone": person.phone,
        "tags": ["language:en", f"zone:{zone}"],
    }  # fmt: skip


def set_opening(population: Population, earliest: datetime) -> None:
    """Let sleepers be written to from the next full minute after ``earliest``."""
    population.opens = datetime.fromtimestamp(math.ceil(earliest.timestamp() / 60) * 60, UTC)


def write_rules(population: Population, folder: Path) -> None:
    """Write the rules of a run, the publisher's own templates, and a calendar that is open now."""
    shutil.copytree(RULES, folder)
    shutil.copytree(_OWN_TEMPLATES, folder / "house")
    for name, text in publisher_files(population).items():
        (folder / name).write_text(text, "utf-8")


def publisher_files(population: Population) -> dict[str, str]:
    """The publisher's files of a run by name: open now for all who are awake."""
    ahead = _ahead(population.night_zone)
    hours = f"{population.opens + timedelta(hours=ahead):%H:%M}-23:59"
    all_contacts = ", ".join(map(str, population.people))
    editors = ", ".join(str(person.contact) for person in population.awake[:3])
    return {
        "calendar.yaml": (
            f'house: {{country: {population.country}, zone: {population.day_zone}, hours: "{hours}",'
            " days: [mon, tue, wed, thu, fri, sat, sun]}\n"
        ),
        "people.yaml": (
            f"teams:\n  editorial: {{managing_editor: [{editors}]}}\n  crowd: {{freelancer: [{all_contacts}]}}\n"
            "inbox: editorial\n"
        ),
        "house.yaml": (
            "publisher: {en: Penrose}\nlanguage: en\nline: main\n"
            "basis: {author: contract, rights_holder: contract, editor: legitimate_interest}\n"
        ),
        "limits.yaml": (
            "free: replies\ntaken_for: 8 seconds\nsend_within: 90 seconds\nbrake: {strangers_chains: 2000}\n"
        ),
    }


def _ahead(zone: str) -> int:
    return 0 if zone == "Etc/UTC" else -int(zone.removeprefix("Etc/GMT"))


# ------------------------------------------------------------------ facts for the checks


def population_facts(population: Population, rules: Path) -> dict[str, Any]:
    """The people, works and rules of a run, as the checks have to know them."""
    return {
        "opens": population.opens.timestamp(),
        "sleepers": [person.digits for person in population.sleepers],
        "authors": {
            str(work.id): [population.people[one].digits for one in work.authors] for work in population.works.values()
        },
        "steps": _steps(rules),
    }


def _steps(rules: Path) -> dict[str, list[dict[str, Any]]]:
    """The steps of each rule as written: verb, template, and the seconds they wait."""
    found = {}
    for file in rules.glob("*.rule.yaml"):
        written = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        found[written["rule"]] = [_step(step) for step in written["steps"]]
    return found


def _step(step: dict[str, Any]) -> dict[str, Any]:
    verb = next(
        (verb for verb in ("tell", "ask", "remind", "hand_over", "collect", "give_up") if verb in step), "record"
    )
    after = step.get("after")
    return {"verb": verb, "say": step.get("say"), "after": float(after.split()[0]) if after else 0.0}
