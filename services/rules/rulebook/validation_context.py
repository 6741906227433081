"""The rule files that were read, as every check sees them: the rulebook, the places in the files, the known names."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Location, Rule, Rulebook, Step, Until, answers_of
from services.rules.rulebook.rule_folder import FORM, KINDS, SINGLES, TEMPLATE, is_unknown, stem
from services.rules.rulebook.yaml_nodes import MappingNode, Node, SequenceNode, key_location_of, location_of
from shared.contracts.vocabulary import Role


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """The parts that could be read. ``trees`` know the locations; ``broken`` files are no YAML.

    ``faulty`` files have at least one value that could not be read, in whose place there is a harmless one.
    """

    rulebook: Rulebook
    trees: Mapping[str, Node]
    broken: frozenset[str]
    report: FaultReport = field(default_factory=FaultReport)
    faulty: frozenset[str] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict)

    def place_in_text(self, text: Location, words: str) -> Location:
        """The place of these words, on the line of the text's key or on those below; else the place of the text."""
        lines = self.texts.get(text.file, "").splitlines()
        if text.line > len(lines):
            return text
        if not lines[text.line - 1][text.column - 1 :].startswith((">", "|")):
            at = lines[text.line - 1].find(words, text.column - 1) if words else -1
            return text if at < 0 else Location(text.file, text.line, at + 1)
        indent = _indent(lines[text.line - 1])
        for number in range(text.line, len(lines)):
            if lines[number].strip() and _indent(lines[number]) <= indent:
                break
            if (at := lines[number].find(words)) >= 0:
                return Location(text.file, number + 1, at + 1)
        return text

    def lines_of_text(self, text: Location) -> Iterator[tuple[Location, str]]:
        """The lines of a text below “>” or “|”, each with its place and without its indent; none of another text."""
        lines = self.texts.get(text.file, "").splitlines()
        if text.line > len(lines) or not lines[text.line - 1][text.column - 1 :].startswith((">", "|")):
            return
        indent = 0
        for number in range(text.line, len(lines)):
            words = lines[number].lstrip(" ")
            indent = indent or (len(lines[number]) - len(words) if words else 0)
            if words and len(lines[number]) - len(words) < max(indent, 1):
                return
            if words:
                yield Location(text.file, number + 1, len(lines[number]) - len(words) + 1), words

    def unread(self, suffix: str) -> frozenset[str]:
        """Files of this kind that are no YAML, and files whose name belongs to no kind: the missing file may be one of
        them.
        """
        return frozenset(file for file in self.broken if file.endswith(suffix) or not file.endswith(KINDS)) | frozenset(
            file for file in self.trees if is_unknown(file)
        )

    def location(self, file: str, *path: str | int) -> Location:
        """The location of a single value, or of the key of anything larger."""
        return location_of(self.trees[file], *path) if file in self.trees else Location(file, 1, 1)

    def is_mapping(self, file: str, *path: str | int) -> bool:
        """Whether the keys at ``path`` could be read: False where another value is written in their place."""
        node = self._node(file, path)
        return node is None or isinstance(node, MappingNode)

    def has(self, file: str, *path: str | int) -> bool:
        """Whether anything is written at ``path``."""
        return self._node(file, path) is not None

    def has_mapping(self, file: str, *path: str | int) -> bool:
        """Whether keys are written at ``path``: also False where nothing is."""
        return isinstance(self._node(file, path), MappingNode)

    def _node(self, file: str, path: tuple[str | int, ...]) -> Node | None:
        node: Node | None = self.trees.get(file)
        for part in path:
            if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.nodes):
                node = node.nodes[part]
            else:
                node = node.nodes.get(str(part)) if isinstance(node, MappingNode) else None
        return node

    def key_location(self, file: str, *path: str | int) -> Location:
        return key_location_of(self.trees[file], *path) if file in self.trees else Location(file, 1, 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


@dataclass(frozen=True)
class ValidationContext:
    """The files that were read, and the locations in them. Values that all rules ask for are computed once."""

    loaded: LoadedFiles

    @property
    def book(self) -> Rulebook:
        return self.loaded.rulebook

    @property
    def report(self) -> FaultReport:
        return self.loaded.report

    def location(self, rule: Rule, *path: str | int) -> Location:
        return self.loaded.location(rule.location.file, *path)

    def locations(self, rule: Rule, count: int, *path: str | int) -> tuple[Location, ...]:
        """The locations of the items of a list; of a team, that of its name."""
        return tuple(self.location(rule, *path, index, "team") for index in range(count))

    def until_path(self, rule: Rule, until: Until) -> tuple[str | int, ...]:
        """The path to an item of “until” in the rule's file."""
        tree = self.loaded.trees.get(rule.location.file)
        written = tree.nodes.get("until") if isinstance(tree, MappingNode) else None
        nodes = written.nodes if isinstance(written, SequenceNode) else ()
        index = next((number for number, node in enumerate(nodes) if node.location == until.location), 0)
        return "until", index

    def is_written(self, rule: Rule, key: str) -> bool:
        """Whether the rule's file has the key."""
        tree = self.loaded.trees.get(rule.location.file)
        return isinstance(tree, MappingNode) and key in tree.nodes

    def file_location(self, name: str, *path: str | int) -> Location:
        """A location in people.yaml, calendar.yaml, house.yaml or limits.yaml, in whichever folder the file is."""
        return self.loaded.location(self._file(name), *path)

    def file_key_location(self, name: str, *path: str | int) -> Location:
        return self.loaded.key_location(self._file(name), *path)

    def _file(self, name: str) -> str:
        return self._singles.get(name, name)

    @cached_property
    def _singles(self) -> Mapping[str, str]:
        """The path of each file of which a folder has one; the first where there are several."""
        paths = ((file.rpartition("/")[2], file) for file in reversed(tuple(self.loaded.trees)))
        return {name: file for name, file in paths if name in SINGLES}

    def reads(self, name: str) -> bool:
        """Whether people.yaml, calendar.yaml, house.yaml or limits.yaml could be read: else nothing leans on it."""
        return self._file(name) in self.loaded.trees

    @property
    def reads_people(self) -> bool:
        """Whether people.yaml has keys, so that teams can be looked up in it."""
        return self.reads("people.yaml") and self.loaded.is_mapping(self._file("people.yaml"))

    def reads_whole(self, name: str) -> bool:
        """Whether every value of such a file could be read, so that what it lacks is not only unread."""
        return self.reads(name) and self._file(name) not in self.loaded.faulty

    @cached_property
    def templates(self) -> frozenset[str]:
        """Names of templates, those included that could not be read."""
        return frozenset(self.book.templates) | {stem(file) for file in self.loaded.unread(TEMPLATE)}

    @cached_property
    def without_house_language(self) -> tuple[str, ...]:
        """Templates without the language of house.yaml, where most lack it: then it is at fault, and none of them."""
        own = self.book.tenant.language
        said = [each for each in self.book.templates.values() if each.languages]
        lacking = sorted({each.name for each in said if own not in each.languages})
        return tuple(lacking) if len(lacking) == len(said) or 1 < len(said) < 2 * len(lacking) else ()

    @cached_property
    def lacks_built_in(self) -> bool:
        """Whether the folder has none of the templates that the service itself says."""
        return not self.templates & BUILT_IN_TEMPLATES.keys()

    @cached_property
    def forms(self) -> frozenset[str]:
        return frozenset(self.book.forms) | {stem(file) for file in self.loaded.unread(FORM)}

    @cached_property
    def lacks_team(self) -> bool:
        """Whether the team of a rule is missing: the roles that it gave its people are missing with it."""
        teams = {name.casefold() for name in self.book.people.teams}
        return any(rule.owner and rule.owner.casefold() not in teams for rule in self.book.rules.values())

    @cached_property
    def lacks_form(self) -> bool:
        """Whether a rule names a form that is not there: what else names its fields follows from that."""
        return names_missing_form(self.book, self.forms)

    @cached_property
    def form_words(self) -> frozenset[str]:
        """The fields of all forms, and those that their languages ask for by another name, which is reported there."""
        forms = self.book.forms.values()
        asked = {name for form in forms for texts in form.languages.values() for name in texts}
        return frozenset(field.name for form in forms for field in form.fields) | asked

    @cached_property
    def roles(self) -> frozenset[str]:
        return known_roles(self.book)

    @cached_property
    def staffed(self) -> frozenset[str]:
        """Roles that people.yaml gives at least one contact."""
        return staffed_roles(self.book)


def names_missing_form(book: Rulebook, forms: Collection[str]) -> bool:
    """Whether a rule names a form that is none of these."""
    steps = (step for rule in book.rules.values() for step in rule.steps)
    return any(name not in forms for step in steps for name in forms_of_step(step))


def forms_of_step(step: Step) -> Iterator[str]:
    """The names of forms that the step or an answer to it begins."""
    yield from (name for name in (step.form, *(answer.form for answer in answers_of(step))) if name)


def staffed_roles(book: Rulebook) -> frozenset[str]:
    """Roles that people.yaml gives at least one contact."""
    tables = (*book.people.teams.values(), *book.people.imprints.values())
    return frozenset(role for table in tables for role, contacts in table.items() if contacts)


def known_roles(book: Rulebook) -> frozenset[str]:
    return frozenset(map(str, Role)) | staffed_roles(book)
