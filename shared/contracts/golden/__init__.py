"""One event of every kind that was ever published, as JSON: none may stop being readable (tests/test_contracts.py).

A rule's stories begin with these events too, so the files are part of the image.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent


def golden(name: str) -> bytes:
    """The golden event of a CloudEvents type, envelope included. Raises FileNotFoundError where there is none.

    ``name`` is the type, or one of ``golden_names``.
    """
    return (_FOLDER / f"{name}.json").read_bytes()


def golden_kinds() -> tuple[str, ...]:
    return tuple(name for name in golden_names() if "+" not in name)


def golden_names() -> tuple[str, ...]:
    """The types, and further events of a type: ``type+what it shows``."""
    return tuple(sorted(file.name.removesuffix(".json") for file in _FOLDER.glob("*.json")))
