"""The base of the rule files' schemas: sections, and the lists and mappings in them.

Each kind of file is a pydantic model of ``Section``s over the nodes of its YAML text. A section reports every fault of
its own with its location and yields a harmless value in its place, so that one reading finds the faults of all files.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    Tag,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from services.rules.rulebook import model
from services.rules.rulebook.codes import check_language
from services.rules.rulebook.faults import FaultReport, InvalidValue, nearest_word
from services.rules.rulebook.meant_keys import (
    NEARLY_A_KEY,
    nearest_key,
    place_of_key,
    reason_for_no_key,
    with_keys_back,
    with_swallowed_keys,
)
from services.rules.rulebook.model import NOWHERE, Location
from services.rules.rulebook.single_values import LiteralText, Text, is_reported, report_of
from services.rules.rulebook.yaml_nodes import ABSENT, Absent, Faulty, MappingNode, Node, ScalarNode, SequenceNode
from shared.clients.working_calendar import Duration


def _is_empty_key(node: Node | None) -> bool:
    """Whether nothing stands behind the key."""
    return isinstance(node, ScalarNode) and node.value is None


def _empty_key_above(node: MappingNode, wrong: Sequence[str]) -> str | None:
    """The key without a value right above several ids that are no keys beside it."""
    keys = list(node.nodes)
    at = keys.index(wrong[0])
    is_below = (
        len(wrong) > 1 and at > 0 and keys[at : at + len(wrong)] == list(wrong) and all(map(str.isdecimal, wrong))
    )
    return keys[at - 1] if is_below and _is_empty_key(node.nodes[keys[at - 1]]) else None


def _reported(node: Node) -> Node:
    """The value of a key that is no key here: it is read, and not reported beside its key."""
    return ScalarNode(node.location, node.text, Faulty(node.text)) if isinstance(node, ScalarNode) else node


# ------------------------------------------------------------------ sections


@dataclass(frozen=True, slots=True)
class _Named:
    """A node of a mapping with the author's own keys, and its key."""

    name: str
    node: Node


_REWRITTEN = frozenset({"true", "True"})
"""The key ``on``, as tools of YAML 1.1 write it."""
_MOST_LISTED = 4
"""Keys that a sentence lists where the author has written none."""
_NO_FIELDS: Final = set[str]()
"""Shared by all sections in place of the names of their fields that pydantic was given, which nothing asks for: a set
for each section would be a fifth of the memory of the stories.
"""


