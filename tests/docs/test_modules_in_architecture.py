"""The tables of docs/architecture.md name every module of the services and of what they share."""

import re
from pathlib import PurePosixPath

from tests.docs.pages import ROOT

_SECTION = re.compile(r"^## Modules$.*?(?=^## )", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`((?:services|shared)/[\w/.]+)`")
_OF_EVERY_SERVICE = {"__init__.py", "__main__.py", "app.py", "settings.py", "metrics.py", "audit.py"}


def test_every_module_has_a_row() -> None:
    section = _SECTION.search((ROOT / "docs/architecture.md").read_text("utf-8"))
    named = {PurePosixPath(path) for path in _PATH.findall(section[0] if section else "")}
    missing = [
        path.as_posix()
        for folder in ("services", "shared")
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not {(path := PurePosixPath(file.relative_to(ROOT))), *path.parents} & named
        and not (file.name == "__init__.py" or (folder == "services" and file.name in _OF_EVERY_SERVICE))
    ]
    assert missing == []
