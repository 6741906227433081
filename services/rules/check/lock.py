"""``wording.lock``: the words Meta knows under each name and version, so that they cannot change behind its back.

Once the file is in the folder, words that change need a new version. It only grows: no version is used twice.
"""

import json
from collections.abc import Mapping

from services.rules.language.faults import Fault
from services.rules.rulebook import Rulebook, Template
from services.rules.terms import Place
from shared.contracts.ids import derive_id

LOCK = "wording.lock"
_RUN = "run “python -m services.rules.check FOLDER --lock”"


def lock_faults(book: Rulebook, text: str) -> list[Fault]:
    """What keeps the lock and the templates from agreeing; nothing where all do."""
    locked = _read(text)
    if locked is None:
        return [Fault(Place(LOCK, 1, 1), "this is no lock; restore it from Git")]
    unlocked = [
        Fault(template.place, f"{LOCK} does not know {template.meta_name}; {_RUN}")
        for template in book.templates.values()
        if template.meta_name not in locked
    ]
    return [*_changed(book, locked), *unlocked]


def grown(book: Rulebook, text: str) -> tuple[str, list[Fault]]:
    """The lock with today's templates in it, or the faults that forbid it."""
    locked = _read(text)
    if locked is None:
        return text, lock_faults(book, text)
    today = {template.meta_name: words_of(template) for template in book.templates.values()}
    return f"{json.dumps({**today, **locked}, indent=0, sort_keys=True)}\n", _changed(book, locked)


def words_of(template: Template) -> str:
    """A hash of everything Meta approves: bodies and buttons, in every language."""
    languages = sorted(template.languages.items())
    return derive_id(*(part for name, words in languages for part in (name, words.body, *words.buttons.values())))


def _changed(book: Rulebook, locked: Mapping[str, str]) -> list[Fault]:
    return [
        Fault(template.place, f"its words changed, and Meta knows others as {template.meta_name}: raise “version”")
        for template in book.templates.values()
        if locked.get(template.meta_name, words_of(template)) != words_of(template)
    ]


def _read(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
