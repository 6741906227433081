import re
from pathlib import Path

FOLDER = Path("docs/decisions")
ENTRY = re.compile(r"^- \[(\d{4})\]\(([\w-]+\.md)\) (.+)$", re.MULTILINE)


def test_the_index_lists_every_decision_record_with_its_title() -> None:
    records = {path.name: path.read_text("utf-8").splitlines()[0] for path in FOLDER.glob("0*.md")}

    listed = {
        name: f"# {number} {title}" for number, name, title in ENTRY.findall((FOLDER / "README.md").read_text("utf-8"))
    }

    assert listed == records


def test_a_decision_records_number_is_that_of_its_file() -> None:
    for path in FOLDER.glob("0*.md"):
        assert path.read_text("utf-8").startswith(f"# {path.name[:4]} "), path


def test_no_two_decision_records_have_one_number() -> None:
    numbers = sorted(path.name[:4] for path in FOLDER.glob("0*.md"))
    assert numbers == sorted(set(numbers))
