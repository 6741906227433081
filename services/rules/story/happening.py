"""An event of a story: the golden event of its name, with the story's values and the story's people."""

from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import ValidationError

from services.rules.rulebook.catalogue import party_fields
from services.rules.rulebook.faults import nearest_word
from services.rules.story.cast import Cast
from services.rules.story.changes import laid_over
from services.rules.story.model import Happened, Unplayable
from shared.contracts import consonance
from shared.contracts.envelope import EventData
from shared.contracts.golden import golden
from shared.contracts.ids import ContactId
from shared.contracts.values import convert, describe_error


def data_of(move: Happened, cast: Cast) -> EventData:
    kind = f"{consonance.PREFIX}{move.event}{consonance.SUFFIX}"
    return _read(kind, _told(kind, move, cast))


def golden_data(kind: str) -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(golden(kind))["data"]
    return data


def _told(kind: str, move: Happened, cast: Cast) -> dict[str, Any]:
    known = golden_data(kind)
    _refuse_unknown(kind, move)
    told: dict[str, Any] = laid_over(known, move.values)
    for field in party_fields(move.event):
        if field in told:
            told[field] = _parties(told[field], known.get(field), cast)
    return told


def _refuse_unknown(kind: str, move: Happened) -> None:
    fields = consonance.KINDS[kind].__struct_encode_fields__
    for path in move.values:
        name = path.partition(".")[0]
        if name not in fields:
            hint = nearest_word(name, fields)
            raise Unplayable(f"{move.event} has no “{name}”" + (f"; did you mean “{hint}”?" if hint else ""))


def _parties(told: Any, known: Any, cast: Cast) -> Any:
    """A contact id stands for a person in the role the golden event has there."""
    if not isinstance(told, list):
        return _party(told, known, cast)
    like = known if isinstance(known, list) and known else [{}]
    return [_party(each, like[min(place, len(like) - 1)], cast) for place, each in enumerate(told)]


def _party(told: Any, known: Any, cast: Cast) -> Any:
    if isinstance(told, int):
        return cast.party(ContactId(told), known if isinstance(known, Mapping) else {})
    if isinstance(told, Mapping) and "contact_id" in told:
        return cast.party(ContactId(told["contact_id"]), {**({} if known is None else known), **told})
    return told


def _read(kind: str, told: dict[str, Any]) -> EventData:
    try:
        return convert(consonance.KINDS[kind], told)
    except ValidationError as error:
        raise Unplayable(f"there is no such event: {describe_error(error, consonance.KINDS[kind])}") from None
