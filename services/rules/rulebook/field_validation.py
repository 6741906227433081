"""Checks of fields.

A field must be declared for the rule's events, be present where it is required, and be compared with values of its
type.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import reduce

from services.rules.rulebook.catalogue import (
    CHAIN,
    EVENTS,
    MESSAGE_RECEIVED,
    RECIPIENT,
    CodeKind,
    FieldSpec,
    FieldType,
    is_of_recipient,
    known_paths,
    resolve,
)
from services.rules.rulebook.codes import check_country, check_language
from services.rules.rulebook.faults import FaultReport, InvalidValue, nearest_word
from services.rules.rulebook.meant_conditions import known_anywhere
from services.rules.rulebook.model import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    LiteralValue,
    Location,
    NoneOf,
    Operator,
    comparisons,
    mentioned_fields,
)
from services.rules.rulebook.periods import PERIOD_STARTED, PERIODS
from services.rules.rulebook.single_values import FLAG_WORDS, meant_date

_DAYS_TO = "days_to"
NO_EVENT = (
    "a rule with “every” starts by time alone, so it has no fields of events or works: there are period, at and rule, "
    "and with “list” open.…; a rule about an event begins with “on”"
)
_WHERE_RECIPIENT = (
    f"“{RECIPIENT}” is each person that a message goes to, and can be named only in the “unless” of a step that tells, "
    "asks, reminds or hands over"
)


@dataclass(frozen=True, slots=True)
class FieldScope:
    """The fields that may be named at one place. ``present`` fields are there although their event may lack them.

    ``for_each``: the place is judged for each person a message goes to, so it may name ``recipient``. ``several``: a
    list of fields may stand there. ``beside``: all events of a list of which these are one.
    """

    events: tuple[str, ...]
    report: FaultReport
    started_by: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    for_each: bool = False
    several: bool = False
    beside: tuple[str, ...] = ()

    def find(self, path: str, location: Location) -> FieldSpec | None:
        """The field; None if it is not declared here, which is reported."""
        if not path:
            return None
        if is_of_recipient(path.removeprefix(f"{CHAIN}.")) and not (self.for_each and is_of_recipient(path)):
            self.report.add(location, f"“{path}” is not known here: {_WHERE_RECIPIENT}")
            return None
        found = resolve(self.events, path, self.started_by)
        if found is None and self.events:
            self._report_unknown(path, location)
        return found

    def _report_unknown(self, path: str, location: Location) -> None:
        known = known_paths(self.events, self.started_by)
        known = known if self.for_each else frozenset(each for each in known if not is_of_recipient(each))
        all_lack_it = self.beside and resolve(self.beside, path, self.started_by) is None
        events = " or ".join(self.beside if all_lack_it else self.events)
        sentence = f"{events} has no “{path}”"
        counted = f"{_DAYS_TO}.{path.rpartition('.')[2]}"
        if path.startswith("sender.") and MESSAGE_RECEIVED not in self.events:
            self.report.add(location, f"“{path}” is of the person who wrote, and {events} is no message")
        elif path.startswith("open.") and self.events == (PERIOD_STARTED,):
            self.report.repeated(location, "“open” is what “list” brings, which this rule lacks")
        elif PERIODS.keys() >= set(self.events) and path in known_anywhere():
            self.report.repeated(location, NO_EVENT)
        elif counted in known and path not in known and nearest_word(path, known) != counted:
            self.report.add(location, f"{sentence}; “{counted}” is known, the working days until it")
        else:
            sentence = sentence if nearest_word(path, known) is not None else f"{sentence}{_elsewhere(path)}"
            self.report.unknown(location, sentence, path, known, several=self.several)

    def require(self, path: str, location: Location, what: str) -> FieldSpec | None:
        """The field, which must be present: declared, and guarded where it may be absent. ``what`` says why."""
        found = self.find(path, location)
        is_guarded = self._is_present(path) or location.file in self.report.unguarded
        if found is not None and found.optional and not is_guarded:
            sentence = f"“{path}” may be absent, and {what}; guard it: if: {{{path}: {{exists: true}}}}"
            self.report.caused(location, sentence, f"“{path}” may be absent")
        return found

    def _is_present(self, path: str) -> bool:
        """A field is present when a condition needs it, or a field within it; also one that is misspelt there."""
        if any(present == path or present.startswith(f"{path}.") for present in self.present):
            return True
        return any(nearest_word(each, (path,)) is not None for each in self.present - known_anywhere())


def _elsewhere(path: str) -> str:
    """The end of the sentence about a field that only other events have."""
    events = [event for event in EVENTS if event not in PERIODS and resolve((event,), path) is not None]
    shown = ", ".join(sorted(events)[:_MOST_SHOWN]) + (" and others" if len(events) > _MOST_SHOWN else "")
    is_of_few = events and path.partition(".")[0] not in ("work", "sender", "days_to", "launch", "rights")
    return f"; it is a field of {shown}" if is_of_few else ""


_MOST_SHOWN = 3


# ------------------------------------------------------------------ fields that a condition guards


_NONE: frozenset[str] = frozenset()


def present_if(condition: Condition | None) -> frozenset[str]:
    """Fields that are present whenever the condition holds: a comparison of an absent field is false."""
    match condition:
        case Compare():
            return _compared(condition)
        case AllOf(conditions):
            return _union(map(present_if, conditions))
        case AnyOf(conditions):
            return _common(map(present_if, conditions))
        case NoneOf(inner):
            return present_unless(inner)
        case _:
            return _NONE


def present_unless(condition: Condition | None) -> frozenset[str]:
    """Fields that are present whenever the condition does not hold."""
    match condition:
        case Compare(field, Operator.EXISTS, operand):
            return _NONE if operand else frozenset({field})
        case AllOf(conditions):
            return _common(map(present_unless, conditions))
        case AnyOf(conditions):
            return _union(map(present_unless, conditions))
        case NoneOf(inner):
            return present_if(inner)
        case _:
            return _NONE


def _compared(compare: Compare) -> frozenset[str]:
    if compare.operator is Operator.EXISTS and not compare.operand:
        return _NONE
    return mentioned_fields(compare)


def _union(found: Iterable[frozenset[str]]) -> frozenset[str]:
    return reduce(frozenset.union, found, _NONE)


def _common(found: Iterable[frozenset[str]]) -> frozenset[str]:
    each = list(found)
    return reduce(frozenset.intersection, each) if each else _NONE


# ------------------------------------------------------------------ comparisons

_ORDERED = frozenset({FieldType.NUMBER, FieldType.DATE, FieldType.INSTANT})
_ORDERINGS = frozenset({Operator.AT_LEAST, Operator.AT_MOST, Operator.MORE_THAN, Operator.LESS_THAN})
_WHOLE = frozenset({FieldType.PARTY, FieldType.RECORD})
_NO_LIST = {True: "a text and no list; say {contains: …}", False: "no list and includes nothing"}
_TYPE_NAMES = {
    FieldType.TEXT: "a text",
    FieldType.NUMBER: "a number",
    FieldType.FLAG: "true or false",
    FieldType.DATE: "a date, like 2027-03-19",
    FieldType.INSTANT: "an instant, like 2027-03-19T10:00:00Z",
}


_CODES = {CodeKind.COUNTRY: check_country, CodeKind.LANGUAGE: check_language}


def check_condition(condition: Condition | None, scope: FieldScope) -> None:
    for compare in comparisons(condition) if condition else ():
        found = scope.find(compare.field, compare.location)
        if found is None:
            continue
        if (sentence := _operator_fault(compare.operator, found)) is not None:
            scope.report.add(compare.location, sentence)
        elif _is_never_absent(compare, found) and not _is_compared_otherwise(compare, condition):
            sentence = f"“{found.path}” is always there, so “exists: false” never holds"
            scope.report.refuse(compare.location, sentence)
        elif (code := _code_of_key(compare, found, scope)) is not None:
            scope.report.refuse(compare.location, name_for_code(found.path, code))
        else:
            _check_operands(compare, found, scope)


def _is_never_absent(compare: Compare, found: FieldSpec) -> bool:
    """Whether it asks whether a field is missing that is always there."""
    return compare.operator is Operator.EXISTS and not compare.operand and not found.optional


def _is_compared_otherwise(compare: Compare, condition: Condition | None) -> bool:
    """Whether the field is compared in another way too: that the two do not go together is reported."""
    others = comparisons(condition) if condition else ()
    return any(each.field == compare.field and each.operator is not Operator.EXISTS for each in others)


def _code_of_key(compare: Compare, found: FieldSpec, scope: FieldScope) -> str | None:
    """A code that a name is compared with, where the key beside it was meant."""
    key = resolve(scope.events, f"{found.path}_key", scope.started_by) if found.type is FieldType.TEXT else None
    written = [literal for literal, _ in _literals(compare) if isinstance(literal, str)] if key is not None else []
    return next((each for each in written if key is not None and is_code_of_key(each, key.values)), None)


def is_code_of_key(written: str, codes: Collection[str]) -> bool:
    """Whether it is a code of the key beside a name; a code of one word may be the name too."""
    return "_" in written and written in codes


def name_for_code(path: str, code: str) -> str:
    """The sentence about a field with a name as a publisher writes it, where its key was meant."""
    return f"“{path}” has the publisher's own name, and “{code}” is a code, which “{path}_key” has; write that key"


def _operator_fault(operator: Operator, found: FieldSpec) -> str | None:
    """Why the operator means nothing for a field of this type."""
    if operator is Operator.EXISTS:
        return None
    if found.type in _WHOLE:
        return f"“{found.path}” is a {found.type} and can only be asked for with “exists”; name a field of it"
    if (found.type is FieldType.LIST) is not (operator is Operator.INCLUDES):
        is_list = found.type is FieldType.LIST
        return f"“{found.path}” is {'a list; say {includes: …}' if is_list else _NO_LIST[found.type is FieldType.TEXT]}"
    if operator is Operator.CONTAINS and found.type is not FieldType.TEXT:
        return f"“{found.path}” is {_TYPE_NAMES[found.type]} and contains no words"
    if operator in _ORDERINGS and found.type not in _ORDERED:
        return f"“{found.path}” is {_TYPE_NAMES[found.type]} and has no “{operator}”"
    return None


def _check_operands(compare: Compare, found: FieldSpec, scope: FieldScope) -> None:
    kind = found.item or found.type
    if isinstance(compare.operand, Field):
        _check_other_field(compare, compare.operand, kind, scope)
        return
    for literal, location in _literals(compare):
        if (sentence := _otherwise_meant(compare, found, kind, literal, scope)) is not None:
            scope.report.refuse(location, sentence)
        else:
            check_literal(literal, kind, found, location, scope.report)


_PATTERN = re.compile(r"\*(?P<behind>[^*]+)\*?|(?P<before>[^*]+)\*|/\^?(?P<regex>.+)/|%(?P<like>[^%]+)%")
"""A text with a sign for “anything” at an end of it, as other tools write one."""
_EXISTENCE = {
    **dict.fromkeys(("exists", "present", "not empty", "set"), "true"),
    **dict.fromkeys(("missing", "absent", "empty", "not exists", "does not exist", "unset"), "false"),
}
_JOINED_NAME = re.compile(r"[a-z]\w*(?:[._]\w+)+")


def _otherwise_meant(
    compare: Compare, found: FieldSpec, kind: FieldType, literal: LiteralValue, scope: FieldScope
) -> str | None:
    """The sentence about a value that is a text for a rule, and was meant for more: a pattern, “exists”, a field."""
    if not isinstance(literal, str) or found.values:
        return None
    if _JOINED_NAME.fullmatch(literal) and resolve(scope.events, literal, scope.started_by) is not None:
        return f"“{literal}” is a field, and stands here as a word; write {{field: {literal}}}"
    if kind is not FieldType.TEXT or found.code is not None:
        return None
    if (pattern := _PATTERN.fullmatch(literal)) is not None:
        words = next(filter(None, pattern.groups())).strip("^$.*+ ")
        return f"“{literal}” is taken word for word; for a text with these words in it write {{contains: {words}}}"
    if found.optional and compare.operator is Operator.IS and literal in _EXISTENCE:
        return f"“{found.path}” is compared with the word “{literal}”; write {{exists: {_EXISTENCE[literal]}}}"
    return None


def _check_other_field(compare: Compare, other: Field, kind: FieldType, scope: FieldScope) -> None:
    right = scope.find(other.name, other.location)
    if right is not None and right.type is not kind:
        scope.report.add(
            other.location, f"“{compare.field}” and “{other.name}” are of different types and never compare"
        )


def _literals(compare: Compare) -> Iterator[tuple[LiteralValue, Location]]:
    if compare.operator is Operator.EXISTS or isinstance(compare.operand, Field):
        return
    found = compare.operand if isinstance(compare.operand, tuple) else (compare.operand,)
    locations = compare.operand_locations or (compare.location,) * len(found)
    yield from ((literal, location) for literal, location in zip(found, locations, strict=True) if literal != "")


def check_literal(
    literal: LiteralValue, kind: FieldType, found: FieldSpec, location: Location, report: FaultReport
) -> None:
    if not _is_of_type(literal, kind):
        written = str(literal).lower() if isinstance(literal, bool) else literal
        write = _meant_literal(str(literal), kind)
        if not write and kind is FieldType.NUMBER and found.path.endswith(".id"):
            write = f"; a name is compared with “{found.path.removesuffix('id')}name”"
        report.add(location, f"“{found.path}” is {_TYPE_NAMES.get(kind, kind)}, and “{written}” is none{write}")
    elif found.values and isinstance(literal, str) and literal not in found.values:
        report.unknown(
            location, f"“{found.path}” is never “{literal}”", literal, found.values, listed=True, several=True
        )
    elif found.code is not None and isinstance(literal, str):
        try:
            _CODES[found.code](literal)
        except InvalidValue as fault:
            fault.report_to(report, location)


_NUMBER = re.compile(r"(-?[0-9]+)(?: ?[a-z%]+)?")


def _meant_literal(written: str, kind: FieldType) -> str:
    """The end of the sentence where the value was meant, and only written otherwise."""
    match kind:
        case FieldType.FLAG:
            meant = FLAG_WORDS.get(written.casefold())
        case FieldType.NUMBER:
            found = _NUMBER.fullmatch(written)
            meant = None if found is None else found[1]
        case FieldType.DATE:
            meant = meant_date(written)
        case _:
            meant = None
    return "" if meant is None else f"; write {meant}{' without quotes' if meant == written else ''}"


def _is_of_type(literal: LiteralValue, kind: FieldType) -> bool:
    match literal:
        case bool():
            return kind is FieldType.FLAG
        case int() | float():
            return kind is FieldType.NUMBER
        case datetime():
            return kind is FieldType.INSTANT and literal.tzinfo is not None
        case date():
            return kind is FieldType.DATE
        case _:
            return kind is FieldType.TEXT
