"""The text of a send as ``biz_opaque_callback_data``: every status brings it back, to each receiver of the webhook.

``<message id>.<attempt>@<person id>:<version>``: the message and its attempt, and the person with the version of the
state whose address it was sent to. Both ids are opaque. The part from the @ may be missing.
"""

import re

from shared.contracts.ids import PersonId

_CALLBACK = re.compile(r"(?P<message>.+)\.(?P<attempt>[0-9]{1,9})(@(?P<person>[^@:]{1,300}):(?P<version>[0-9]{1,18}))?")


def format_callback(message_id: str, attempt: int, person_id: str | None = None, version: int = 0) -> str:
    """WhatsApp allows at most 512 characters; our ids need far fewer."""
    callback = f"{message_id}.{attempt}"
    return callback if person_id is None else f"{callback}@{person_id}:{version}"


def parse_callback(callback: str | None) -> tuple[str, int] | None:
    """(message id, attempt), or None for callback data of another system."""
    match = _CALLBACK.fullmatch(callback or "")
    return None if match is None else (match["message"], int(match["attempt"]))


def parse_recipient(callback: str | None) -> tuple[PersonId, int] | None:
    """(person, version of their state), or None where the callback names none."""
    match = _CALLBACK.fullmatch(callback) if callback is not None and "@" in callback else None
    return None if match is None or match["person"] is None else (PersonId(match["person"]), int(match["version"]))
