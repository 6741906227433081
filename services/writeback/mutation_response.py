"""Reads the answer of a GraphQL server to a mutation, whatever its HTTP status.

Errors come beside ``data`` or inside the payload, there in three shapes: (field, message), (attribute, message),
(field, messages). Their texts may quote a person, so they go to a task and never to a log.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.writeback.protocol import MutationAnswer
from shared.clients.consonance_graphql import is_schema_error

_MOST_MESSAGES, _LONGEST_MESSAGE = 20, 500


class MutationResponse(NamedTuple):
    """``messages`` are the server's own error texts; ``schema_changed``: it no longer knows a field or type."""

    answer: MutationAnswer
    messages: tuple[str, ...] = ()
    schema_changed: bool = False


def read_mutation_response(body: Any, errors_field: str) -> MutationResponse:
    """``body`` is the decoded answer. A payload that is missing, or is no object, is no success either."""
    if not isinstance(body, Mapping):
        return MutationResponse(MutationAnswer.FAILED)
    if errors := body.get("errors"):
        return MutationResponse(MutationAnswer.FAILED, error_messages(errors), is_schema_error(errors))
    payloads = body.get("data")
    if not isinstance(payloads, Mapping) or not payloads:
        return MutationResponse(MutationAnswer.FAILED)
    if not all(payload and isinstance(payload, Mapping) for payload in payloads.values()):
        return MutationResponse(MutationAnswer.FAILED)
    refusals = [error for payload in payloads.values() for error in _as_list(payload.get(errors_field))]
    if refusals:
        return MutationResponse(MutationAnswer.REFUSED, error_messages(refusals))
    return MutationResponse(MutationAnswer.ACCEPTED)


def error_messages(errors: Any) -> tuple[str, ...]:
    """The texts of the errors: at most 20, each of at most 500 characters."""
    return tuple(_message(error)[:_LONGEST_MESSAGE] for error in _as_list(errors)[:_MOST_MESSAGES])


def _as_list(errors: Any) -> list[Any]:
    if not errors:
        return []
    return errors if isinstance(errors, list) else [errors]


def _message(error: Any) -> str:
    if not isinstance(error, Mapping):
        return _text(error)
    field = error.get("field") or error.get("attribute")
    messages = _as_list(error.get("messages")) or [error.get("message") or "no reason given"]
    joined = "; ".join(map(_text, messages))
    return f"{_text(field)}: {joined}" if field else joined


def _text(value: Any) -> str:
    """A text or a number as text; any other value may be nested as deep as JSON allows."""
    return str(value) if isinstance(value, str | int | float) else "(no text)"
