"""The schema of conditions, as in ``if`` and ``unless``: fields with the values they must have."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag

from services.rules.rulebook import model
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.meant_conditions import MeantCondition, meant_comparison, meant_condition, or_which_fields
from services.rules.rulebook.model import ALWAYS, AllOf, AnyOf, Compare, Condition, Location, NoneOf, Operator
from services.rules.rulebook.schema import LiteralOrField, OneOrMore, Section, build_value, node_kind
from services.rules.rulebook.single_values import LiteralText, Text, is_reported, read_flag, value
from services.rules.rulebook.yaml_nodes import ABSENT, Faulty, MappingNode, Node, ScalarNode, SequenceNode

_WRITTEN_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("gt", ">", "greater_than", "above", "after"), "{more_than: …}"),
    **dict.fromkeys(("gte", "ge", ">=", "min", "from"), "{at_least: …}"),
    **dict.fromkeys(("lt", "<", "below", "before"), "{less_than: …}"),
    **dict.fromkeys(("lte", "le", "<=", "max", "to"), "{at_most: …}"),
    **dict.fromkeys(("not", "ne", "!=", "not_equal", "is not"), "{is_not: …}"),
    **dict.fromkeys(("eq", "is", "equals", "=", "=="), "the value itself, like “field: value”"),
    **dict.fromkeys(("in", "one_of", "any_of", "any"), "a list, like “field: [one, other]”"),
    **dict.fromkeys(("between", "range", "within"), "{at_least: …, at_most: …}"),
    **dict.fromkeys(("matches", "like", "regex", "starts_with", "ends_with", "startswith", "has"), "{contains: …}"),
    **dict.fromkeys(("not_in", "none_of", "not in"), "not: {field: [one, other]}"),
}
"""Comparisons as other languages write them, and how they are written here."""


class Comparisons(Section):
    """Comparisons of one field, all of which must hold. A comparison of an absent field does not hold."""

    label = "comparison"
    is_not: LiteralOrField | None = None
    """A value that the field does not have."""
    at_least: LiteralOrField | None = None
    """The least number, or the first date."""
    at_most: LiteralOrField | None = None
    """The greatest number, or the last date."""
    more_than: LiteralOrField | None = None
    """A number or a date that is too small."""
    less_than: LiteralOrField | None = None
    """A number or a date that is too great."""
    includes: LiteralOrField | None = None
    """A value that a list has in it."""
    contains: LiteralOrField | None = None
    """Words that a text has in it, in small or capital letters."""
    exists: Annotated[bool, value(read_flag, fallback=True)] | None = None
    """Whether the field is there; ``false`` is the one comparison that an absent field passes."""
    field: Text | None = None
    """Another field, to be equal to."""

    @classmethod
    def no_such_key(cls, key: str, label: str) -> str:
        return f"“{key}” is no {label}"

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        """Several values that a field must not have are said by “not”."""
        keys = super().read_keys(node, label, report)
        for key, each in keys.items():
            if isinstance(each, ScalarNode) and each.value == "" and not is_reported(each):
                report.refuse(each.location, f"nothing stands behind “{key}”; write what the field is compared with")
        several = keys.get("is_not")
        if isinstance(several, SequenceNode):
            report.add(several.location, "“is_not” takes one value; for several write not: {field: [one, other]}")
            keys["is_not"] = ScalarNode(several.location, "", Faulty(""))
        return keys

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        known = cls.known_keys()
        if (meant := _WRITTEN_ELSEWHERE.get(key.casefold())) is not None:
            report.add(node.keys[key], f"“{key}” is no {label}; write {meant}")
        else:
            report.unknown(node.keys[key], f"“{key}” is no {label}; there are {', '.join(known)}", key, known)

    def build(self, name: str, location: model.Location) -> Condition:
        if self.field is not None:
            operand = model.Field(self.field, self.value_location("field"))
            return Compare(name, Operator.IS, operand, location=location)
        return _together(
            [self._compare(name, Operator(key)) for key in self.written if key in Comparisons.model_fields]
        )

    def _compare(self, name: str, operator: Operator) -> Compare:
        operand = build_value(getattr(self, operator))
        return Compare(name, operator, operand, (self.value_location(operator),), self.key_location(operator))


Compared = Annotated[
    Annotated[LiteralText, Tag("value")]
    | Annotated[tuple[LiteralText, ...], OneOrMore(), Tag("list")]
    | Annotated[Comparisons, Tag("mapping")],
    Discriminator(node_kind),
]
"""A value to be equal to, a list of values of which it must be one, or comparisons."""


def _one_line_each(node: Any) -> Any:
    """Each line of a mapping is a condition of its own."""
    if not isinstance(node, MappingNode):
        return node
    written = zip(node.nodes.items(), node.places, strict=True)
    lines = (MappingNode(each.location, {key: each}, (place,)) for (key, each), place in written)
    return SequenceNode(node.location, tuple(lines))


_JOINED_BY = {"and": "all", "or": "any", "both": "all", "either": "any", "none": "not", "except": "not"}


class ConditionSection(Section):
    """Fields with their values: one, a list of which it must be one, or comparisons. All lines must hold."""

    model_config = ConfigDict(extra="allow")
    label = "a condition"
    all: Annotated[tuple["ConditionSection", ...], OneOrMore(), BeforeValidator(_one_line_each)] = ()
    """Conditions that must all hold."""
    any: Annotated[tuple["ConditionSection", ...], OneOrMore(), BeforeValidator(_one_line_each)] = ()
    """Conditions of which one must hold."""
    not_: "ConditionSection | None" = Field(None, alias="not")
    """A condition that must not hold."""
    __pydantic_extra__: dict[str, Compared] = Field(init=False)

    @classmethod
    def report_no_mapping(cls, node: Any, label: str, report: FaultReport) -> None:
        if node is ABSENT:
            return
        if isinstance(node, SequenceNode) and all(isinstance(each, MappingNode) for each in node.nodes):
            sentence = f"{label} is no list: take the brackets away, or join several by “all: […]” or “any: […]”"
            report.add(node.location, sentence)
            return
        meant = meant_condition(node.text) if isinstance(node, ScalarNode) else None
        value = "" if meant is None else meant.value or ("true" if meant.comparison == "exists" else "")
        like = f"; write {{{meant.written(value)}}}" if meant and value else ", like {to_stage_key: typesetting}"
        report.add(node.location, f"{label} names a field and its value{like}")

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Reports conditions that are written as elsewhere, and takes them as they are meant."""
        joining = {key: word for key, each in node.nodes.items() if (word := _meant_word(key, each)) is not None}
        if not joining and not any(map(meant_condition, node.nodes)):
            return super()._with_meant_keys(node, label, report)
        nodes: dict[str, Node] = {}
        places: dict[str, Location] = {}
        for (key, each), place in zip(node.nodes.items(), node.places, strict=True):
            name, value = key, each
            if key in joining:
                name = joining[key]
                report.unknown(place, f"“{key}” is no field", name, (name,))
            elif (meant := meant_condition(key)) is not None:
                name, value = _as_meant(meant, each)
                written = meant.written(_shown(meant, each))
                mend = or_which_fields(meant.field, written) if "[" in key else f"write {written}"
                report.add(place, f"“{key}” is no field; {mend}")
                _close_line(place, report)
            if name not in nodes:
                nodes[name], places[name] = value, place
        return MappingNode(node.location, nodes, tuple(places.values()), node.in_braces)

    @classmethod
    def read_keys(cls, node: Any, label: str, report: FaultReport) -> dict[str, Any]:
        entries = super().read_keys(node, label, report)
        if isinstance(node, MappingNode) and not node.nodes:
            report.refuse(node.location, f"{label} names at least one field; leave it out where there is none")
        for key in [key for key in entries if key in _JOINED_BY and node_kind(entries[key]) != "value"]:
            report.add(node.keys[key], f"“{key}” is no field; conditions are joined by “{_JOINED_BY[key]}”")
            del entries[key]
        for key, each in [*entries.items()]:
            if isinstance(each, SequenceNode) and key not in _JOINING:
                entries[key] = _read_list(key, each, report)
            elif isinstance(each, ScalarNode) and (meant := meant_comparison(each.text)) and not is_reported(each):
                report.refuse(each.location, f"“{each.text}” is no comparison; write {key}: {meant}")
                _close_line(each.location, report)
        _report_nothing(entries, report)
        return entries

    def build(self) -> Condition:
        return _together(list(self._lines())) if self.written else ALWAYS

    def _lines(self) -> Iterator[Condition]:
        for key, node in self.written.items():
            match key:
                case "all":
                    yield AllOf(tuple(each.build() for each in self.all))
                case "any":
                    yield AnyOf(tuple(each.build() for each in self.any))
                case "not":
                    yield NoneOf(self.not_.build() if self.not_ else ALWAYS)
                case _:
                    if key in self.__pydantic_extra__:
                        yield self._comparison(key, self.__pydantic_extra__[key], node)

    def _comparison(self, name: str, compared: Any, node: Any) -> Condition:
        match compared:
            case Comparisons():
                return compared.build(name, self.key_location(name))
            case tuple():
                locations = tuple(each.location for each in node.nodes)
                return Compare(name, Operator.ONE_OF, compared, locations, self.key_location(name))
            case _:
                return Compare(name, Operator.IS, compared, (node.location,), self.key_location(name))


