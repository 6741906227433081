"""Maps a tenant's terms to ours: stage names, approval statuses, tags of contacts, and ONIX contributor roles."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from shared.contracts.consonance import ComponentState
from shared.contracts.vocabulary import Role, Stage

_T = TypeVar("_T")
_SEPARATORS = re.compile(r"[\s_\-]+")

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
CONTRIBUTOR_ROLES: Mapping[str, Role] = {
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
"""ONIX code list 17; every other code is ``CONTRIBUTOR_OTHER``."""

_ROLES = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class ParsedTags:
    """Languages and zones as written, in the order of the tags; the first known one counts."""

    roles: tuple[Role, ...]
    languages: tuple[str, ...]
    zones: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TenantVocabulary:
    """A tenant's own terms, beside those known for all tenants. Spaces, dashes and case do not matter."""

    stages: Mapping[str, Stage] = field(default_factory=dict)
    approvals: Mapping[str, ComponentState] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def stage(self, name: str | None) -> Stage:
        return _look_up(name, self.stages, STAGES) or Stage.UNMAPPED

    def approval(self, name: str | None) -> ComponentState:
        """An unmapped term is a draft: never final by mistake."""
        return _look_up(name, self.approvals, APPROVALS) or ComponentState.DRAFT

    def contributor_role(self, code: str | None) -> Role:
        return CONTRIBUTOR_ROLES.get((code or "").lstrip("_"), Role.CONTRIBUTOR_OTHER)

    def parse_tags(self, tags: Iterable[str]) -> ParsedTags:
        """``role:agent``, ``language:fr``, ``zone:Europe/Paris``, a role alone, or the tenant's term for one."""
        own = {normalize_term(tag): meaning for tag, meaning in self.tags.items()}
        found: dict[str, list[str]] = {"role": [], "language": [], "zone": []}
        for tag in tags:
            name, _, value = own.get(normalize_term(tag), tag).partition(":")
            found.setdefault(normalize_term(name) if value else "role", []).append(value.strip() or tag)
        roles = tuple(role for tag in found["role"] if (role := _ROLES.get(normalize_term(tag))) is not None)
        return ParsedTags(roles, tuple(found["language"]), tuple(found["zone"]))


def normalize_term(term: str) -> str:
    return _SEPARATORS.sub("_", term.strip().casefold())


def _look_up(name: str | None, own: Mapping[str, _T], known: Mapping[str, _T]) -> _T | None:
    if not name:
        return None
    term = normalize_term(name)
    return next((value for key, value in own.items() if normalize_term(key) == term), known.get(term))
