"""A rule drawn as a flow: every step, answer, time and end is in the picture, in both forms."""

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from services.rules.analysis.graph import graph_of, mermaid, svg, svg_of_change
from services.rules.rulebook.loader import load
from services.rules.rulebook.model import Rule
from services.rules.rulebook.rule_folder import read_folder
from shared.contracts.ids import RuleId
from tests.services.rules.rulebooks import good_book
from tests.services.rules.stories import FOLDER, own_rulebook

RULES = list(own_rulebook().rules.values())


def test_a_rule_reads_from_its_event_to_its_ends() -> None:
    drawn = mermaid(graph_of(next(rule for rule in good_book().rules.values() if rule.name == "permission")))
    assert drawn.startswith('flowchart TD\n  start(["permission: on rights.approval_requested, if kind is one of [')
    assert '  s1["ask rights_holder (permission_request)"]' in drawn
    assert '  s1 -->|"approve"| s1a1' in drawn
    assert "record rights.record_decision (decision: approved), then rights.advance_workflow (to_stage: " in drawn
    assert "tell rights_manager (" in drawn
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


def test_markup_in_the_name_of_a_rule_cannot_break_the_picture() -> None:
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


def _drawn(name: str, *changes: tuple[str, str]) -> str:
    """The shipped rule of this name, after these changes of its text."""
    files = read_folder(FOLDER, stories=False)
    file = next(each for each in files if each.endswith(f"{name}.rule.yaml"))
    for old, new in changes:
        assert old in files[file]
        files[file] = files[file].replace(old, new, 1)
    book, faults = load(files)
    assert book is not None, faults
    return mermaid(graph_of(book.rules[RuleId(name)]))


@pytest.mark.parametrize(
    ("name", "old", "new", "shown"),
    [
        ("stage-change", "[editorial_review_complete, ", "[", "if to_stage_key is one of [copyedit_assigned, final"),
        ("stage-change", "is_not: {field: to_stage_key}", "is_not: printing", "unless work.stage_key is not printing"),
        ("rights-approval", "{not: {new_terms_hash: {field: chain.terms_hash}}}", "{new_terms_hash: {exists: true}}",
         "ends, if new_terms_hash exists, tell told (rights_request_void)"),
        ("rights-approval", "say: rights_approved", "say: rights_declined", "tell rights_manager (rights_declined)"),
        ("rights-approval", "{decision: declined}", "{decision: approved}",
         "(decision: approved), tell rights_manager (rights_declined)"),
        ("metadata-confirmation", "quorum: {field: quorum}", "quorum: all", "quorum all, record metadata.apply"),
        ("metadata-confirmation", "say: metadata_details, continue: true", "say: metadata_details",
         "tell sender (metadata_details)"),
    ],
)  # fmt: skip
def test_a_change_that_matters_changes_the_picture(name: str, old: str, new: str, shown: str) -> None:
    changed = _drawn(name, (old, new))
    assert changed != _drawn(name)
    assert shown.replace("<", "#lt;") in changed


@pytest.mark.parametrize(
    "every",
    [
        "monday at 09:00",
        "working day at 08:30",
        "1st working day of the week at 10:00",
        "22nd day of the month at 09:00",
        "11th tuesday of the quarter at 09:00",
        "last day of the year at 16:00",
    ],
)
def test_a_recurring_rule_begins_with_its_times(every: str) -> None:
    drawn = _drawn("stage-change", ("on: work.stage_changed\nif:\n", f"every: {every}\nif:\n"))
    assert f'start(["stage-change: every {every}, if ' in drawn


def test_a_rule_that_is_new_has_nothing_before() -> None:
    drawn = svg_of_change(None, graph_of(RULES[0]))
    ET.fromstring(drawn)  # noqa: S314 -- our own
    assert "Before: there is no such rule" in drawn


def _renamed(rule: Rule, name: str) -> Rule:
    return replace(rule, name=RuleId(name))
