"""What every check is given: what was loaded, and where to say what is wrong with it."""

from dataclasses import dataclass

from services.rules.language.faults import Report
from services.rules.language.loader import FORM, TEMPLATE, Loaded, stem
from services.rules.rulebook import Rule, Rulebook
from services.rules.terms import Place
from shared.contracts.vocabulary import Role


@dataclass(frozen=True, slots=True)
class Scope:
    loaded: Loaded

    @property
    def book(self) -> Rulebook:
        return self.loaded.rulebook

    @property
    def report(self) -> Report:
        return self.loaded.report

    def place(self, rule: Rule, *path: str | int) -> Place:
        return self.loaded.place(rule.place.file, *path)

    def places(self, rule: Rule, count: int, *path: str | int) -> tuple[Place, ...]:
        """Where each of so many items stands."""
        return tuple(self.place(rule, *path, index) for index in range(count))

    def single(self, name: str, *path: str | int) -> Place:
        """A place in people.yaml and its like, wherever in the folder that is."""
        return self.loaded.place(self._file(name), *path)

    def single_key(self, name: str, *path: str | int) -> Place:
        return self.loaded.key(self._file(name), *path)

    def _file(self, name: str) -> str:
        return next((file for file in self.loaded.trees if file.rpartition("/")[2] == name), name)

    def templates(self) -> frozenset[str]:
        """Names of templates, those included that could not be read."""
        return frozenset(self.book.templates) | {stem(file) for file in self.loaded.broken if file.endswith(TEMPLATE)}

    def forms(self) -> frozenset[str]:
        return frozenset(self.book.forms) | {stem(file) for file in self.loaded.broken if file.endswith(FORM)}

    def house_roles(self) -> frozenset[str]:
        """Roles somebody in people.yaml fills."""
        people = self.book.people
        tables = (*people.teams.values(), *people.imprints.values())
        return frozenset(role for table in tables for role, contacts in table.items() if contacts)

    def roles(self) -> frozenset[str]:
        return frozenset(map(str, Role)) | self.house_roles()
