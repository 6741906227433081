"""Plays a story in virtual time, and says at which line it went otherwise than it was told."""

import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from msgspec import ValidationError

from services.rules.conversation import button_ids
from services.rules.conversation.chain import ChainMessage
from services.rules.conversation.decider import Decider
from services.rules.conversation.facts import Facts, PersonFacts
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.model import Rulebook
from services.rules.story.cast import TENANT, Cast, cast_of
from services.rules.story.happening import data_of
from services.rules.story.model import (
    Expect,
    Failed,
    Happened,
    KnownFacts,
    Move,
    Reply,
    Story,
    Unplayable,
    Wait,
    WaitUntil,
    WasRead,
    Written,
)
from services.rules.story.seen import Seen, pair, seen, singly, spelled
from services.rules.story.setting import Setting
from services.rules.story.stage import Stage
from shared.contracts.errors import Misconfigured
from shared.contracts.ids import ContactId, Wamid, partition_key
from shared.contracts.whatsapp import Media

_KEY = b"what a story's buttons are signed with"
_UNKNOWN = Wamid("wamid.unknown")
"""What somebody reacts to who has got no message of ours that rules could know."""


def play(story: Story, rulebook: Rulebook) -> list[FileFault]:
    """The first move that cannot be made, or expectation that is not met; what follows it would only repeat it."""
    playing = _Playing.of(story, *_prepared(rulebook))
    for move in story.play:
        try:
            faults = _MOVES[type(move)](playing, move)
        except Unplayable as error:
            faults = [FileFault(move.place, str(error))]
        except (Misconfigured, ValidationError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            faults = [FileFault(move.place, f"this cannot be played: {error}")]
        if faults:
            return [FileFault(fault.location, f"{story.it}: {fault.sentence}", fault.hint) for fault in faults]
    return []


@lru_cache(maxsize=2)
def _prepared(rulebook: Rulebook) -> tuple[Rulebook, RuleMatcher]:
    """Building an engine takes far longer than a story; it keeps nothing from one event to the next."""
    book = add_built_in_rules(rulebook)
    return book, RuleMatcher(book.rules.values())


@dataclass(frozen=True, slots=True)
class _Playing:
    cast: Cast
    stage: Stage
    setting: Setting

    @classmethod
    def of(cls, story: Story, book: Rulebook, engine: RuleMatcher) -> "_Playing":
        cast = cast_of(story, book)
        decider = Decider(
            rulebook=cast.book, rulebook_at=lambda _: cast.book, matcher=engine,
            zone_of=lambda person: person.zone, signing_keys=(_KEY,),
        )  # fmt: skip
        people = {person.person_id: person for person in cast.people.values()}
        facts = Facts(TENANT, people=people, consent=dict(cast.consent))
        return cls(cast, Stage(decider, facts, story.start), Setting(cast, facts))

    def person(self, contact: ContactId) -> PersonFacts:
        if contact not in self.cast.people:
            raise Unplayable(f"{contact} is not among the people of this story")
        return self.cast.people[contact]

    def last_to(self, contact: ContactId, answer: str | None = None, say: str | None = None) -> ChainMessage:
        found = self.stage.last_to(self.person(contact).person_id, answer, say)
        if found is None:
            which = "".join((f" “{say}”" if say else "", f" with a button “{answer}”" if answer else ""))
            raise Unplayable(f"{contact} has got no message{which}")
        return found


# ------------------------------------------------------------------ moves


def _happened(playing: _Playing, move: Happened) -> list[FileFault]:
    data = data_of(move, playing.cast)
    playing.setting.before(data, playing.stage.now)
    playing.stage.happens(data, partition_key(TENANT, "story"))
    return []


def _facts(playing: _Playing, move: KnownFacts) -> list[FileFault]:
    playing.setting.known(move.values, playing.stage.now)
    return []


def _reply(playing: _Playing, move: Reply) -> list[FileFault]:
    person = playing.person(move.sender)
    line = move.line or playing.stage.line_of(person.person_id) or playing.cast.book.tenant.default_line
    if move.reaction is not None:
        quoted = playing.stage.last_to(person.person_id, say=move.to)
        wamid = (quoted.wamid if quoted else None) or _UNKNOWN
        playing.stage.reacts(person.person_id, move.reaction, line=line, quoted=wamid)
        return []
    asked = playing.last_to(move.sender, move.button, move.to) if move.button or move.to else None
    if asked is not None and move.button:
        button = button_ids.sign_button_id((_KEY,), asked.message_id, move.button)
        playing.stage.says(person.person_id, text=_title(playing, asked, move.button), button=button, line=line)
        return []
    media = _document(move, move.document) if move.document else None
    playing.stage.says(person.person_id, text=move.text, media=media, line=line, quoted=asked.wamid if asked else None)
    return []


def _title(playing: _Playing, asked: ChainMessage, answer: str) -> str:
    """What stands on the button, which WhatsApp sends along with its id."""
    template = playing.cast.book.templates.get(asked.say)
    wording = template.languages.get(asked.language or "") if template else None
    return wording.buttons.get(answer, answer) if wording else answer


def _document(move: Reply, name: str) -> Media:
    size = None if move.mb is None else move.mb * 1_000_000
    return Media(media_id=f"media.{name}", mime=move.mime or mimetypes.guess_type(name)[0], filename=name, size=size)


def _read(playing: _Playing, move: WasRead) -> list[FileFault]:
    playing.stage.reads(playing.last_to(move.person))
    return []


def _failed(playing: _Playing, move: Failed) -> list[FileFault]:
    playing.stage.fails(playing.last_to(move.to), move.code)
    return []


def _written(playing: _Playing, move: Written) -> list[FileFault]:
    if not playing.stage.written(move.operation, move.outcome):
        raise Unplayable(f"no {move.operation} has been asked for that is not settled")
    return []


def _wait(playing: _Playing, move: Wait) -> list[FileFault]:
    playing.stage.wait(playing.cast.book.calendar.office.add(playing.stage.now, move.span))
    return []


def _wait_until(playing: _Playing, move: WaitUntil) -> list[FileFault]:
    if move.instant < playing.stage.now:
        raise Unplayable(f"it is {playing.stage.now:%Y-%m-%dT%H:%M:%SZ} already")
    playing.stage.wait(move.instant)
    return []


def _expect(playing: _Playing, move: Expect) -> list[FileFault]:
    stage = playing.stage
    effects = seen(stage.effects, stage.facts, playing.cast)
    stage.effects.clear()
    expected = tuple(singly(move.effects))
    pairs = pair(expected, effects)
    listed = ", ".join(_told(effect, move) for effect in effects) or "nothing"
    missing = [
        FileFault(one.place, f"expected {spelled(one)}; what happened: {listed}")
        for place, one in enumerate(expected)
        if place not in pairs
    ]
    extra = [_told(effect, move) for place, effect in enumerate(effects) if place not in pairs.values()]
    if extra and not missing:
        missing = [FileFault(move.place, f"also happened: {', '.join(extra)}")]
    return missing


def _told(effect: Seen, move: Expect) -> str:
    """With its text only where a text was expected."""
    if effect.text is None or all(one.text is None for one in move.effects):
        return str(effect)
    return f"{str(effect)[:-1]}, text: {effect.text}}}"


_MOVES: Mapping[type[Move], Callable[[_Playing, Any], list[FileFault]]] = {
    Happened: _happened,
    KnownFacts: _facts,
    Reply: _reply,
    WasRead: _read,
    Failed: _failed,
    Written: _written,
    Wait: _wait,
    WaitUntil: _wait_until,
    Expect: _expect,
}