_JOINING = ("all", "any", "not")


def _meant_word(key: str, node: Node) -> str | None:
    """The misspelt word that joins the conditions below it; None for a field with its values or comparisons."""
    if key in _JOINING or isinstance(node, ScalarNode):
        return None
    each = node.nodes if isinstance(node, SequenceNode) else (node,)
    below = [mapping.nodes.keys() for mapping in each if isinstance(mapping, MappingNode)]
    is_comparison = any(keys & set(Comparisons.known_keys()) for keys in below)
    if not below or len(below) < len(each) or is_comparison:
        return None
    return next(iter(get_close_matches(key, _JOINING, 1)), None)


def _close_line(place: Location, report: FaultReport) -> None:
    """Leave out what follows on that line from the way the condition is written."""
    report.mark_misread(place.file, range(place.line, place.line + 1))


def _shown(meant: MeantCondition, node: Node) -> str:
    """The value of a condition whose key is written as elsewhere."""
    if meant.value:
        return meant.value
    if isinstance(node, SequenceNode) and all(isinstance(each, ScalarNode) for each in node.nodes):
        return f"[{', '.join(each.text for each in node.nodes if isinstance(each, ScalarNode))}]"
    text = node.text if isinstance(node, ScalarNode) else ""
    return text or ("true" if meant.comparison == "exists" else "…")


