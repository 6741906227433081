"""The heart of the WhatsApp intake: one body in, everything it said out, each update exactly once.

Pure, and never raises: what cannot be read is parked with its reason.
"""

from services.ingest import persons
from services.ingest.accounts import account_record, unknown_record
from services.ingest.records import MAX_VALUE, Personal, Record, Sorted, WebhookFrame
from services.ingest.statuses import status_record
from services.ingest.updates import Bad, Update, one_update, split
from shared.errors import Malformed


def normalise(body: bytes, frame: WebhookFrame) -> Sorted:
    taken = split(body)
    outcome = Sorted([], [], taken.bad)
    for update in taken.updates:
        try:
            _place(_read(update, frame), update, outcome)
        except (ValueError, Malformed) as fault:  # neither ever quotes a value
            outcome.bad.append(Bad(_alone(update, body), "malformed", str(fault)))
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


def _place(read: Record | Personal, update: Update, outcome: Sorted) -> None:
    size = len(read.value) if isinstance(read, Record) else len(read.raw)
    if size > MAX_VALUE:
        outcome.bad.append(Bad(one_update(update), "too_large", f"it is larger than {MAX_VALUE} bytes"))
    elif isinstance(read, Record):
        outcome.records.append(read)
    else:
        outcome.personal.append(read)


def _alone(update: Update, body: bytes) -> bytes:
    try:
        return one_update(update)
    except ValueError:
        return body
