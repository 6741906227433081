"""Reads what a GraphQL server answers to a mutation, whatever the HTTP status.

Errors come beside ``data`` or inside the payload, there in three shapes: (field, message), (attribute, message),
(field, messages). Their words may quote a person, so they go to a task and never to a log.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.writeback.protocol import Answer
from shared.clients.consonance_graphql import is_schema_error

_MOST_SENTENCES, _LONGEST_SENTENCE = 20, 500


class Reply(NamedTuple):
    """``sentences`` are the far side's own words."""

    answer: Answer
    sentences: tuple[str, ...] = ()
    schema_changed: bool = False


def reply_of(body: Any, errors_field: str) -> Reply:
    """What a mutation's JSON answer amounts to. A payload that is missing, or is no object, is no success either."""
    if not isinstance(body, Mapping):
        return Reply(Answer.FAILED)
    if top := body.get("errors"):
        return Reply(Answer.FAILED, sentences_of(top), is_schema_error(top))
    payloads = body.get("data")
    if not isinstance(payloads, Mapping) or not payloads or not all(payloads.values()):
        return Reply(Answer.FAILED)
    if not all(isinstance(payload, Mapping) for payload in payloads.values()):
        return Reply(Answer.FAILED)
    refusals = [error for payload in payloads.values() for error in _listed(payload.get(errors_field))]
    if refusals:
        return Reply(Answer.REFUSED, sentences_of(refusals))
    return Reply(Answer.ACCEPTED)


def sentences_of(errors: Any) -> tuple[str, ...]:
    return tuple(_sentence(error)[:_LONGEST_SENTENCE] for error in _listed(errors)[:_MOST_SENTENCES])


def _listed(errors: Any) -> list[Any]:
    if not errors:
        return []
    return errors if isinstance(errors, list) else [errors]


def _sentence(error: Any) -> str:
    if not isinstance(error, Mapping):
        return _words(error)
    about = error.get("field") or error.get("attribute")
    messages = _listed(error.get("messages")) or [error.get("message") or "no reason given"]
    words = "; ".join(map(_words, messages))
    return f"{_words(about)}: {words}" if about else words


def _words(value: Any) -> str:
    """A text or a number; what else stands in its place may be nested as deep as JSON allows."""
    return str(value) if isinstance(value, str | int | float) else "(no words)"
