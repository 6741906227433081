"""A publisher's own words, mapped: stage names, approval statuses, tags of contacts, and ONIX contributor roles."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from shared.contracts.consonance import ComponentState
from shared.contracts.vocabulary import Role, Stage

_T = TypeVar("_T")
_APART = re.compile(r"[\s_\-]+")

STAGES: Mapping[str, Stage] = {
    **{stage.value: stage for stage in Stage},
    "contract_signed": Stage.ACQUIRED,
    "in_editorial_review": Stage.EDITORIAL_REVIEW,
    "with_copyeditor": Stage.COPYEDIT_ASSIGNED,
}
APPROVALS: Mapping[str, ComponentState] = {
    **{state.value: state for state in ComponentState},
    "approved": ComponentState.FINAL,
}
CONTRIBUTORS: Mapping[str, Role] = {
    "A01": Role.AUTHOR,
    "A02": Role.AUTHOR,
    "A11": Role.DESIGNER,
    "A12": Role.ILLUSTRATOR,
    "A13": Role.ILLUSTRATOR,
    "A36": Role.DESIGNER,
    "B01": Role.EDITOR,
    "B06": Role.TRANSLATOR,
    "B08": Role.TRANSLATOR,
    "B09": Role.EDITOR,
    "B13": Role.EDITOR,
}
"""ONIX list 17; every other code is a contributor all the same."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a tenant calls things, beside what is understood anyway. Spaces, dashes and case do not matter."""

    stages: Mapping[str, Stage] = field(default_factory=dict)
    approvals: Mapping[str, ComponentState] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def stage(self, name: str | None) -> Stage:
        return _look_up(name, self.stages, STAGES) or Stage.UNMAPPED

    def approval(self, name: str | None) -> ComponentState:
        """A word nobody mapped is a draft: never final by mistake."""
        return _look_up(name, self.approvals, APPROVALS) or ComponentState.DRAFT

    def contributor(self, code: str | None) -> Role:
        return CONTRIBUTORS.get((code or "").lstrip("_"), Role.CONTRIBUTOR_OTHER)

    def meaning(self, tags: Iterable[str]) -> "Tagged":
        """``role:agent``, ``language:fr``, ``zone:Europe/Paris``, a bare role; or what the tenant says a tag means."""
        own = {plain(tag): meaning for tag, meaning in self.tags.items()}
        found: dict[str, list[str]] = {"role": [], "language": [], "zone": []}
        for tag in tags:
            what, _, value = own.get(plain(tag), tag).partition(":")
            found.setdefault(plain(what) if value else "role", []).append(value.strip() or tag)
        roles = tuple(role for tag in found["role"] if (role := _ROLES.get(plain(tag))) is not None)
        return Tagged(roles, tuple(found["language"]), tuple(found["zone"]))


@dataclass(frozen=True, slots=True)
class Tagged:
    """Languages and zones as they are written, the first to count first."""

    roles: tuple[Role, ...]
    languages: tuple[str, ...]
    zones: tuple[str, ...]


def plain(word: str) -> str:
    return _APART.sub("_", word.strip().casefold())


_ROLES = {role.value: role for role in Role}


def _look_up(name: str | None, own: Mapping[str, _T], known: Mapping[str, _T]) -> _T | None:
    if not name:
        return None
    word = plain(name)
    return next((value for key, value in own.items() if plain(key) == word), known.get(word))
