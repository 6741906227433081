"""The example documents of templates: read from the folder of the rules, and checked before they are uploaded."""

from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from ops.template_plan import PlannedTemplate, TemplateAction, left_to_a_person
from shared.clients.file_types import HEAD_BYTES, FileRefused, content_type
from shared.clients.whatsapp_limits import DOCUMENT_MEGABYTES

EXAMPLE_TYPE = "application/pdf"
"""The one type of a document that Meta's Resumable Upload API takes."""
_MOST_BYTES = DOCUMENT_MEGABYTES * 1_000_000
_APPLIED = frozenset({TemplateAction.CREATE, TemplateAction.EDIT})


class ExampleFile(Struct, frozen=True):
    name: str
    content: bytes


class UnusableExample(Exception):
    """The sentence says what is wrong with the file."""


def read_example(folder: Path, path: str) -> ExampleFile:
    """``path`` is relative to the folder of the rules. Raises UnusableExample."""
    file = folder / path
    try:
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UnusableExample(f"its example {path} is a link out of the folder")
        size = file.stat().st_size
        if size > _MOST_BYTES:
            raise UnusableExample(f"its example {path} has {size:,} bytes; Meta takes {_MOST_BYTES:,}")
        content = file.read_bytes()
    except OSError as error:
        raise UnusableExample(f"its example {path} cannot be read: {error.strerror}") from None
    try:
        content_type(content[:HEAD_BYTES], EXAMPLE_TYPE, {EXAMPLE_TYPE})
    except FileRefused as refused:
        seen = f"is {refused.mime}" if refused.mime else "is empty"
        raise UnusableExample(f"its example {path} {seen}, and no PDF") from None
    return ExampleFile(file.name, content)


def with_checked_examples(plan: Iterable[PlannedTemplate], folder: Path, app: str | None) -> list[PlannedTemplate]:
    """Leave to a person, with the reason, each template whose example cannot be uploaded."""
    return [_checked(each, folder, app) for each in plan]


def _checked(planned: PlannedTemplate, folder: Path, app: str | None) -> PlannedTemplate:
    if planned.action not in _APPLIED or planned.wanted.example is None:
        return planned
    if app is None:
        return left_to_a_person(
            planned, "set STET_WHATSAPP_APP to the id of the app, under which its example is uploaded"
        )
    try:
        read_example(folder, planned.wanted.example)
    except UnusableExample as unusable:
        return left_to_a_person(planned, str(unusable))
    return planned
