"""Which version of the code and of the rule files runs: a number, and the commits they come from."""

import os
import re
from pathlib import Path

VERSION = "0.1.0"
"""As in pyproject.toml, which an image does not hold; a test compares them."""

UNKNOWN = "unknown"

_ROOT = Path(__file__).resolve().parents[2]
_COMMIT = re.compile(r"[0-9a-f]{40}")


def commit() -> str:
    """The commit of the code, from ``STET_COMMIT``, which the build of an image sets."""
    return os.environ.get("STET_COMMIT") or UNKNOWN


def commit_of(folder: Path) -> str:
    """The commit of a folder of files: one that its path names, or that of the code if the folder is part of it.

    git-sync keeps each commit in a folder of that name and points a link at it. A volume over the folder is no part.
    """
    resolved = folder.resolve()
    named = [part for part in resolved.parts if _COMMIT.fullmatch(part)]
    if named:
        return named[-1]
    is_part_of_code = resolved.is_relative_to(_ROOT) and not resolved.is_mount()
    return commit() if is_part_of_code else UNKNOWN
