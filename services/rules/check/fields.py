"""Fields by name: declared for these events, and there when something leans on them."""

from dataclasses import dataclass

from services.rules.catalogue import known_paths, resolve
from services.rules.fieldtypes import FieldSpec
from services.rules.language.faults import Report
from services.rules.terms import Place


@dataclass(frozen=True, slots=True)
class View:
    """What may be named at one spot: ``sure`` fields are there although their event may lack them."""

    events: tuple[str, ...]
    report: Report
    started_by: tuple[str, ...] = ()
    sure: frozenset[str] = frozenset()

    def find(self, path: str, place: Place) -> FieldSpec | None:
        """The field, or None after saying that there is none."""
        if not path:
            return None
        found = resolve(self.events, path, self.started_by)
        if found is None and self.events:
            known = known_paths(self.events, self.started_by)
            self.report.unknown(place, f"{self._said()} has no “{path}”", path, known)
        return found

    def lean_on(self, path: str, place: Place, what: str) -> FieldSpec | None:
        """The field, which must be there: declared, and guarded where it may be absent."""
        found = self.find(path, place)
        if found is not None and found.optional and not self._is_sure(path):
            self.report.add(place, f"“{path}” may be absent, and {what}; guard it: if: {{{path}: {{exists: true}}}}")
        return found

    def _is_sure(self, path: str) -> bool:
        """A field is there when it was asked for, or anything within it was."""
        return any(sure == path or sure.startswith(f"{path}.") for sure in self.sure)

    def _said(self) -> str:
        return " or ".join(self.events)
