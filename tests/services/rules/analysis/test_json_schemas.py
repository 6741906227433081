"""The JSON Schemas of rule files: as written below rules/, and true of every shipped file."""

from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from services.rules.analysis.reference import FILE_KINDS, SCHEMA_FOLDER, json_schema, schema_files
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.yaml_nodes import Node, ScalarNode, SequenceNode
from services.rules.rulebook.yaml_tree import parse

RULES = Path("rules")
FILES = sorted(path for path in RULES.rglob("*.yaml") if not path.name.startswith("."))


def kind_of(path: Path) -> str:
    return path.name.split(".")[-2]


def plain(node: Node) -> object:
    """As an editor reads it."""
    if isinstance(node, ScalarNode):
        return node.value.isoformat() if isinstance(node.value, date) else node.value
    if isinstance(node, SequenceNode):
        return [plain(each) for each in node.nodes]
    return {key: plain(each) for key, each in node.nodes.items()}


@pytest.mark.parametrize("name", schema_files())
def test_the_written_schemas_are_those_of_the_models(name: str) -> None:
    assert (RULES / SCHEMA_FOLDER / name).read_text("utf-8") == schema_files()[name], "run make schemas"


def test_every_shipped_file_is_valid_and_names_its_schema() -> None:
    validators = {kind: Draft202012Validator(json_schema(kind)) for kind in FILE_KINDS}
    faults: list[str] = []
    for path in FILES:
        text = path.read_text("utf-8")
        named = text.partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / named).resolve() == (RULES / SCHEMA_FOLDER / f"{kind_of(path)}.schema.json").resolve()
        node = parse(path.name, text, FaultReport())
        assert node is not None
        faults += [f"{path}: {fault.message}" for fault in validators[kind_of(path)].iter_errors(plain(node))]
    assert faults == []


def test_a_misspelt_key_is_no_valid_file() -> None:
    validator = Draft202012Validator(json_schema("rule"))
    assert not validator.is_valid({"rule": "a", "ownr": "rights"})
