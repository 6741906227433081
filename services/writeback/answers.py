"""Reads what a GraphQL server answers to a mutation, whatever the HTTP status, and names the ways it may not answer.

Errors come beside ``data`` or inside the payload, there in three shapes: (field, message), (attribute, message),
(field, messages). Their words may quote a person, so they go to a task and never to a log.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.writeback.protocol import Answer
from shared.contracts.errors import Unavailable

_SCHEMA_CODES = frozenset(
    {"GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "undefinedField", "argumentNotAccepted"}
)
_MOST_SENTENCES, _LONGEST_SENTENCE = 20, 500
_SCHEMA_WORDS = ("cannot query field", "doesn't exist on type", "unknown argument", "unknown type", "is not defined by")


class KeyRefused(Unavailable):
    """401 or 403: nothing can be read or written until somebody renews the key."""


class NotReached(Unavailable):
    """The request never left: nothing was written."""


class Unanswered(Unavailable):
    """The request left and no answer came that says what became of it."""


class ReadFailed(Unavailable):
    """The server answered a read with errors; ``schema_changed`` says that it no longer knows what was asked for."""

    def __init__(self, sentence: str, *, schema_changed: bool) -> None:
        super().__init__(sentence)
        self.schema_changed = schema_changed


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
        return Reply(Answer.FAILED, sentences_of(top), is_schema_fault(top))
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


def is_schema_fault(errors: Any) -> bool:
    return any(_is_schema_fault(error) for error in _listed(errors) if isinstance(error, Mapping))


def _is_schema_fault(error: Mapping[str, Any]) -> bool:
    extensions = error.get("extensions")
    if isinstance(extensions, Mapping) and _words(extensions.get("code")) in _SCHEMA_CODES:
        return True
    message = _words(error.get("message")).lower()
    return any(words in message for words in _SCHEMA_WORDS)


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
