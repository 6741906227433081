"""CloudEvents as they come over HTTP: structured, batched or binary, told apart by content type and headers.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from services.ingest.updates import read_json
from shared.errors import Malformed

_BATCH = b"application/cloudevents-batch+json"
_HEADER = b"ce-"


@dataclass(frozen=True, slots=True)
class Pushed:
    """``batched`` tells how faults are named: in a batch with the event's place."""

    documents: tuple[Any, ...]
    batched: bool


def read_cloudevents(body: bytes, headers: Mapping[bytes, bytes]) -> Pushed:
    """``headers`` as the door has them. Raises Malformed."""
    try:
        document = read_json(body)
    except ValueError:
        raise Malformed("body: it is not JSON") from None
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    attributes = {
        name.removeprefix(_HEADER).decode("latin-1"): unquote(text.decode("latin-1"))
        for name, text in headers.items()
        if name.startswith(_HEADER)
    }
    if attributes:
        return Pushed(({**attributes, "data": document},), batched=False)
    if media == _BATCH or isinstance(document, list):
        if not isinstance(document, list):
            raise Malformed("body: a batch is a JSON array")
        return Pushed(tuple(document), batched=True)
    return Pushed((document,), batched=False)
