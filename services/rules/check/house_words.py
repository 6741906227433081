"""The templates the house itself uses, whatever the rules: the buttons each offers, and the words it may name."""

from collections.abc import Mapping
from dataclasses import dataclass

TAKE = ("take", "not_me")
FINISH = ("done", "give_back")
SUMMARY = ("send", "change", "cancel")
EVERYWHERE = frozenset({"publisher", "person", "why"})
IN_A_CHAIN = frozenset({"reference", "count", "title"})
SAID = frozenset({"who", "said"})
"""Who tapped or wrote, and what: for whoever takes what an answer hands over."""


@dataclass(frozen=True, slots=True)
class HouseTemplate:
    """``chain``: it is said within a chain, and may name what the chain is about."""

    buttons: tuple[str, ...] = ()
    words: frozenset[str] = frozenset()
    chain: bool = True


HOUSE_TEMPLATES: Mapping[str, HouseTemplate] = {
    "noted": HouseTemplate(),
    "handed_over": HouseTemplate(),
    "to_take": HouseTemplate(TAKE, SAID),
    "taken": HouseTemplate(FINISH),
    "not_written": HouseTemplate(),
    "by_hand": HouseTemplate(),
    "closed_question": HouseTemplate(),
    "late_answer": HouseTemplate(words=SAID),
    "left_with_owner": HouseTemplate(),
    "passed_on": HouseTemplate(),
    "to_read": HouseTemplate(),
    "answers_paused": HouseTemplate(),
    "form_change": HouseTemplate(words=frozenset({"choices"})),
    "form_too_long": HouseTemplate(words=frozenset({"length", "most"})),
    "form_no_file": HouseTemplate(),
    "form_wrong_file": HouseTemplate(words=frozenset({"kinds"})),
    "form_large_file": HouseTemplate(words=frozenset({"most"})),
    "taken_as_answer": HouseTemplate(words=frozenset({"said"})),
    "which_question": HouseTemplate(chain=False),
    "shared_number": HouseTemplate(chain=False),
    "stopped": HouseTemplate(chain=False),
    "started": HouseTemplate(chain=False),
    "why_answer": HouseTemplate(chain=False),
    "why_unknown": HouseTemplate(chain=False),
}
