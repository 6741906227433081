"""All faults of a mapping file are reported at once, with file, line, column and the nearest right word."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import services.writeback
from services.writeback.operation_mapping import ReadCall, load_mapping, read_yaml
from shared.contracts.errors import Misconfigured

MAPPINGS = Path(services.writeback.__file__).parent / "mapping"
GOOD = """\
operations:
  milestone:
    operation: milestone.complete
    read:
      document: "query M($id: String!) { milestone(milestoneId: $id) { doneOn } }"
      variables: {id: milestone_id}
      found: milestone
      values: {done_on: milestone.doneOn}
    write:
      document: "mutation C($id: String!) { completeMilestone(id: $id) { id } }"
      variables: {id: milestone_id}
"""


def faults(folder: Path, text: str) -> list[str]:
    path = folder / "m.yaml"
    path.write_text(text)
    with pytest.raises(Misconfigured) as wrong:
        load_mapping(path)
    return str(wrong.value).removeprefix("STET_CONSONANCE_MAPPING: ").splitlines()


def test_the_shipped_mapping_files_are_valid() -> None:
    assert len(load_mapping(MAPPINGS / "consonance.yaml")) == 6
    assert set(load_mapping(MAPPINGS / "consonance.yaml")) < set(load_mapping(MAPPINGS / "extended.yaml"))


def test_a_valid_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(GOOD)
    assert list(load_mapping(tmp_path / "m.yaml")) == ["milestone"]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("operation: milestone", "opperation: milestone", "'opperation' is not a key here; did you mean 'operation'?"),
        ("milestone.complete", "milestone.compleet", "did you mean 'milestone.complete'?"),
        (
            "id: milestone_id}\n      found",
            "id: milestone_idd}\n      found",
            "6:19: 'milestone_idd' is not an input here",
        ),
        (
            "id: milestone_id}\n      found",
            "iid: milestone_id}\n      found",
            "6:19: 'iid' is not a variable here; did",
        ),
        ("{done_on: m", "{done_onn: m", "8:16: 'done_onn' is not a value here; did you mean 'done_on'?"),
        ("mutation C", "query C", "10:7: one mutation is expected here"),
        ('{ id } }"', '{ id }"', "10:7: Syntax Error"),
        ("      found: milestone\n", "", "'found' is missing"),
        ("operation: milestone.complete", "operation: [", "5:15: did not find expected"),
    ],
)
def test_a_fault_is_reported_with_its_place(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in GOOD
    result = faults(tmp_path, GOOD.replace(old, new, 1))
    assert any(line.startswith("m.yaml:") and fault in line for line in result), result


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    wrong = GOOD.replace("operation:", "opperation:").replace("found:", "fownd:")
    assert len(faults(tmp_path, wrong)) == 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="STET_CONSONANCE_MAPPING"):
        load_mapping(tmp_path / "none.yaml")


def test_a_file_that_extends_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(GOOD.replace("operations:", "extends: m.yaml\noperations:"))
    (fault,) = faults(tmp_path, GOOD.replace("operations:", "extends: other.yaml\noperations:"))
    assert fault.endswith("m.yaml: this file extends itself")


@pytest.mark.parametrize(
    "text", ["a: \0\n", "[" * 2_000, "a: !!int x\n", "a: 2001-99-99\n", "a: 0b__\n", "a: &a {b: *a}\n"]
)
def test_no_content_of_a_file_raises_anything_but_misconfigured(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes("operations: {é: 1}".encode("latin-1"))
    with pytest.raises(Misconfigured, match="not written in UTF-8"):
        load_mapping(tmp_path / "m.yaml")


def test_a_record_that_the_answer_leaves_out_is_not_taken_for_a_missing_one() -> None:
    read = load_mapping(MAPPINGS / "consonance.yaml")["work title"].read
    left_out: list[dict[str, Any]] = [{}, {"work": {}}, {"work": {"title": "x"}}]
    answered: list[dict[str, Any]] = [{"work": None}, {"work": {"id": None}}, {"work": {"id": 1}}]
    assert not any(read.is_answered_by(data) for data in left_out)
    assert all(read.is_answered_by(data) for data in answered)


@pytest.mark.parametrize(
    ("answer", "is_found"),
    [([], False), ([None], False), ([{"id": 1}], True), ([None, {"id": 1}], True)],
)
def test_a_list_without_a_record_is_none(answer: list[Any], *, is_found: bool) -> None:
    """A query for records by a key: an empty list must not be taken for a record that is there already."""
    read = ReadCall(document="query Read { records { id } }", variables={}, found="records", values={})
    assert read.is_answered_by({"records": answer})
    assert read.extract({"records": answer}).found is is_found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: yes, on: off, b: ~, c: true}", {"a": "yes", "on": "off", "b": None, "c": True}),
        ('{a: 010, b: "1", c: 1.5, d: 2027-03-01}', {"a": 10, "b": "1", "c": 1.5, "d": "2027-03-01"}),
        ("a: &x {b: [1]}\nc: *x\n", {"a": {"b": [1]}, "c": {"b": [1]}}),
        ("a: >-\n  one\n  two\n", {"a": "one two"}),
        ("", None),
    ],
)
def test_a_mapping_file_is_yaml_1_2(text: str, value: object) -> None:
    assert read_yaml(text).value == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: 'c' is here twice"),
        ("a: *x\n", "1:4: there is no complete &x above"),
        ("a: 1\n---\nb: 2\n", "2:1: a file holds one document"),
        ("a: !!int x\n", "1:4: a tag has no meaning here"),
    ],
)
def test_a_fault_of_the_yaml_is_reported_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    assert faults(tmp_path, text) == [f"m.yaml:{sentence}"]


def test_the_shipped_mapping_files_read_as_by_another_reader_of_yaml() -> None:
    for path in MAPPINGS.glob("*.yaml"):
        assert read_yaml(path.read_text("utf-8")).value == YAML(typ="safe").load(path.read_text("utf-8"))