class Section(BaseModel):
    """One mapping of a rule file: its fields are the keys, ``label`` is its name in messages.

    Keys that are unknown or missing are reported when it is read; ``report_faults`` adds what concerns several keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)
    label: ClassVar[str]
    shorthand: ClassVar[str | None] = None
    """The key that is meant where a single value is written instead of a mapping."""
    open_key: ClassVar[str | None] = None
    """The key whose mapping has the author's own words, in which a required key may stand by its indentation."""
    takes_keys_of_others: ClassVar[bool] = False
    """Whether a key of another section of the same place may stand for the one that is missing."""
    _node: ClassVar[Node | None] = None
    _label: ClassVar[str] = ""
    """Its node and its name in messages, kept in the instance: private attributes of pydantic take a
    tenth of the time of reading a folder.
    """

    @classmethod
    def read(cls, node: Node | None, report: FaultReport) -> Self:
        return cls.model_validate(ABSENT if node is None else node, context=report)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, node: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        if isinstance(node, dict):
            return handler(node)  # read already: pydantic calls this twice for a model that contains itself
        label, report = cls.label, report_of(info)
        if isinstance(node, _Named):
            label, node = label.format(node.name), node.node
        if isinstance(node, MappingNode):
            if cls.open_key is not None and not (needed := _keys_of(cls).absent.keys()) <= node.nodes.keys():
                node = with_keys_back(node, cls.open_key, needed - node.nodes.keys(), report)
            if not (needed := _keys_of(cls).absent.keys()) <= node.nodes.keys():
                node = with_swallowed_keys(node, needed - node.nodes.keys(), report)
            node = cls._with_meant_keys(cls._with_other_keys(node, label, report), label, report)
        section = handler(_without_empty(cls, cls.read_keys(node, label, report), report))
        object.__setattr__(section, "__pydantic_fields_set__", _NO_FIELDS)
        if node is not ABSENT:
            section.__dict__.update(_node=node, _label=label)
            if isinstance(node, MappingNode) or cls.shorthand is not None:
                section.report_faults(report)
        return section

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        """The nodes by key, without unknown keys and with ABSENT for missing ones."""
        keys = _keys_of(cls)
        if not isinstance(node, MappingNode):
            if node is ABSENT or cls.shorthand is None:
                cls.report_no_mapping(node, label, report)
                return dict(keys.absent)
            return {**keys.absent, cls.shorthand: node}
        nodes = node.nodes
        lacking = () if keys.absent.keys() <= nodes.keys() else [key for key in keys.absent if key not in nodes]
        if len(lacking) > 1 and len(nodes.keys() & keys.known) == 1:  # it is only begun, which is one fault
            named = ", ".join(f"“{key}”" for key in lacking)
            report.add(node.location, f"{label} needs {named}", needs=tuple(lacking))
            lacking = ()
        if len(lacking) > 1 and nodes and nodes.keys().isdisjoint(keys.known | _right_keys(cls)):
            cls.report_no_mapping(ScalarNode(node.location, "…", "…"), label, report)  # none of its keys is there
            return dict(keys.absent)
        for key in lacking:
            report.add(node.location, f"{label} needs “{key}”", needs=(key,))
        if nodes.keys() <= keys.known or cls.model_config["extra"] == "allow":
            return {**keys.absent, **nodes}
        nodes = cls._report_unknown_keys(node, label, report)
        return {**keys.absent, **{key: each for key, each in nodes.items() if key in keys.known}}

    @classmethod
    def _report_unknown_keys(cls, node: MappingNode, label: str, report: FaultReport) -> Mapping[str, Node]:
        """A number below a key without a value belongs to that, which is not reported as empty then."""
        nodes = dict(node.nodes)
        for above, key in pairwise(("", *node.nodes)):
            if key in _keys_of(cls).known:
                continue
            if key.isdecimal() and _is_empty_key(nodes.get(above)):
                report.add(node.keys[key], f"“{key}” belongs to “{above}”; indent it further than that")
                nodes[above] = _reported(nodes[above])
            else:
                cls.report_unknown_key(node, key, label, report)
        return nodes

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Reports keys that are misspelt, and takes them for the keys that are meant, so that none is missing too."""
        right = _right_keys(cls)
        known = _keys_of(cls).known if cls.takes_keys_of_others else right
        if node.nodes.keys() <= known or cls.model_config["extra"] == "allow":
            return node
        wrong = node.nodes.keys() - right
        missing = [key for key in cls.known_keys() if key not in node.nodes]
        required = [key for key in _keys_of(cls).absent if key not in node.nodes]
        meant = _meant_keys([key for key in node.nodes if key in wrong], required, missing)
        values = dict(node.nodes)
        for key, right_key in meant.items():
            if get_close_matches(key, _keys_of(cls).written, 1, NEARLY_A_KEY) == [right_key]:
                cls.report_unknown_key(node, key, label, report)
                continue
            report.unknown(node.keys[key], cls.no_such_key(key, label), right_key, (right_key,))
            values[key] = _reported(values[key])
        node = MappingNode(node.location, values, node.places, node.in_braces)
        lacking = [key for key in _keys_of(cls).absent if key not in {*node.nodes, *meant.values()}]
        odd = node.nodes.keys() - _keys_of(cls).known if cls.takes_keys_of_others else wrong
        unread = sorted(odd - meant.keys() - _REWRITTEN)
        if len(lacking) == len(unread) == 1:  # one mistake: a required key under a name that is not known
            (key,), (needed,) = unread, lacking
            value_of_key = node.nodes[key]
            if node.in_braces and isinstance(value_of_key, ScalarNode) and value_of_key.text == "":
                written_so = key if cls.shorthand else f"{{{needed}: {key}}}"
                report.add(node.keys[key], f"“{key}” stands alone between braces; write {written_so}")
            elif key in right:
                report.add(node.keys[key], f"“{key}” stands where “{needed}” belongs")
            else:
                report.unknown(node.keys[key], cls.no_such_key(key, label), needed, (needed,))
            written = ScalarNode(node.nodes[key].location, "", Faulty(""))
            node = MappingNode(node.location, {**values, key: written}, node.places, node.in_braces)
            meant[key] = needed
        for key in _REWRITTEN & wrong if "on" in missing else ():
            meant[key] = "on"
            sentence = f"“{key}” was “on” before a tool that reads YAML 1.1 wrote the file; write “on” again"
            report.add(node.keys[key], sentence)
        nodes = {meant.get(key, key): each for key, each in node.nodes.items()}
        places = {meant.get(key, key): each for key, each in node.keys.items()}
        return MappingNode(node.location, nodes, tuple(places.values()), node.in_braces)

    @classmethod
    def _with_other_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Reports several wrong keys, where there are only a few, as one mistake, and takes none of them."""
        right = _right_keys(cls)
        if node.nodes.keys() <= right:
            return node
        wrong = [key for key in node.nodes if key not in right]
        if (above := _empty_key_above(node, wrong)) is not None:
            report.add(node.keys[wrong[0]], f"“{wrong[0]}” belongs to “{above}”; indent it further than that")
            entries = {key: node.nodes[key] for key in wrong}
            inner = MappingNode(node.keys[wrong[0]], entries, tuple(node.keys[key] for key in wrong))
            nodes = {key: inner if key == above else node.nodes[key] for key in node.nodes if key in right}
            return MappingNode(node.location, nodes, tuple(node.keys[key] for key in nodes), node.in_braces)
        is_open = cls.model_config["extra"] == "allow" or len(cls.known_keys()) > _MOST_LISTED
        if is_open or len(wrong) <= 1 or not _keys_of(cls).absent or _are_misspelt(wrong, node, cls.known_keys()):
            return node
        named = ", ".join(f"“{key}”" for key in wrong)
        report.add(node.keys[wrong[0]], f"{label} has no {named}; it has {', '.join(cls.known_keys())}")
        nodes = {key: each for key, each in node.nodes.items() if key not in wrong}
        nodes |= {key: ScalarNode(node.location, "", Faulty("")) for key in _keys_of(cls).absent if key not in nodes}
        places = tuple(node.keys.get(key, node.location) for key in nodes)
        return MappingNode(node.location, nodes, places, node.in_braces)

    @classmethod
    def no_such_key(cls, key: str, label: str) -> str:
        """The sentence about a key that is not known here."""
        return f"{label} has no “{key}”"

    @classmethod
    def other_keys(cls) -> tuple[str, ...]:
        """Keys that are right in a section of the same place, and no misspelt ones."""
        return ()

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        return _keys_of(cls).written

    @classmethod
    def report_no_mapping(cls, node: Any, label: str, report: FaultReport) -> None:
        if isinstance(node, ScalarNode) and node.value is None:
            needs = _keys_of(cls).written
            report.add(node.location, f"nothing is written for {label}; it has {cls._some_keys()}", needs=needs)
        elif node is not ABSENT and not is_reported(node):
            report.add(node.location, f"{label} has keys of its own: {cls._some_keys()}")

    @classmethod
    def _some_keys(cls) -> str:
        """The keys in words; of many those that it needs, or else the first."""
        keys = _keys_of(cls)
        if len(keys.written) <= _MOST_LISTED:
            return ", ".join(keys.written)
        return f"{', '.join((*keys.absent,) or keys.written[:_MOST_LISTED])} and more"

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        written, sentence = _keys_of(cls).written, cls.no_such_key(key, label)
        if sentence != Section.no_such_key(key, label):
            report.add(node.keys[key], sentence)
            return
        if (place := place_of_key(key, label)) is not None:
            report.add(node.keys[key], f"{sentence}; it belongs to {place}", misplaced=key)
            return
        if nearest_word(key, written) is None:
            how = reason_for_no_key(key) or (f"there are {', '.join(written)}" if len(written) > 1 else "")
            sentence = f"{sentence}; {how}" if how else sentence
        report.unknown(node.keys[key], sentence, key, written)

    def report_faults(self, report: FaultReport) -> None:
        """Report what is wrong with several keys together."""

    def forget_nodes(self) -> None:
        """Keep only its place: what is written in it was read, and its nodes take twice the memory of the values."""
        self.__dict__["_node"] = ScalarNode(self.location, "", None)

    @property
    def location(self) -> Location:
        return NOWHERE if self._node is None else self._node.location

    @property
    def written(self) -> Mapping[str, Node]:
        """The nodes by key, in the order written."""
        return self._node.nodes if isinstance(self._node, MappingNode) else {}

    def key_location(self, key: str) -> Location:
        return self._node.keys.get(key, self.location) if isinstance(self._node, MappingNode) else self.location

    def value_location(self, key: str) -> Location:
        return self.written[key].location if key in self.written else self.location

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, meaning in meanings_of(cls).items():
            if (described := properties.get(cls.model_fields[name].alias or name)) is not None:
                described["description"] = meaning
        return schema if cls.shorthand is None else {"anyOf": [{"type": ["string", "number", "boolean"]}, schema]}


