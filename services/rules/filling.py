"""What the parameters of a template stand for in one message: fields of the event, and the house's own words.

Only what a template names is worked out.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

from services.rules.chain import Chain, Outgoing
from services.rules.desk import Desk
from services.rules.facts import Document
from services.rules.rulebook import Template
from services.rules.wording import names_in
from services.rules.world import Person
from shared.contracts.contacts import PLACEHOLDER_NAME
from shared.contracts.ids import ChainId, PersonId

UNTIL = "until"
"""The answer of what an ``until`` says: its words are those of the event that ended the chain."""

_LINK = "link_"
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""Without those that are misread."""


class _Saying(Struct, frozen=True):
    desk: Desk
    chain: Chain
    person: Person
    language: str


def filled(desk: Desk, chain: Chain, outgoing: Outgoing, person: Person, template: Template) -> dict[str, object]:
    """Every name that any language of the template has; a field that is absent may be a house word of its path."""
    saying = _Saying(desk, chain, person, language_of(desk, person))
    document = desk.ending(chain) if outgoing.answer == UNTIL else desk.document(chain)
    fields, words = template.fields, outgoing.words
    return {name: _value(saying, words, document, fields.get(name), name) for name in _names_of(template)}


@lru_cache(maxsize=1024)
def _names_of(template: Template) -> tuple[str, ...]:
    return tuple({name: None for wording in template.languages.values() for name in names_in(wording.body)})


def _value(
    saying: _Saying, words: Mapping[str, str], document: Document, path: str | None, name: str
) -> object:  # fmt: skip
    if path is not None and (found := document.get(path)) is not None:
        return found
    wanted = path or name
    if wanted in words:
        return words[wanted]
    if wanted.startswith(_LINK):
        return saying.desk.book.tenant.links.get(wanted.removeprefix(_LINK), "")
    word = _HOUSE_WORDS.get(wanted)
    return word(saying) if word is not None else ""


def language_of(desk: Desk, person: Person) -> str:
    tenant = desk.book.tenant
    return person.language or tenant.languages.get(person.country or "", tenant.language)


def _publisher(saying: _Saying) -> object:
    tenant = saying.desk.book.tenant
    return tenant.publisher.get(saying.language, tenant.publisher[tenant.language])


def _why(saying: _Saying) -> object:
    why = saying.desk.rule_of(saying.chain).why
    return why.get(saying.language, why.get(saying.desk.book.tenant.language, ""))


def _title(saying: _Saying) -> object:
    """What the chain is about, in a few words."""
    document = saying.desk.document(saying.chain)
    for path in ("work.title", "document.title", "name", "line"):
        if found := document.get(path):
            return str(found)
    return saying.desk.rule_of(saying.chain).name.replace("-", " ")


def _sender(saying: _Saying) -> object:
    """Whoever has no name is spoken of all the same."""
    person = saying.desk.world.people.get(saying.desk.document(saying.chain).sender or PersonId(""))
    return person.display_name if person else PLACEHOLDER_NAME


_HOUSE_WORDS: Mapping[str, Callable[[_Saying], object]] = {
    "publisher": _publisher,
    "person": lambda saying: saying.person.display_name,
    "sender.display_name": _sender,
    "reference": lambda saying: reference_of(saying.chain.chain_id),
    "count": lambda _: 1,
    "title": _title,
    "why": _why,
}


def reference_of(chain_id: ChainId) -> str:
    """The short code a person may quote: six characters."""
    number = int(chain_id[:12], 16)
    letters = []
    for _ in range(6):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)
