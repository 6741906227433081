"""Registering the rules' templates with the WhatsApp simulator, as a person does at Meta before a rule goes live."""

from pathlib import Path
from typing import Any

import aiohttp

from services.rules.rulebook.loader import load, read_folder
from services.rules.rulebook.model import PARAMETER, Template


def registrations(folder: Path) -> list[dict[str, Any]]:
    """One for each template and language, by Meta's name with its version."""
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


async def register(whatsapp_url: str, folder: Path) -> int:
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        entries = registrations(folder)
        async with session.post(f"{whatsapp_url}/_simulator/templates", json=entries) as answer:
            await answer.read()
    return len(entries)
