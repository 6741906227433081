"""Takes what is personal out of recorded decisions and events: a bundle leaves the system, and may be shown to others.

People outside the rule files get keyed pseudonyms, names become ``Person AB12``, texts other words of the same length,
WhatsApp's ids and numbers keyed hashes. The same key gives the same pseudonyms; it is thrown away with the command.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from services.rules.conversation import button_ids
from services.rules.conversation.absence_text import AbsenceText, Leave, write_absence
from services.rules.conversation.chain import Chain, ChainMessage
from services.rules.conversation.fact_values import PersonFacts
from services.rules.conversation.facts import Facts
from services.rules.conversation.rendering import reference_code
from services.rules.rulebook.model import Rulebook
from shared.contracts.contacts import PLACEHOLDER_NAME, is_real_name
from shared.contracts.ids import ContactId, MessageId, PersonId, TenantId, derive_id, person_id_of_contact
from shared.contracts.intents import classify, has_words

BUNDLE_KEYS = (b"signs the buttons of a bundle",)
"""The key of buttons in a bundle, which answers nothing anywhere else."""

_PERSON = re.compile(r"\b[pv][0-9a-f]{32}\b")
_WAMID = re.compile(r"wamid\.[\w+/=.-]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_FILE_ENDING = re.compile(r"[A-Za-z0-9]{2,5}")
_OPTION = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_CONTACTS = frozenset({"contact_id", "via_agent_contact_id", "submitter_contact"})
_NAMES = frozenset({"display_name", "submitter_name"})
_TEXTS = frozenset({"text", "said", "body", "rendered", "pitch_text", "filename", "contributors_display"})
_HASHED = frozenset({"media_id", "sha256", "phone", "bsuid"})
_ACTORS = frozenset({"actor", "requested_by", "resolved_by"})
_FORM_VALUES = frozenset({"values", "further"})
_ALPHABET = "abcdefghijklmnoprstuvz"


def is_personal(field: str) -> bool:
    """Whether a field of an event or a fact, by its dotted path, holds a name, an address or a text of a person."""
    *within, name = field.split(".")
    return name in _NAMES | _TEXTS | _HASHED or (name == "name" and not _ACTORS.isdisjoint(within))


def contacts_named(book: Rulebook) -> frozenset[ContactId]:
    """The contacts that the rule files name: readers of the rules know them."""
    people = book.people
    teams = (*people.teams.values(), *people.imprints.values())
    named = {contact for team in teams for contacts in team.values() for contact in contacts}
    return frozenset(named | {each for one in people.stands_in for each in (one.who, one.absent)})


class Pseudonyms:
    """Replaces what is personal in JSON documents. ``named`` are the contacts that keep their ids."""

    def __init__(self, key: bytes, tenant: TenantId, named: Iterable[ContactId], options: Iterable[str] = ()) -> None:
        self._key = key[:64]
        self._named = frozenset(named)
        self._kept = frozenset(person_id_of_contact(tenant, contact) for contact in self._named)
        self._options = frozenset(option.casefold() for option in options)
        self._names: dict[str, PersonId] = {}
        self._messages: dict[str, str] = {}
        self._codes: frozenset[str] = frozenset()
        self._hashes: dict[int, int] = {}
        self._notices: dict[str, str] = {}
        self._notice_words: tuple[list[int], list[int]] = ([], [])

    # -------------------------------------------------------------- single values

    def _hash(self, *parts: object) -> str:
        return blake2b(repr(parts).encode(), key=self._key, digest_size=16).hexdigest()

    def person(self, person: str) -> str:
        return person if person in self._kept else person[0] + self._hash("person", person)

    def contact(self, contact: int) -> int:
        if contact in self._named:
            return contact
        return 1_000_000_000 + int(self._hash("contact", contact)[:7], 16)

    def name(self, name: str, person: str | None = None) -> str:
        if not is_real_name(name):
            return PLACEHOLDER_NAME
        person = person or self._names.get(name)
        return f"Person {short_pseudonym(self.person(person)) if person else self._hash('name', name)[:4].upper()}"

    def text(self, text: str) -> str:
        """Other words of the same length; what only rules understand (STOP, an option, a code) stays as it is."""
        if text in self._notices:
            return self._notices[text]
        if text in self._names and is_real_name(text):
            return self.name(text)
        if classify(text) is not None or not has_words(text) or text.strip().casefold() in self._options:
            return text
        if _OPTION.fullmatch(text) and "_" in text:
            return text
        stem, dot, ending = self._string(text).rpartition(".")
        if not dot or _FILE_ENDING.fullmatch(ending) is None:
            stem, dot, ending = stem + dot + ending, "", ""
        return _LETTERS.sub(lambda word: self._word(word[0]), stem) + dot + ending

    def _word(self, word: str) -> str:
        if word.upper() in self._codes:
            return word
        digest = blake2b(word.casefold().encode(), key=self._key, digest_size=32).digest()
        letters = "".join(_ALPHABET[digest[index % 32] % len(_ALPHABET)] for index in range(len(word)))
        return letters.upper() if word.isupper() else letters.capitalize() if word[0].isupper() else letters

    def _string(self, text: str) -> str:
        """Ids and numbers within any string."""
        if text in self._messages:
            return self._messages[text]
        text = _PERSON.sub(lambda found: self.person(found[0]), text)
        return _WAMID.sub(lambda found: f"wamid.{self._hash('wamid', found[0])}", text)

    def _button(self, button: str) -> str:
        claimed = button_ids.claimed_message(button)
        if claimed is None:
            return self._hash("button", button)
        answer = button.split(".")[2]
        return button_ids.sign_button_id(BUNDLE_KEYS, MessageId(self._messages.get(claimed, claimed)), answer)

    def is_notice(self, words: Sequence[object]) -> bool:
        """Whether these are the hashes of the words of the learnt notice."""
        return bool(words) and words == self._notice_words[0][: len(words)]

    # -------------------------------------------------------------- documents

    def learn_people(self, people: Iterable[PersonFacts]) -> None:
        """Learn the names of people, which stand in texts and words without their ids."""
        self._names = {one.display_name: one.person_id for one in people}

    def learn_chains(self, known: Iterable[Chain]) -> None:
        """Learn the messages of these chains, whose ids are made of their persons' ids."""
        chains = tuple(known)
        self._codes = frozenset(reference_code(chain.chain_id) for chain in chains)
        self._messages = {}
        for chain in chains:
            for message in chain.messages:
                self._messages[message.message_id] = self._message_id(chain, message)

    def _message_id(self, chain: Chain, message: ChainMessage) -> str:
        wamids = [given.wamid for given in chain.answers]
        keys = ["", *wamids, *(f"{message.say}.{wamid}" for wamid in wamids), str(chain.steps[0].occurrence)]
        keys += [f"{message.say}.{write.write_id}" for write in chain.writes]
        keys += [f"tell.{number}" for number in range(1, len(chain.answers) + 1)]
        keys += [str(number) for number in range(chain.form.prompts)] if chain.form is not None else []
        for key in dict.fromkeys(keys):
            step, person = f"{message.step}.{message.answer or ''}.{key}", message.person_id
            if derive_id("message", chain.chain_id, step, message.occurrence, person) == message.message_id:
                pseudonym = PersonId(self.person(person))
                return derive_id("message", chain.chain_id, self._string(step), message.occurrence, pseudonym)
        return self._hash("message", message.message_id)

    def learn_notice(self, text: str | None, stated: AbsenceText | None, facts: Facts) -> None:
        """Learn what a member of staff says about an absence in the text to replace: rules must understand it."""
        self._notices = {}
        if text is None or stated is None:
            return
        cover = facts.people.get(stated.cover) if isinstance(stated, Leave) and stated.cover is not None else None
        name = self.name(cover.display_name, cover.person_id) if cover is not None else ""
        self._notices = {text: write_absence(stated, name)}

    def learn_text(self, text: str | None, hash_of: Any) -> None:
        """Learn the hashes of the words of the message to decide on, so that a repetition is known as one."""
        self._hashes, self._notice_words = {}, ([], [])
        if text is not None and (notice := self._notices.get(text)) is not None:
            before, after = ([hash_of(word) for word in _LETTERS.findall(one.casefold())] for one in (text, notice))
            self._notice_words = before, after
            return
        if text is None or self.text(text) == text:
            self._hashes = {hash_of(word): hash_of(word) for word in _LETTERS.findall((text or "").casefold())}
            return
        for word in _LETTERS.findall(text.casefold()):
            self._hashes[hash_of(word)] = hash_of(self._word(word).casefold())

    def replace(self, raw: bytes) -> bytes:
        """A JSON document without what is personal."""
        return orjson.dumps(self.replace_values(orjson.loads(raw)))

    def replace_values(self, value: Any, name: str = "", person: str | None = None) -> Any:
        match value:
            case dict():
                return self._mapping(value, name)
            case list() if name == "words":
                return self._hashes_of_words(value)
            case list():
                return [self.replace_values(each, name) for each in value]
            case str():
                return self._by_name(value, name, person)
            case int() if name in _CONTACTS and not isinstance(value, bool):
                return self.contact(value)
            case _:
                return value

    def _hashes_of_words(self, words: list[int]) -> list[int]:
        if self.is_notice(words):
            return self._notice_words[1]
        return [self._hashes.get(one, int(self._hash("hash", one)[:8], 16)) for one in words]

    def _mapping(self, value: Mapping[str, Any], name: str) -> dict[str, Any]:
        if name in _FORM_VALUES or name == "words":
            return {key: self._word_of_ours(key, each) for key, each in value.items()}
        if name in _ACTORS and isinstance(actor := value.get("name"), str):
            value = {**value, "name": self.name(actor)}
        person = value.get("person_id")
        return {self._string(key): self.replace_values(each, key, person) for key, each in value.items()}

    def _word_of_ours(self, key: str, value: Any) -> Any:
        if not isinstance(value, str):
            return self.replace_values(value, key)
        if key == "person_id":
            return self._string(value)
        return self.name(value) if key == "who" else self.text(value)

    def _by_name(self, value: str, name: str, person: str | None) -> str:
        if name in _NAMES:
            return self.name(value, person)
        if name in _TEXTS:
            return self.text(value)
        if name in _HASHED:
            return f"+{self._hash(name, value)}" if name == "phone" else self._hash(name, value)
        if name == "button_id":
            return self._button(value)
        return self._string(value)


def is_person_id(text: str) -> bool:
    """Whether a text is the id of a person, and nothing more."""
    return _PERSON.fullmatch(text) is not None


def short_pseudonym(person: str) -> str:
    """Four characters that tell people of one bundle apart in a text."""
    return blake2b(person.encode(), digest_size=2).hexdigest().upper()