def _are_misspelt(wrong: Sequence[str], node: MappingNode, known: Iterable[str]) -> bool:
    """Whether each of the wrong keys is meant for a key that lacks, and each for another one."""
    return len(_meant_keys(wrong, (), [key for key in known if key not in node.nodes])) == len(wrong)


def _meant_keys(wrong: Iterable[str], required: Iterable[str], missing: Iterable[str]) -> dict[str, str]:
    """The keys that are meant by wrong ones, each by one."""
    meant: dict[str, str] = {}
    for key in wrong:
        free = [[each for each in keys if each not in meant.values()] for keys in (required, missing)]
        if (close := nearest_key(key, *free)) is not None:
            meant[key] = close
    return meant


def _without_empty(section: type[Section], nodes: dict[str, Any], report: FaultReport) -> dict[str, Any]:
    """Reports keys for words that have no value, and takes one in its place that is not reported again."""
    empty = [key for key, each in nodes.items() if type(each) is ScalarNode and each.value is None]
    for key in empty:
        node, meaning = nodes[key], _meanings_of_words(section).get(key)
        if meaning is not None:
            report.add(node.location, f"nothing is written for “{key}”; write {meaning}")
            nodes[key] = ScalarNode(node.location, "", Faulty(""))
    return nodes


@cache
def _meanings_of_words(section: type[Section]) -> Mapping[str, str]:
    """By key the first sentence of its meaning, as the end of another one, where it is a word or words."""
    found: dict[str, str] = {}
    for name, meaning in meanings_of(section).items():
        field = section.model_fields[name]
        if _takes_words(field.annotation):
            first = meaning.partition(". ")[0].rstrip(".").replace("``", "")
            found[field.alias or name] = f"{first[:1].lower()}{first[1:]}"
    return found


