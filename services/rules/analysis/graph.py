"""A rule drawn as a flow, top down: what starts it, its steps with people and times, the answers, and what ends it.

As Mermaid, or as an SVG of our own, which needs neither a browser nor the network. Rules are nearly straight lines:
the steps stand below each other, and beside each what its answers do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from services.rules.analysis.condition_text import condition_text, value_text
from services.rules.matching.conditions import names_recipient
from services.rules.rulebook.model import (
    Addressees,
    After,
    AnswerAction,
    AttachAction,
    Condition,
    DayKind,
    Every,
    Field,
    Notification,
    PeriodUnit,
    Quorum,
    Rule,
    Step,
    Team,
    Timing,
    Verb,
    WriteAction,
)
from shared.clients.working_calendar import Duration


@dataclass(frozen=True, slots=True)
class FlowchartNode:
    """``beside`` is the node it stands beside; None for one in the line of steps."""

    name: str
    text: str
    beside: str | None = None
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: tuple[FlowchartNode, ...]
    edges: tuple[Edge, ...]


def graph_of(rule: Rule) -> Graph:
    nodes = [FlowchartNode("start", _start_text(rule))]
    edges = []
    before = "start"
    for step in rule.steps:
        name = f"s{step.index + 1}"
        nodes.append(FlowchartNode(name, _step_text(step), is_end=step.verb is Verb.GIVE_UP))
        edges.append(Edge(before, name, _time_text(step.timing)))
        for number, answer in enumerate(step.answers.values(), 1):
            nodes.append(FlowchartNode(f"{name}a{number}", _answer_text(answer), beside=name, is_end=answer.final))
            edges.append(Edge(name, f"{name}a{number}", answer.name))
        before = name
    for number, until in enumerate(rule.until, 1):
        notified = f", {_tell_text(until.tell)}" if until.tell else ""
        nodes.append(FlowchartNode(f"u{number}", f"ends{_if_text(until.condition)}{notified}", "start", is_end=True))
        edges.append(Edge("start", f"u{number}", f"until {until.event}"))
    return Graph(tuple(nodes), tuple(edges))


def _start_text(rule: Rule) -> str:
    begins = f"every {_every_text(rule.every)}" if rule.every is not None else f"on {' or '.join(rule.events)}"
    return f"{rule.name}: {begins}{_if_text(rule.condition)}"


def _if_text(condition: Condition) -> str:
    return f", if {text}" if (text := condition_text(condition)) else ""


def _unless_text(condition: Condition | None) -> str:
    if condition is None:
        return ""
    left_out = "not to those for whom" if names_recipient(condition) else "unless"
    return f", {left_out} {condition_text(condition)}"


def _tell_text(tell: Notification) -> str:
    return f"tell {_people(tell.who)} ({tell.say}){_attached(tell.attach)}"


def _attached(attach: AttachAction | None) -> str:
    return ", with a document" if attach is not None else ""


def _write_text(write: WriteAction) -> str:
    values = ", ".join(f"{name}: {_literal(value)}" for name, value in write.values.items())
    unless = _unless_text(write.unless).removeprefix(",")
    then = f", then {_write_text(write.then).removeprefix('record ')}" if write.then is not None else ""
    return f"record {write.operation}{f' ({values})' if values else ''}{unless}{then}"


def _literal(value: object) -> str:
    return value.name if isinstance(value, Field) else value_text(value)


def _step_text(step: Step) -> str:
    what = {Verb.GIVE_UP: step.reason, Verb.COLLECT: step.form}.get(step.verb) or ""
    verb = {Verb.GIVE_UP: "give up:", Verb.HAND_OVER: "hand over to", Verb.RECORD: ""}.get(step.verb, str(step.verb))
    template = f"({step.say})" if step.say else ""
    parts = [" ".join(filter(None, (verb, _people(step.who), what, template)))]
    parts += [_write_text(step.record)] if step.record is not None else []
    parts += [_tell_text(step.tell)] if step.tell is not None else []
    copied = f", copy to {_people(step.cc)}" if step.cc else ""
    return ", ".join(filter(None, parts)) + _attached(step.attach) + copied + _unless_text(step.unless)


def _answer_text(answer: AnswerAction) -> str:
    parts = (
        f"quorum {_literal(answer.quorum)}" if answer.quorum is not Quorum.FIRST else "",
        "veto" if answer.veto else "",
        _write_text(answer.record) if answer.record is not None else "",
        _tell_text(answer.tell) if answer.tell is not None else "",
        _passed_on(answer),
        "goes on" if answer.continues else "",
    )
    return ", ".join(filter(None, parts)) or "noted"


def _passed_on(answer: AnswerAction) -> str:
    if answer.hand_over is not None:
        said = f" ({answer.hand_over.say})" if answer.hand_over.say else ""
        return f"hand over to {_people(answer.hand_over.who)}{said}"
    if answer.ask is not None:
        return f"ask {_people(answer.ask.who)} ({answer.ask.say}: {', '.join(answer.ask.answers)})"
    return f"collect {answer.form}" if answer.form is not None else ""


def _people(who: Addressees) -> str:
    return ", ".join(f"team {each.name}" if isinstance(each, Team) else each for each in who)


def _time_text(timing: Timing | None) -> str:
    if timing is None:
        return ""
    clock = f" at {timing.clock:%H:%M}" if timing.clock is not None else ""
    if isinstance(timing, After):
        return f"after {_duration(timing.duration)}{clock}"
    theirs = ", in their calendar" if timing.theirs else ""
    if timing.duration is None:
        return f"at {timing.field}{clock}{theirs}"
    return f"{_duration(timing.duration)} {'before' if timing.sign < 0 else 'after'} {timing.field}{clock}{theirs}"


def _every_text(every: Every) -> str:
    """``monday at 09:00``, ``2nd working day of the month at 09:00``."""
    is_plain = every.period is PeriodUnit.DAY or every.day not in {DayKind.DAY, DayKind.WORKING_DAY}
    if is_plain and every.period in {PeriodUnit.DAY, PeriodUnit.WEEK}:
        return f"{every.day} at {every.clock:%H:%M}"
    place = "last" if every.place < 0 else _ordinal(every.place)
    return f"{place} {every.day} of the {every.period} at {every.clock:%H:%M}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _duration(duration: Duration) -> str:
    unit = str(duration.unit)
    return f"{duration.count} {unit.removesuffix('s') if duration.count == 1 else unit}"


# ------------------------------------------------------------------ Mermaid


def mermaid(graph: Graph) -> str:
    """https://mermaid.js.org/syntax/flowchart.html"""
    return "\n".join(("flowchart TD", *_mermaid_lines(graph))) + "\n"


