"""A story of a ``*.test.yaml`` as values: a cast, and moves in order; an ``expect`` covers all since the last one.

Every move and expectation knows its place, so that a story that fails can point at the line that was wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from services.rules.conversation.chain import Ending
from services.rules.rulebook.model import Location
from shared.clients.working_calendar import Duration
from shared.contracts.errors import StetError
from shared.contracts.ids import ContactId
from shared.contracts.writes import WriteOperation, WriteOutcome


@dataclass(frozen=True, slots=True)
class Character:
    """A person of the story; the cast replaces people.yaml. ``visitor``: no contact in Consonance, only an address."""

    contact: ContactId
    place: Location
    roles: tuple[str, ...] = ()
    name: str | None = None
    country: str | None = None
    language: str | None = None
    zone: str | None = None
    team: str | None = None
    stands_in_for: ContactId | None = None
    opted_out: bool = False
    reachable: bool = True
    visitor: bool = False


@dataclass(frozen=True, slots=True)
class Happened:
    """``event``: the golden event of that name, changed by ``values``; a None in it removes the field."""

    place: Location
    event: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """``facts``: what is known from now on, by dotted path."""

    place: Location
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """One of ``button`` (an answer's name), ``text``, ``document`` (a file's name), ``reaction`` (an emoji).

    ``mime`` and ``mb`` are the document's content type, else guessed from its name, and its size where it is known.

    ``to`` names the template of the message that is tapped or quoted; without it a tap is on the newest with that
    button, a reaction on the newest of all, and a text quotes nothing.
    """

    place: Location
    sender: ContactId
    button: str | None = None
    text: str | None = None
    document: str | None = None
    mime: str | None = None
    mb: int | None = None
    reaction: str | None = None
    to: str | None = None
    line: str | None = None


@dataclass(frozen=True, slots=True)
class WasRead:
    place: Location
    person: ContactId


@dataclass(frozen=True, slots=True)
class Failed:
    """The newest message to that person failed with this code of Meta's."""

    place: Location
    to: ContactId
    code: int


@dataclass(frozen=True, slots=True)
class Written:
    """The oldest write of that operation that has not come to rest came to this."""

    place: Location
    operation: WriteOperation
    outcome: WriteOutcome


@dataclass(frozen=True, slots=True)
class Wait:
    place: Location
    span: Duration


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Inclusive: what falls due at ``instant`` has happened."""

    place: Location
    instant: datetime


class Kind(StrEnum):
    TELL = "tell"
    ASK = "ask"
    REMIND = "remind"
    COLLECT = "collect"
    HAND_OVER = "hand_over"
    RECORD = "record"
    WITHDRAW = "withdraw"
    LEFT_OUT = "left_out"
    END = "end"


@dataclass(frozen=True, slots=True)
class Expected:
    """One effect, matched as a subset: what is None or empty here may be anything.

    ``who`` is whom a message goes to; ``absent`` (``for``) whom they stand in for; ``left_out`` is by contact, or by
    the role nobody fills; ``text`` is words the message must contain.
    """

    place: Location
    kind: Kind
    who: ContactId | None = None
    absent: ContactId | None = None
    say: str | None = None
    language: str | None = None
    line: str | None = None
    text: str | None = None
    operation: WriteOperation | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    left_out: Mapping[ContactId | str, str] = field(default_factory=dict)
    end: Ending | None = None


@dataclass(frozen=True, slots=True)
class Expect:
    """Everything since the last one, in any order; no effects at all where ``effects`` is empty."""

    place: Location
    effects: tuple[Expected, ...]


Move = Happened | KnownFacts | Reply | WasRead | Failed | Written | Wait | WaitUntil | Expect


@dataclass(frozen=True, slots=True)
class Story:
    """``about`` is the stem of its file: the rule it is the test of."""

    it: str
    about: str
    start: datetime
    people: tuple[Character, ...]
    play: tuple[Move, ...]
    place: Location


class Unplayable(StetError):
    """A move that cannot be made; the sentence says why."""
