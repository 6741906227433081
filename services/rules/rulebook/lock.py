"""``wording.lock``: the approved text of each template and version, so that a text cannot change without a new version.

Meta approves a text under a name and version. Once the file is in the folder, a changed text needs a new version. The
file only grows: no version is used twice.
"""

import json
from collections.abc import Mapping

from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Location, Rulebook, Template
from shared.contracts.ids import derive_id

LOCK_FILE = "wording.lock"
_RUN = "run “stet rules check FOLDER --lock”"


def check_lock(book: Rulebook, text: str) -> list[FileFault]:
    """The differences between the lock file's ``text`` and the templates; empty where they agree."""
    locked = _read(text)
    if locked is None:
        return [FileFault(Location(LOCK_FILE, 1, 1), "this is no lock; restore it from Git")]
    new = [template for template in book.templates.values() if template.meta_name not in locked]
    if len(new) == len(book.templates) and len(new) > 1:
        return [FileFault(Location(LOCK_FILE, 1, 1), f"the file knows none of the {len(new)} templates; {_RUN}")]
    sentence = f"{LOCK_FILE} does not know {{}}; {_RUN}"
    unlocked = [FileFault(template.location, sentence.format(template.meta_name)) for template in new]
    return [*_changed(book, locked), *unlocked]


def extend_lock(book: Rulebook, text: str) -> tuple[str, list[FileFault]]:
    """The lock file's text with the new templates added, or the faults that forbid it."""
    locked = _read(text)
    if locked is None:
        return text, check_lock(book, text)
    today = {template.meta_name: text_hash(template) for template in book.templates.values()}
    return f"{json.dumps({**today, **locked}, indent=0, sort_keys=True)}\n", _changed(book, locked)


def text_hash(template: Template) -> str:
    """A hash of everything Meta approves: header, bodies and buttons, in every language."""
    languages = sorted(template.languages.items())
    header = (template.header.value,) if template.header is not None else ()
    texts = (part for name, words in languages for part in (name, words.body, *words.buttons.values()))
    return derive_id(*header, *texts)


def _changed(book: Rulebook, locked: Mapping[str, str]) -> list[FileFault]:
    return [
        FileFault(
            template.location, f"its words changed, and Meta knows others as {template.meta_name}: raise “version”"
        )
        for template in book.templates.values()
        if locked.get(template.meta_name, text_hash(template)) != text_hash(template)
    ]


def _read(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
