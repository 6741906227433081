"""docs/operations/command-line.md lists every command as its help says."""

from ops.__main__ import COMMANDS
from ops.command_reference import MARK, PATH, reference_markdown


def test_the_page_has_the_reference_of_all_commands() -> None:
    _, mark, written = PATH.read_text().partition(MARK)
    assert mark
    assert written == reference_markdown(COMMANDS), "run: stet command-reference --write"
