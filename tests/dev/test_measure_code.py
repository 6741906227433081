from graphlib import CycleError
from pathlib import Path

import pytest

from dev.layout import ROOT
from dev.measure_code import (
    SOURCE,
    Module,
    classes_of,
    files_of_tap,
    imports_within,
    longest_chain,
    read_module,
    repeated_classes,
)


def test_a_module_is_counted_with_its_public_classes_and_its_functions(tmp_path: Path) -> None:
    file = tmp_path / "outbox.py"
    function = "    def put(self) -> None:\n        pass\n"
    file.write_text(f"class Outbox:\n{function}\n\nclass _Row:\n    pass\n\n\nKey = str\nLIMIT = 3\n")

    assert read_module(file) == Module(file, lines=11, classes=("Outbox", "Key"), functions=(2,))


def test_a_class_name_is_repeated_where_two_modules_define_it() -> None:
    classes = {Path(name): (name, "Batch") for name in ("Relay", "Inbox")}

    assert repeated_classes(classes) == {"Batch": [Path("Relay"), Path("Inbox")]}


def test_no_name_of_a_class_or_type_alias_stands_for_two_things() -> None:
    classes = {path: names for part in SOURCE for path, names in classes_of(part).items()}

    assert len(classes) > 300
    assert repeated_classes(classes) == {}


def test_the_longest_chain_starts_at_the_importing_module() -> None:
    imports = {"app": ["handlers", "store"], "handlers": ["core"], "core": ["contracts"], "store": []}

    assert longest_chain(imports) == ["app", "handlers", "core", "contracts"]


def test_a_cycle_of_imports_is_an_error() -> None:
    with pytest.raises(CycleError):
        longest_chain({"core": ["store"], "store": ["core"]})


def test_a_tap_is_followed_through_few_files_of_each_service() -> None:
    files = files_of_tap((ROOT / "docs/architecture.md").read_text("utf-8"))

    assert list(files) == ["ingest", "rules", "writeback", "dispatcher"]
    assert all(0 < len(paths) <= 15 for paths in files.values())
    assert files["dispatcher"][0] == "services/dispatcher/handlers.py"
    assert files["writeback"][-1] == "services/writeback/evidence_store.py"


def test_imports_are_those_of_the_package_itself() -> None:
    imports = imports_within("shared.contracts")

    assert "shared.contracts.envelope" in imports["shared.contracts.consonance"]
    assert all(name.startswith("shared.contracts.") for names in imports.values() for name in names)
