"""The heart of the WhatsApp intake: one body in, everything it said out, each update exactly once.

Pure, and never raises: what cannot be read is parked with its reason.
"""

from collections import Counter

from services.ingest import persons
from services.ingest.accounts import account_record, unknown_record
from services.ingest.records import MAX_VALUE, Personal, Record, Sorted, WebhookFrame
from services.ingest.statuses import status_record
from services.ingest.updates import LONGEST_NAME, Rest, Update, one_update, phone_number_id, split
from shared.contracts.errors import Malformed
from shared.contracts.values import DECODE_ERRORS, decode, describe_error, encode
from shared.runtime.error_location import error_location


def normalise(body: bytes, frame: WebhookFrame) -> Sorted:
    taken = split(body)
    outcome = Sorted([], [], taken.bad, Counter())
    for update in taken.updates:
        number = phone_number_id(update.value)
        if number is not None and number not in frame.lines:  # another product's, whose app sends to us as well
            outcome.others[number[:LONGEST_NAME]] += 1
            continue
        try:
            _place(_read(update, frame), outcome)
        except (ValueError, Malformed) as fault:  # neither ever quotes a value
            reason = fault.reason if isinstance(fault, Malformed) else "malformed"
            _spoil(taken.rest, update, reason, str(fault))
        except Exception as fault:  # noqa: BLE001 -- the boundary of one update: its surprise must not stop the others
            _spoil(taken.rest, update, "unexpected", f"{type(fault).__name__} at {error_location(fault)}")
    return outcome


def _read(update: Update, frame: WebhookFrame) -> Record | Personal:
    """Only the fields that speak for themselves are acted on: echoes, history and standby hold messages of others."""
    match update.field, update.array:
        case "messages", "statuses":
            return status_record(update, frame)
        case "messages", "messages":
            return persons.message(update, frame) or unknown_record(update, frame)
        case "calls", "calls":
            return persons.call(update, frame) or unknown_record(update, frame)
        case "user_preferences", "user_preferences":
            return persons.preference(update, frame)
        case "user_id_update", "user_id_update":
            return persons.bsuid_update(update, frame)
        case _:
            return account_record(update, frame)


def _place(read: Record | Personal, outcome: Sorted) -> None:
    """Raises Malformed for what could not leave later, when its neighbours would have to wait for it."""
    if isinstance(read, Record):
        _check_size(len(read.value))
        outcome.records.append(read)
    else:
        _check_size(len(_readable(read)))
        outcome.personal.append(read)


def _check_size(size: int) -> None:
    if size > MAX_VALUE:
        raise Malformed(f"it is larger than {MAX_VALUE} bytes", reason="too_large")


def _readable(personal: Personal) -> bytes:
    draft = personal.draft
    raw = encode(draft)
    try:
        decode(type(draft), raw)
    except DECODE_ERRORS as error:
        raise Malformed(describe_error(error, type(draft))) from None
    return raw


def _spoil(rest: Rest, update: Update, reason: str, sentence: str) -> None:
    rest.add(lambda: one_update(update), reason, sentence)
