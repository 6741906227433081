"""Finds the folders of cases, and the kind of input in each."""

import json
import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("STET_CASES", ROOT / ".." / "shared" / "cases")).resolve()


class CaseKind(StrEnum):
    """Recognised by the files in a folder."""

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
    "story.test.yaml": CaseKind.STORY,
    "webhook.json": CaseKind.WEBHOOK,
    "contact.json": CaseKind.CONTACT,
    "events.json": CaseKind.EVENTS,
    "numbers.txt": CaseKind.NUMBERS,
    "texts.txt": CaseKind.TEXTS,
    "answers.txt": CaseKind.ANSWERS,
    "message.json": CaseKind.MESSAGE,
    "case.json": CaseKind.CASE,
}


def case_folders() -> list[Path]:
    return sorted(path for path in CASES.iterdir() if path.is_dir()) if CASES.is_dir() else []


def kind_of(folder: Path) -> CaseKind | None:
    """None for a folder that no test reads."""
    if folder.name.startswith("rules-"):
        return CaseKind.RULES
    for name, kind in _BY_FILE.items():
        if folder.joinpath(name).is_file():
            return kind
    return CaseKind.FILES if any(folder.rglob("*.yaml")) else None


def cases_of(kind: CaseKind) -> list[Path]:
    return [folder for folder in case_folders() if kind_of(folder) is kind]


def read_json(path: Path) -> Any:
    """The document a file begins with; text after it is a remark."""
    return json.JSONDecoder().raw_decode(path.read_text("utf-8").lstrip())[0]


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]


def copy_shared_rule_files(to: Path) -> Path:
    """A copy of the shipped rule folder without its rules and stories."""
    shutil.copytree(ROOT / "rules", to, ignore=shutil.ignore_patterns("*.rule.yaml", "*.test.yaml"))
    return to