def _takes_words(annotation: object) -> bool:
    """Whether a text may stand there, alone or in a list."""
    if isinstance(annotation, type) and issubclass(annotation, str | Duration | model.After | model.At | model.Every):
        return True
    return get_origin(annotation) is not dict and any(map(_takes_words, get_args(annotation)))


class _Keys(NamedTuple):
    """The keys of a section: in the order declared, as a set, and ABSENT for the required ones."""

    written: tuple[str, ...]
    known: frozenset[str]
    absent: Mapping[str, Absent]


@cache
def _keys_of(section: type[Section]) -> _Keys:
    keys = {name: field.alias or name for name, field in section.model_fields.items()}
    required = [keys[name] for name, field in section.model_fields.items() if field.is_required()]
    return _Keys(tuple(keys.values()), frozenset(keys.values()), dict.fromkeys(required, ABSENT))


@cache
def _right_keys(section: type[Section]) -> frozenset[str]:
    """The keys that are right at the place of a section."""
    return _keys_of(section).known.union(section.other_keys())


@cache
def meanings_of(section: type[Section]) -> Mapping[str, str]:
    """The meaning of each key by its field: the text below it in the code.

    pydantic would read the code of every section at each start, for half of the CPU that the schemas take.
    """
    bases = [each for each in reversed(section.__mro__) if issubclass(each, Section)]
    found = {name: meaning for each in bases for name, meaning in _texts_below_fields(each)}
    return {name: found[name] for name in section.model_fields if name in found}


