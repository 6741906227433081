"""A rule drawn as a flow, top down: what starts it, its steps with people and times, the answers, and what ends it.

As Mermaid, or as an SVG of our own, which needs neither a browser nor the network. Rules are nearly straight lines:
the steps stand below each other, and beside each what its answers do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from services.rules.rulebook.model import (
    Addressees,
    After,
    AnswerAction,
    Rule,
    Step,
    Team,
    Timing,
    Verb,
)
from shared.clients.working_calendar import Duration


@dataclass(frozen=True, slots=True)
class Node:
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
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph_of(rule: Rule) -> Graph:
    nodes = [Node("start", f"{rule.name}: on {' or '.join(rule.events)}")]
    edges = []
    before = "start"
    for step in rule.steps:
        name = f"s{step.index + 1}"
        nodes.append(Node(name, _step_text(step), is_end=step.verb is Verb.GIVE_UP))
        edges.append(Edge(before, name, _time_text(step.timing)))
        for number, answer in enumerate(step.answers.values(), 1):
            nodes.append(Node(f"{name}a{number}", _answer_text(answer), beside=name, is_end=answer.final))
            edges.append(Edge(name, f"{name}a{number}", answer.name))
        before = name
    for number, until in enumerate(rule.until, 1):
        told = f", tell {_people(until.tell.who)}" if until.tell else ""
        nodes.append(Node(f"u{number}", f"ends{told}", beside="start", is_end=True))
        edges.append(Edge("start", f"u{number}", f"until {until.event}"))
    return Graph(tuple(nodes), tuple(edges))


def _step_text(step: Step) -> str:
    what = {Verb.GIVE_UP: step.reason, Verb.COLLECT: step.form, Verb.RECORD: step.record and step.record.operation}
    words = [str(step.verb).replace("_", " "), _people(step.who), what.get(step.verb) or ""]
    told = f", tell {_people(step.tell.who)}" if step.tell else ""
    written = f", record {step.record.operation}" if step.record and step.verb is Verb.GIVE_UP else ""
    said = f" ({step.say})" if step.say else ""
    unless = ", unless …" if step.unless else ""
    return " ".join(filter(None, words)) + written + told + said + unless


def _answer_text(answer: AnswerAction) -> str:
    parts = []
    if answer.record is not None:
        then = f", then {answer.record.then.operation}" if answer.record.then else ""
        parts.append(f"record {answer.record.operation}{then}")
    if answer.tell is not None:
        parts.append(f"tell {_people(answer.tell.who)}")
    if answer.hand_over is not None:
        parts.append(f"hand over {_people(answer.hand_over.who)}")
    if answer.form is not None:
        parts.append(f"collect {answer.form}")
    if answer.ask is not None:
        parts.append(f"ask {_people(answer.ask.who)}")
    return ", ".join(parts) or "goes on"


def _people(who: Addressees) -> str:
    return ", ".join(f"team {each.name}" if isinstance(each, Team) else each for each in who)


def _time_text(timing: Timing | None) -> str:
    if timing is None:
        return ""
    clock = f" at {timing.clock:%H:%M}" if timing.clock is not None else ""
    if isinstance(timing, After):
        return f"after {_duration(timing.duration)}{clock}"
    if timing.duration is None:
        return f"at {timing.field}{clock}"
    return f"{_duration(timing.duration)} {'before' if timing.sign < 0 else 'after'} {timing.field}{clock}"


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

_WIDTH, _LINE, _PAD, _GAP, _BESIDE = 300, 16, 8, 44, 190
_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class _Box:
    node: Node
    x: int
    y: int
    lines: tuple[str, ...]

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + 2 * _PAD


def svg(graph: Graph) -> str:
    boxes = {box.node.name: box for box in _boxes(graph)}
    height = max(box.y + box.height for box in boxes.values()) + _PAD
    width = 2 * _WIDTH + _BESIDE + 2 * _PAD
    parts = [_arrow(boxes[edge.source], boxes[edge.target], edge.text) for edge in graph.edges]
    parts += map(_drawn, boxes.values())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
    )
    marker = (
        '<defs><marker id="arrow" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    return "\n".join((head, marker, *parts, "</svg>")) + "\n"


def _boxes(graph: Graph) -> Iterator[_Box]:
    y = _PAD
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
        f'<text x="{box.x + _PAD}" y="{box.y + _PAD + 12 + number * _LINE}">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    return "\n".join((shape, *lines))


def _arrow(source: _Box, target: _Box, text: str) -> str:
    if target.node.beside is None:
        x = source.x + _WIDTH // 2
        start, end, label = (x, source.y + source.height), (x, target.y), (x + 6, target.y - 14)
    else:
        y = target.y + target.height // 2
        start, end = (source.x + _WIDTH, min(y, source.y + source.height - _PAD)), (target.x, y)
        label = (source.x + _WIDTH + 12, y - 4)
    line = f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="#555" marker-end="url(#arrow)"/>'
    return f'{line}\n<text x="{label[0]}" y="{label[1]}" fill="#555">{escape(text)}</text>' if text else line
