"""The templates and rules that the service itself uses, whatever the rule files contain."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.rules.rulebook.model import FieldKind, Location, Rule, Rulebook, Step, Team, Verb
from shared.contracts.ids import RuleId

TAKE = ("take", "not_me")
FINISH = ("done", "give_back")
SUMMARY = ("send", "change", "cancel")
STOP_ALL = "stop_all"
"""The answer of the button that opts out, where a form has taken a stop word for the answer to its question."""
MACHINE_TEXT = "form_machine_text"
"""The template that says that a text was not taken for the answer, since it looks like one that a machine sent."""
FORM_CANCELLED = "form_cancelled"
"""The template for who cancels a form; without it ``noted`` answers, though nothing is passed on."""
NOT_WANTED = "not_wanted"
"""The template that says that a person of the house has decided against a write; without it ``not_written`` does."""
ALREADY_TAKEN = "already_taken"
"""The template that says which colleague has a matter, to who taps an offer of it later; without it
``closed_question`` does."""
MATTER_CLOSED = "matter_closed"
"""The template for who fills a form or has the matter, when another ends it; without it they are not told."""
TO_READ = "to_read"
"""The template that shows a team what a person wrote, where there is no matter to take."""
COVER_ANNOUNCED, TO_COVER = "cover_announced", "to_cover"
"""The templates that tell a team that a colleague is away, and the one of them who covers; without the second the
first is for all."""
DIGEST, SHOW = "digest", "show"
"""The template of a message for several others, and the answer of its button."""

EVERYWHERE = frozenset({"publisher", "person", "why"})
IN_A_CHAIN = frozenset({"reference", "count", "title", "on_behalf_of"})
ANSWERED = frozenset({"who", "said"})
"""The person who tapped or wrote, and the text of the answer that is handed over; of a copy, the people who got the
message and its text."""

RESERVED_PREFIX = "house-"
INBOX_RULE_PREFIX = f"{RESERVED_PREFIX}inbox-"
PAUSED_RULE_PREFIX = f"{RESERVED_PREFIX}brake-"
ABSENCE_RULE_PREFIX = f"{RESERVED_PREFIX}absence-"
WRONG_PERSON_RULE_PREFIX = f"{RESERVED_PREFIX}wrong-person-"
"""Prefixes of built-in rules; each team has one rule of each prefix. The team gets unasked messages, and is told when a
person's messages are no longer answered, when one of the team covers for a colleague, and when an address belongs to
another person.
"""


@dataclass(frozen=True, slots=True)
class BuiltInTemplate:
    """The buttons the template must offer, those it may offer, and the words it may name. ``chain``: it is used within
    a chain, and may name the subject of the chain. ``optional``: a publisher need not have it. ``is_part``: it stands
    within another text, and never goes by itself.
    """

    buttons: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    chain: bool = True
    optional: bool = False
    may_offer: tuple[str, ...] = ()
    is_part: bool = False


_DAYS = frozenset({"first_day", "last_day"})

BUILT_IN_TEMPLATES: Mapping[str, BuiltInTemplate] = {
    "noted": BuiltInTemplate(),
    "handed_over": BuiltInTemplate(),
    "to_take": BuiltInTemplate(TAKE, ANSWERED),
    "taken": BuiltInTemplate(FINISH),
    ALREADY_TAKEN: BuiltInTemplate(words=frozenset({"who"}), optional=True),
    "not_written": BuiltInTemplate(),
    NOT_WANTED: BuiltInTemplate(optional=True),
    "by_hand": BuiltInTemplate(),
    "closed_question": BuiltInTemplate(),
    MATTER_CLOSED: BuiltInTemplate(optional=True),
    "late_answer": BuiltInTemplate(words=ANSWERED),
    "left_with_owner": BuiltInTemplate(),
    "copy": BuiltInTemplate(words=ANSWERED),
    "passed_on": BuiltInTemplate(),
    TO_READ: BuiltInTemplate(),
    "answers_paused": BuiltInTemplate(),
    "form_change": BuiltInTemplate(words=frozenset({"choices"})),
    "form_too_long": BuiltInTemplate(words=frozenset({"length", "most"})),
    "form_no_file": BuiltInTemplate(),
    "form_wrong_file": BuiltInTemplate(words=frozenset({"kinds"})),
    "form_large_file": BuiltInTemplate(words=frozenset({"most"})),
    "form_broken_file": BuiltInTemplate(optional=True),
    "form_unsafe_file": BuiltInTemplate(optional=True),
    FORM_CANCELLED: BuiltInTemplate(optional=True),
    MACHINE_TEXT: BuiltInTemplate(optional=True),
    "taken_as_answer": BuiltInTemplate(may_offer=(STOP_ALL,), words=frozenset({"said"})),
    COVER_ANNOUNCED: BuiltInTemplate(),
    TO_COVER: BuiltInTemplate(optional=True),
    "absence_noted": BuiltInTemplate(words=_DAYS | {"cover"}, chain=False),
    "absence_uncovered": BuiltInTemplate(words=_DAYS, chain=False),
    "absence_unclear": BuiltInTemplate(chain=False),
    "absence_over": BuiltInTemplate(chain=False),
    "address_disputed": BuiltInTemplate(),
    "wrong_person": BuiltInTemplate(chain=False),
    DIGEST: BuiltInTemplate((SHOW,), frozenset({"items", "count"}), chain=False),
    "which_question": BuiltInTemplate(chain=False),
    "shared_number": BuiltInTemplate(chain=False),
    "stopped": BuiltInTemplate(chain=False),
    "started": BuiltInTemplate(chain=False),
    "why_answer": BuiltInTemplate(chain=False),
    "why_details": BuiltInTemplate(words=frozenset({"event", "when", "asked_by"}), optional=True, is_part=True),
    "why_unknown": BuiltInTemplate(chain=False),
}

TYPED_FIELDS: Mapping[FieldKind, str] = {
    kind: f"form_wrong_{kind}"
    for kind in (FieldKind.ISBN, FieldKind.DATE, FieldKind.EMAIL, FieldKind.NUMBER, FieldKind.PHONE)
}
"""The template for what does not fit a field of this type. It must exist where a form has such a field."""

FIELD_REFUSED = BuiltInTemplate(words=frozenset({"example"}))
"""``example`` is a value that would fit, as the person would write it."""

STAFF_TEMPLATES = frozenset(
    {
        "to_take", "taken", ALREADY_TAKEN, "late_answer", "left_with_owner", "copy", TO_READ, "answers_paused",
        COVER_ANNOUNCED, TO_COVER, "absence_noted", "absence_uncovered", "absence_unclear", "absence_over",
        "address_disputed",
    }
)  # fmt: skip
"""The templates that go to people of the house alone."""

_BUILT_IN = Location("house", 0, 0)
_WHY = {
    "en": "Somebody wrote to the house, and your team looks after them.",
    "fr": "Quelqu’un a écrit à la maison, et votre équipe s’en occupe.",
}


def add_built_in_rules(book: Rulebook) -> Rulebook:
    """``book`` with one of each built-in rule for every team."""
    templates = {
        INBOX_RULE_PREFIX: TO_READ,
        PAUSED_RULE_PREFIX: "answers_paused",
        ABSENCE_RULE_PREFIX: COVER_ANNOUNCED,
        WRONG_PERSON_RULE_PREFIX: "address_disputed",
    }
    own = {
        RuleId(prefix + team): _rule(prefix, team, template)
        for prefix, template in templates.items()
        for team in book.people.teams
    }
    return replace(book, rules={**book.rules, **own})


def _rule(prefix: str, team: str, template: str) -> Rule:
    tell = Step(index=0, verb=Verb.TELL, location=_BUILT_IN, who=(Team(team),), say=template)
    return Rule(name=RuleId(prefix + team), owner=team, why=_WHY, events=(), steps=(tell,), location=_BUILT_IN)