def _mermaid_lines(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        left, right = ("([", "])") if node.is_end or node.name == "start" else ("[", "]")
        yield f'  {node.name}{left}"{_quoted(node.text)}"{right}'
    for edge in graph.edges:
        label = f'|"{_quoted(edge.text)}"|' if edge.text else ""
        yield f"  {edge.source} -->{label} {edge.target}"


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


# ------------------------------------------------------------------ SVG

_WIDTH, _LINE, _PAD, _GAP, _BESIDE = 300, 16, 8, 44, 250
_CHARACTERS = 40
_ELBOW = 28
"""How far to the right of a box its lines to the boxes beside it turn up or down."""
_PAGE = 2 * _WIDTH + _BESIDE + 2 * _PAD
_TITLE = 34


@dataclass(frozen=True, slots=True)
class _Box:
    node: FlowchartNode
    x: int
    y: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + 2 * _PAD

    @property
    def middle(self) -> int:
        return self.y + self.height // 2


def svg(graph: Graph) -> str:
    parts, height = _picture(graph, _PAD)
    return _document(parts, height)


def svg_of_change(before: Graph | None, after: Graph | None) -> str:
    """One picture of both, one below the other; None for a rule that is not there."""
    parts, y = list[str](), _PAD
    for title, graph in (("Before", before), ("After", after)):
        heading = title if graph else f"{title}: there is no such rule"
        parts.append(f'<text x="{_PAD}" y="{y + 18}" font-size="15" font-weight="bold" fill="#222">{heading}</text>')
        drawn, y = _picture(graph, y + _TITLE) if graph else ([], y + _TITLE)
        parts += drawn
        y += _GAP // 2
    return _document(parts, y)


def _document(parts: Sequence[str], height: int) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PAGE}" height="{height}" '
        f'viewBox="0 0 {_PAGE} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12">'
    )
    marker = (
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    paper = f'<path d="M0,0 H{_PAGE} V{height} H0 z" fill="#fff"/>'  # readable on a dark page, too
    return "\n".join((head, marker, paper, *parts, "</svg>")) + "\n"


def _picture(graph: Graph, top: int) -> tuple[list[str], int]:
    """The SVG elements of the graph, and the height at which they end."""
    boxes = {box.node.name: box for box in _boxes(graph, top)}
    parts = [_arrow(boxes[edge.source], boxes[edge.target], edge.text) for edge in graph.edges]
    parts += map(_drawn, boxes.values())
    return parts, max(box.y + box.height for box in boxes.values()) + _PAD


def _boxes(graph: Graph, top: int) -> Iterator[_Box]:
    y = top
    for node in (each for each in graph.nodes if each.beside is None):
        box = _Box(node, _PAD, y, tuple(wrap(node.text, _CHARACTERS)))
        yield box
        below, right = y + box.height, y
        for other in (each for each in graph.nodes if each.beside == node.name):
            side = _Box(other, _PAD + _WIDTH + _BESIDE, right, tuple(wrap(other.text, _CHARACTERS)))
            yield side
            right += side.height + _PAD
            below = max(below, side.y + side.height)
        y = below + _GAP


def _drawn(box: _Box) -> str:
    corner = 14 if box.node.is_end or box.node.name == "start" else 3
    fill = "#eef3f8" if corner == 3 else "#f4efe3"
    shape = (
        f'<rect x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="{corner}" '
        f'fill="{fill}" stroke="#555"/>'
    )
    lines = (
        f'<text x="{box.x + _PAD + 2}" y="{box.y + _PAD + 12 + number * _LINE}" fill="#222">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    return "\n".join((shape, *lines))


def _arrow(source: _Box, target: _Box, text: str) -> str:
    """Straight down to the next step; to a box beside, along the side of its step, with the text at its end."""
    if target.node.beside is None:
        x = source.x + _WIDTH // 2
        path, label = f"M{x},{source.y + source.height} V{target.y}", (x + 8, target.y - 16)
    else:
        right = source.x + _WIDTH
        path = f"M{right},{source.middle} H{right + _ELBOW} V{target.middle} H{target.x}"
        label = (right + _ELBOW + 8, target.middle - 5)
    line = f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'
    return f'{line}\n<text x="{label[0]}" y="{label[1]}" fill="#333">{escape(text)}</text>' if text else line
