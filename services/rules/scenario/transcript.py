"""A played story as text: its steps with their business time, and what differs side by side."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap

from services.rules.rulebook.yaml_tree import MappingNode, Node, ScalarNode
from services.rules.scenario.comparison import EffectRow
from services.rules.scenario.player import PlayedStep, StoryResult
from services.rules.scenario.story_file import ExpectStep, Story, StoryStep

_INDENT = "  "
_TIME = "%a %Y-%m-%d %H:%M:%SZ"
_MARKS = {(True, True): "≠", (True, False): "−", (False, True): "+"}  # expected and happened, the one alone, the other


def sentence_of(story: Story) -> str:
    """The sentence that a story is: the rule, and what it does."""
    return f"{story.rule} {story.it}"


def transcript(result: StoryResult, width: int) -> list[str]:
    """The lines of a story; of a failed ``expect`` the effects that were expected beside those that happened."""
    lines = [f"{'✓' if result.passed else '✗'} {sentence_of(result.story)}"]
    for played in result.steps:
        if isinstance(played.step, ExpectStep) and not played.rows:
            continue  # it came true
        lines.append(f"{_INDENT}{_shown(played)}")
        lines += [f"{_INDENT * 2}{line}" for line in side_by_side(played.rows, width - 2 * len(_INDENT))]
    if result.faults and not result.steps[-1].rows:
        lines.append(f"{_INDENT * 2}{result.faults[0].message}")
    return lines


def _shown(played: PlayedStep) -> str:
    text = "expect:" if played.rows else format_step(played.step)
    return f"{played.at:{_TIME}}  {text}"


def format_step(step: StoryStep) -> str:
    """On one line, as a story may write it."""
    return ", ".join(f"{key}: {_format_node(node)}" for key, node in step.written.items())


def _format_node(node: Node) -> str:
    match node:
        case ScalarNode():
            return node.text
        case MappingNode():
            return f"{{{', '.join(f'{key}: {_format_node(each)}' for key, each in node.nodes.items())}}}"
        case _:
            return f"[{', '.join(map(_format_node, node.nodes))}]"


def side_by_side(rows: Sequence[EffectRow], width: int) -> Iterator[str]:
    """Two columns; ``≠`` where the two differ, ``−`` where an effect is missing, ``+`` where one is not expected."""
    if not rows:
        return
    column = max(20, (width - 5) // 2)
    texts = [text or "" for row in rows for text in (row.expected, row.happened)]
    column = min(column, max(8, *map(len, texts)))
    yield f"  {'expected':{column}} │ happened"
    for row in rows:
        mark = " " if row.same else _MARKS[row.expected is not None, row.happened is not None]
        halves = (wrap(row.expected or "", column) or [""], wrap(row.happened or "", column) or [""])
        for number, (left, right) in enumerate(zip_longest(*halves, fillvalue="")):
            yield f"{' ' if number else mark} {left:{column}} │ {right}".rstrip()
