"""Where the cases lie, and what kind of input each folder holds."""

import json
import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("STET_CASES", ROOT / ".." / "shared" / "cases")).resolve()


class Kind(StrEnum):
    """Told apart by the files a folder holds."""

    RULES = "a rule folder"
    STORY = "a story"
    FILES = "rule files"
    WEBHOOK = "a webhook of WhatsApp"
    CONTACT = "a contact of Consonance"
    EVENTS = "events of Consonance"
    NUMBERS = "phone fields"
    TEXTS = "words that stop"
    ANSWERS = "answers of Consonance"
    MESSAGE = "a message"
    CASE = "two contacts and a question"


_BY_FILE = {
    "story.test.yaml": Kind.STORY,
    "webhook.json": Kind.WEBHOOK,
    "contact.json": Kind.CONTACT,
    "events.json": Kind.EVENTS,
    "numbers.txt": Kind.NUMBERS,
    "texts.txt": Kind.TEXTS,
    "answers.txt": Kind.ANSWERS,
    "message.json": Kind.MESSAGE,
    "case.json": Kind.CASE,
}


def folders() -> list[Path]:
    return sorted(path for path in CASES.iterdir() if path.is_dir()) if CASES.is_dir() else []


def kind_of(folder: Path) -> Kind | None:
    """None: no test here knows what to do with it."""
    if folder.name.startswith("rules-"):
        return Kind.RULES
    for name, kind in _BY_FILE.items():
        if folder.joinpath(name).is_file():
            return kind
    return Kind.FILES if any(folder.rglob("*.yaml")) else None


def of_kind(kind: Kind) -> list[Path]:
    return [folder for folder in folders() if kind_of(folder) is kind]


def read_json(path: Path) -> Any:
    """The document a file begins with; what is written behind it is a remark."""
    return json.JSONDecoder().raw_decode(path.read_text("utf-8").lstrip())[0]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]


def house_folder(to: Path) -> Path:
    """A copy of the project's rule folder without its own rules and stories."""
    shutil.copytree(ROOT / "rules", to, ignore=shutil.ignore_patterns("*.rule.yaml", "*.test.yaml"))
    return to
