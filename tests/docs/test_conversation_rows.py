"""The rows of a conversation's modules in docs/architecture.md are the layers that import-linter keeps."""

import re
import tomllib

from dev.layout import ROOT

PACKAGE = "services.rules.conversation"
TABLE = re.compile(r"^\| row \| modules \|\n\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)
MODULE = re.compile(r"`(\w+)\.py`")


def test_the_page_has_the_rows_of_the_layers() -> None:
    table = TABLE.search((ROOT / "docs/architecture.md").read_text("utf-8"))
    assert table is not None
    rows = [set(MODULE.findall(row)) for row in table[1].splitlines()]

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (kept,) = (one for one in contracts if one.get("containers") == [PACKAGE])

    assert rows == [set(re.split(r" [:|] ", layer)) for layer in kept["layers"]]