def _texts_below_fields(section: type[Section]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(dedent(inspect.getsource(section))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 -- it is the code of a class
    for field, below in pairwise(definition.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                yield name, inspect.cleandoc(meaning)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """A list, or a single item of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(items, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        return {"anyOf": [schema["items"], schema]} if "items" in schema else schema


def items(node: Any) -> tuple[Node, ...]:
    if node is ABSENT:
        return ()
    return node.nodes if isinstance(node, SequenceNode) else (node,)


def mapping(
    label: str, check_key: Callable[[str], object] = str, *, named: bool = False, example: str = "…: …"
) -> BeforeValidator:
    """A mapping whose keys are the author's own words. A key for which ``check_key`` raises InvalidValue is reported.

    With ``named``, the labels of its sections contain their keys.
    """

    def entries(node: Any, info: ValidationInfo) -> Mapping[str, Any]:
        if isinstance(node, MappingNode):
            for key in node.nodes:
                try:
                    check_key(key)
                except InvalidValue as fault:
                    fault.report_to(report_of(info), node.keys[key])
            if not node.nodes and check_key is check_language:
                report_of(info).refuse(node.location, f"{label} says nothing; write it by language: {{en: …}}")
            return {key: _Named(key, each) for key, each in node.nodes.items()} if named else node.nodes
        if node is not ABSENT and not is_reported(node):
            keys = "en: …" if check_key is check_language else example
            dashes = isinstance(node, SequenceNode) and all(isinstance(each, MappingNode) for each in node.nodes)
            how = "take the dashes away" if dashes else f"{{{keys}}}"
            report_of(info).add(node.location, f"{label} has keys of its own: {how}")
        return {}

    return BeforeValidator(entries)


Texts = Annotated[tuple[Text, ...], OneOrMore()]


class FieldReference(Section):
    """Another field's value: ``{field: chain.terms_hash}``."""

    label = "a value"
    field: Text
    """The field whose value is meant."""

    def build(self) -> model.Field:
        return model.Field(self.field, self.value_location("field"))


Built = TypeVar("Built")


def build_value(written: Built | FieldReference) -> Built | model.Field:
    return written.build() if isinstance(written, FieldReference) else written


def node_kind(node: Any) -> str:
    """The shape of a node, for values that may be written in several."""
    return "mapping" if isinstance(node, MappingNode) else "list" if isinstance(node, SequenceNode) else "value"


def _value_or_field(node: Any) -> str:
    return "field" if isinstance(node, MappingNode | FieldReference) else "value"


VALUE_OR_FIELD: Final = Discriminator(_value_or_field)
LiteralOrField = Annotated[
    Annotated[LiteralText, Tag("value")] | Annotated[FieldReference, Tag("field")], VALUE_OR_FIELD
]
