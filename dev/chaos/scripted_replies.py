"""Replies of people to their messages: drawn from the seed, and given to the simulator as scripts beforehand.

Each person has a list of replies for each kind of message, each used once: most tap at once, some when the reminder
falls due, some never; some write text, some STOP.
"""

import random
from collections.abc import Iterator
from typing import Any

from dev.chaos.population import ChaosPerson, Population

_DEPTH = 25  # answers planned for each person and kind of message
_DECISION = (
    (45, {"do": "tap", "value": "Approve"}, (0.2, 4.0)),
    (9, {"do": "tap", "value": "Decline"}, (0.2, 4.0)),
    (6, {"do": "tap", "value": "Ask a question"}, (0.2, 4.0)),
    (18, {"do": "tap", "value": "Approve"}, (5.0, 7.5)),  # just as the reminder falls due
    (14, {"do": "ignore"}, (0.0, 0.0)),
    (5, {"do": "type", "value": "I shall think about it"}, (0.5, 4.0)),
    (3, {"do": "stop", "value": "STOP"}, (0.2, 6.5)),
)
_CONFIRMATION = (
    (62, {"do": "tap", "value": "Confirm"}, (0.2, 4.0)),
    (15, {"do": "tap", "value": "Confirm"}, (5.0, 7.5)),
    (6, {"do": "tap", "value": "Not right"}, (0.2, 4.0)),
    (15, {"do": "ignore"}, (0.0, 0.0)),
    (2, {"do": "stop", "value": "STOP"}, (0.2, 6.5)),
)
_OFFER = (
    (35, {"do": "tap", "value": "Take it"}, (0.3, 4.0)),
    (20, {"do": "tap", "value": "Take it"}, (4.0, 6.5)),
    (15, {"do": "tap", "value": "Not me"}, (0.3, 6.0)),
    (30, {"do": "ignore"}, (0.0, 0.0)),
)
_TAKEN = (
    (80, {"do": "tap", "value": "Done"}, (0.3, 5.0)),
    (10, {"do": "tap", "value": "Give it back"}, (0.3, 5.0)),
    (10, {"do": "ignore"}, (0.0, 0.0)),
)
_STATEMENT = (
    (70, {"do": "tap", "value": "I have it"}, (0.3, 6.0)),
    (15, {"do": "tap", "value": "I have it"}, (7.0, 9.5)),
    (15, {"do": "ignore"}, (0.0, 0.0)),
)
_BUTTONS = (
    ("Approve", _DECISION),
    ("Confirm", _CONFIRMATION),
    ("Take it", _OFFER),
    ("Done", _TAKEN),
    ("I have it", _STATEMENT),
)
_FORM = (
    ("working title", {"do": "type", "value": "A book of {name}"}),
    ("Which kind of book", {"do": "type", "value": "2"}),
    ("Shall we send it", {"do": "tap", "value": "Send"}),
)


def scripts(population: Population, seed: int) -> list[dict[str, Any]]:
    return [script for person in population.people.values() for script in _of_person(person, seed)]


def _of_person(person: ChaosPerson, seed: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(f"{seed}/person/{person.contact}")
    for button, table in _BUTTONS:
        for _ in range(_DEPTH):
            weights = [weight for weight, _, _ in table]
            _, act, (least, most) = chance.choices(table, weights)[0]
            after = round(chance.uniform(least, most), 2)
            yield {"person": person.digits, "on": {"button": button}, "after": after, **act}


def visitor(number: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A stranger with a book proposal, known by a BSUID only: the registration, and the replies to the form."""
    chance = random.Random(f"{seed}/visitor/{number}")
    name = f"visitor-{number}"
    registration = {"id": name, "name": f"Visitor {number}"}
    answers = [
        {
            "person": name, "on": {"contains": words}, "after": round(chance.uniform(0.2, 2.0), 2), **act,
            "value": str(act["value"]).format(name=name),
        }
        for words, act in _FORM
    ]  # fmt: skip
    return registration, answers
