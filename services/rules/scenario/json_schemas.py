"""The JSON Schema of each kind of rule file, by which an editor completes keys and underlines what is wrong.

It is made from the same models that read the files; what the models check beyond it, ``stet rules check`` says.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from services.rules.rulebook.loader import SCHEMAS
from services.rules.scenario.story_file import Story

FILE_KINDS: Mapping[str, Any] = {**SCHEMAS, "test": list[Story]}
"""The types of what a file of each kind holds."""
FOLDER = ".schema"
"""The folder within a folder of rules that has the schemas; names with a dot are no rule files."""


def json_schema(kind: str) -> dict[str, Any]:
    schema = _plain(TypeAdapter(FILE_KINDS[kind]).json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{kind} file of Stet",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_files() -> dict[str, str]:
    """The name and the text of each schema file."""
    return {
        f"{kind}.schema.json": f"{json.dumps(json_schema(kind), indent=1, ensure_ascii=False)}\n" for kind in FILE_KINDS
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write them below a folder of rules."""
    written = []
    for name, text in schema_files().items():
        path = folder / FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def _plain(schema: Any) -> Any:
    """A value that fits two forms of a union is right, so one of them is enough; titles made of names say nothing."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        "anyOf" if key == "oneOf" else key: _plain(value)
        for key, value in schema.items()
        if key != "discriminator" and not (key == "title" and isinstance(value, str))
    }
