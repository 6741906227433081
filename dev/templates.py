"""The templates of a rule folder as the WhatsApp simulator registers them: what a person does at Meta by hand."""

from pathlib import Path
from typing import Any

import aiohttp

from services.rules.rulebook.loader import load
from services.rules.rulebook.model import PARAMETER, Template
from services.rules.rulebook.rule_folder import read_folder


def template_documents(folder: Path) -> list[dict[str, Any]]:
    """One document for each template and language, by Meta's name with its version. Raises ValueError."""
    book, faults = load(read_folder(folder))
    if book is None:
        raise ValueError(f"{folder} does not load: {faults[0]}")
    return [entry for template in book.templates.values() for entry in _languages(template)]


def _languages(template: Template) -> list[dict[str, Any]]:
    return [
        {
            "name": template.meta_name,
            "language": language,
            "category": template.category,
            "body": wording.body,
            "parameters": list(dict.fromkeys(PARAMETER.findall(wording.body))),
            "buttons": list(wording.buttons.values()),
        }
        for language, wording in template.languages.items()
    ]


async def register_templates(whatsapp_url: str, folder: Path) -> int:
    """Register the templates of a rule folder with the simulator, as a person does at Meta; returns how many."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        entries = template_documents(folder)
        async with session.post(f"{whatsapp_url}/_simulator/templates", json=entries) as answer:
            await answer.read()
    return len(entries)
