"""CloudEvents as they come over HTTP, structured or batched, told apart by content type and shape.

Binary mode is refused: its attributes travel in ``ce-`` headers, which a signature over the body does not cover, so one
signed body could be sent again under any id. Standard Webhooks sign id, time and body:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.ingest.updates import read_json
from shared.contracts.errors import Malformed

MOST_EVENTS = 1_000
_BATCH = b"application/cloudevents-batch+json"
_ATTRIBUTE = b"ce-"


@dataclass(frozen=True, slots=True)
class Pushed:
    """``batched`` tells how faults are named: in a batch with the event's place."""

    documents: tuple[Any, ...]
    batched: bool


def read_cloudevents(body: bytes, headers: Mapping[bytes, bytes]) -> Pushed:
    """``headers`` in lower case. Raises Malformed."""
    if any(name.startswith(_ATTRIBUTE) for name in headers):
        raise Malformed("headers: ce-… are not signed; send structured mode, application/cloudevents+json")
    try:
        document = read_json(body)
    except ValueError:
        raise Malformed("body: it is not JSON") from None
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media == _BATCH or isinstance(document, list):
        if not isinstance(document, list):
            raise Malformed("body: a batch is a JSON array")
        if len(document) > MOST_EVENTS:
            raise Malformed(f"body: more than {MOST_EVENTS:,} events in one batch")
        return Pushed(tuple(document), batched=True)
    return Pushed((document,), batched=False)
