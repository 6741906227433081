"""A rule drawn as a flow: every step, answer, time and end is in the picture, in both forms."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from services.rules.analysis.graph import graph_of, mermaid, svg, svg_of_change
from services.rules.rulebook.model import Rule
from shared.contracts.ids import RuleId
from tests.services.rules.rulebooks import good_book
from tests.services.rules.stories import own_rulebook

RULES = list(own_rulebook().rules.values())


def test_a_rule_reads_from_its_event_to_its_ends() -> None:
    drawn = mermaid(graph_of(next(rule for rule in good_book().rules.values() if rule.name == "permission")))
    assert drawn.startswith('flowchart TD\n  start(["permission: on rights.approval_requested"])\n')
    assert '  s1["ask rights_holder (permission_request)"]' in drawn
    assert '  s1 -->|"approve"| s1a1' in drawn
    assert "record rights.record_decision, then rights.advance_workflow, tell rights_manager" in drawn
    assert '  s1 -->|"after 2 working days"| s2' in drawn


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_part_of_a_rule_is_in_the_picture(rule: Rule) -> None:
    graph = graph_of(rule)
    answers = sum(len(step.answers) for step in rule.steps)
    assert len(graph.nodes) == 1 + len(rule.steps) + answers + len(rule.until)
    assert len(graph.edges) == len(graph.nodes) - 1
    root = ET.fromstring(svg(graph))  # noqa: S314 -- our own
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == len(graph.nodes)


def test_no_box_of_a_picture_covers_another() -> None:
    for rule in RULES:
        root = ET.fromstring(svg(graph_of(rule)))  # noqa: S314 -- our own
        boxes = [
            (int(box.attrib["x"]), int(box.attrib["y"]), int(box.attrib["height"]))
            for box in root.findall("{http://www.w3.org/2000/svg}rect")
        ]
        for x in {box[0] for box in boxes}:
            column = sorted((y, y + height) for left, y, height in boxes if left == x)
            assert all(end <= start for (_, end), (start, _) in pairwise(column))


def test_what_a_text_contains_cannot_break_the_picture() -> None:
    rule = next(rule for rule in RULES if rule.name == "rights-approval")
    assert "&lt;" in svg(graph_of(_renamed(rule, "<b>")))
    assert "a#quot;]: on" in mermaid(graph_of(_renamed(rule, 'a"]')))


def test_a_change_is_one_picture_of_both_rules() -> None:
    rule = next(rule for rule in RULES if rule.name == "rights-approval")
    copied = [replace(step, cc=("sales",)) for step in rule.steps]
    root = ET.fromstring(svg_of_change(graph_of(rule), graph_of(replace(rule, steps=tuple(copied)))))  # noqa: S314 -- our own
    texts = [text.text or "" for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in {"Before", "After"}] == ["Before", "After"]
    assert texts.index("After") < next(number for number, text in enumerate(texts) if "sales" in text)


def test_a_rule_that_is_new_has_nothing_before() -> None:
    drawn = svg_of_change(None, graph_of(RULES[0]))
    ET.fromstring(drawn)  # noqa: S314 -- our own
    assert "Before: there is no such rule" in drawn


def _renamed(rule: Rule, name: str) -> Rule:
    return replace(rule, name=RuleId(name))