def _as_meant(meant: MeantCondition, node: Node) -> tuple[str, Node]:
    """Its key and value. A value that is read from a key is not judged: it was reported with it."""
    if meant.comparison == "exists":
        value: Node = (
            node if isinstance(node, ScalarNode) and node.text else ScalarNode(node.location, "true", value=True)
        )
    elif meant.value or (isinstance(node, ScalarNode) and not node.text):
        value = ScalarNode(node.location, meant.value, Faulty(meant.value))
    else:
        value = node
    if not meant.comparison:
        return meant.field, value
    inner = meant.field if meant.comparison == "not" else meant.comparison
    within = MappingNode(node.location, {inner: value}, (node.location,))
    return ("not", within) if meant.comparison == "not" else (meant.field, within)


_WORDS_FOR_AND = frozenset({"und", "et", "y", "e", "en"})


def _report_nothing(entries: dict[str, Any], report: FaultReport) -> None:
    """Reports fields without a value, and takes them out; a text of no characters was accepted once."""
    for key, each in [*entries.items()]:
        sentence = f"“{key}” is compared with nothing; say {{exists: false}}"
        if key.casefold() in _WORDS_FOR_AND:
            sentence = f"“{key}” joins nothing here: all lines of a condition must hold; leave it out"
        if isinstance(each, ScalarNode) and each.value is None:
            report.add(entries.pop(key).location, sentence)
        elif isinstance(each, ScalarNode) and each.value == "" and not is_reported(each):
            report.refuse(each.location, sentence)


def _read_list(key: str, written: SequenceNode, report: FaultReport) -> Node:
    """Reports a list of nothing or of comparisons, and a value that is there twice."""
    if any(isinstance(each, MappingNode) for each in written.nodes):
        sentence = f"a list has values alone; join comparisons by any: [{{{key}: …}}, {{{key}: …}}]"
        report.add(written.location, sentence)
        return ScalarNode(written.location, "", Faulty(""))
    if not written.nodes:
        report.refuse(written.location, f"“{key}” has an empty list, so this never holds; name the values")
    seen: set[str] = set()
    for each in written.nodes:
        if isinstance(each, ScalarNode):
            if each.text in seen:
                report.refuse(each.location, f"“{each.text}” is named twice")
            seen.add(each.text)
    return written


def _together(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))
