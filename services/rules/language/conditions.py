"""``if``, ``unless`` and the condition of an ``until``: all lines must hold."""

from services.rules.language.values import field, flag, is_field, listed, literal, literal_or_field
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import ALWAYS, AllOf, AnyOf, Compare, Condition, Location, NoneOf, Operand, Operator
from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode, SequenceNode

_SPELLED = (
    Operator.IS_NOT,
    Operator.AT_LEAST,
    Operator.AT_MOST,
    Operator.MORE_THAN,
    Operator.LESS_THAN,
    Operator.INCLUDES,
    Operator.EXISTS,
)
_WORDS = (*(operator.value for operator in _SPELLED), "field")


def condition(node: Node | None, report: FaultReport) -> Condition:
    if node is None:
        return ALWAYS
    if not isinstance(node, MappingNode):
        report.add(node.location, "a condition is a mapping, like “to_stage_key: typesetting”")
        return ALWAYS
    return _together([_line(name, each, node.keys[name], report) for name, each in node.nodes.items()])


def _together(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))


def _line(name: str, node: Node, location: Location, report: FaultReport) -> Condition:
    match name:
        case "all":
            return AllOf(_nested(node, report))
        case "any":
            return AnyOf(_nested(node, report))
        case "not":
            return NoneOf(condition(node, report))
        case _:
            return _comparison(name, node, location, report)


def _nested(node: Node, report: FaultReport) -> tuple[Condition, ...]:
    """A list of conditions; a mapping's lines are one condition each."""
    if isinstance(node, MappingNode):
        return tuple(_line(name, each, node.keys[name], report) for name, each in node.nodes.items())
    return tuple(condition(each, report) for each in listed(node))


def _comparison(name: str, node: Node, location: Location, report: FaultReport) -> Condition:
    match node:
        case ScalarNode(value=None):
            report.add(node.location, f"“{name}” is compared with nothing; say {{exists: false}}")
            return ALWAYS
        case ScalarNode():
            return Compare(name, Operator.IS, literal(node, report), (node.location,), location)
        case SequenceNode():
            choices = tuple(literal(each, report) for each in node.nodes)
            return Compare(name, Operator.ONE_OF, choices, tuple(each.location for each in node.nodes), location)
        case MappingNode() if is_field(node):
            return Compare(name, Operator.IS, field(node.nodes["field"], report), location=location)
        case MappingNode():
            return _together([_operation(name, key, each, node, report) for key, each in node.nodes.items()])


def _operation(name: str, key: str, node: Node, parent: MappingNode, report: FaultReport) -> Condition:
    if key not in _SPELLED:
        report.unknown(parent.keys[key], f"“{key}” is no comparison; there are {', '.join(_WORDS)}", key, _WORDS)
        return ALWAYS
    operator = Operator(key)
    operand: Operand = flag(node, report) if operator is Operator.EXISTS else literal_or_field(node, report)
    return Compare(name, operator, operand, (node.location,), parent.keys[key])
