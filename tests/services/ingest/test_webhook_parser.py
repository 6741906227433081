"""The events and the parked input that one webhook body becomes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.records import KafkaRecord
from services.ingest.webhook_parser import PersonUpdate, parse_webhook
from shared.contracts.envelope import Event, parse_event
from shared.contracts.ids import EventId
from shared.contracts.values import convert
from shared.contracts.whatsapp import (
    AccountReported,
    DeliveryStatus,
    IdentityChange,
    MessageKind,
    MessageReceived,
    PreferenceChanged,
    StatusReported,
    UnknownReceived,
)
from tests.cpu_time import at_most
from tests.services.ingest.payloads import CONTEXT, NOW, PSEUDONYMS, messages, status, statuses, text, webhook


def read(record: KafkaRecord) -> Event:
    return parse_event(record.value, record.topic.kinds)


def alias(wamid: str) -> str:
    return PSEUDONYMS.for_wamid(wamid)


def only(body: bytes) -> PersonUpdate:
    (update,) = parse_webhook(body, CONTEXT).person_updates
    return update


def message(item: dict[str, Any]) -> MessageReceived:
    draft = only(webhook(messages(item))).draft
    assert isinstance(draft, MessageReceived)
    return draft


def test_a_status_has_the_fields_of_the_webhook() -> None:
    item = status(
        biz_opaque_callback_data="m1.1",
        pricing={"category": "utility"},
        errors=[{"code": 131047, "title": "Re-engagement"}],
    )
    (record,) = parse_webhook(webhook(statuses(item)), CONTEXT).records
    data = convert(
        StatusReported,
        {"wamid": "wamid.9", "status": "delivered", "line": "house", "at": "2025-11-24T16:00:00Z",
         "callback": "m1.1", "code": 131047, "pricing_category": "utility"},
    )  # fmt: skip
    expected = CONTEXT.event(data, id=f"{alias('wamid.9')}/delivered", key=alias("wamid.9"), at=data.at)
    assert read(record) == expected
    assert record.key == alias("wamid.9").encode()


def test_an_unknown_status_is_published_as_other_under_its_own_id() -> None:
    (record,) = parse_webhook(webhook(statuses(status(word="teleported"))), CONTEXT).records
    event = read(record)
    assert isinstance(event.data, StatusReported)
    assert (event.id, event.data.status) == (f"{alias('wamid.9')}/teleported", DeliveryStatus.OTHER)


@pytest.mark.parametrize(
    "bad",
    [
        {"status": "sent", "timestamp": "1"},
        {"id": "", "status": "sent", "timestamp": "1"},
        {"id": "w", "timestamp": "1"},
        {"id": "w", "status": "sent", "timestamp": "soon"},
        {"id": "w", "status": "sent", "timestamp": 1e300},
        "nothing",
        None,
    ],
)
def test_an_invalid_status_is_parked_alone_and_can_be_sent_again(bad: Any) -> None:
    parsed = parse_webhook(webhook(statuses(status("w1"), bad, status("w2"))), CONTEXT)
    assert [read(record).partitionkey for record in parsed.records] == [alias("w1"), alias("w2")]
    (parked,) = parsed.invalid
    assert parked.reason == "malformed"
    assert json.loads(parked.raw)["entry"][0]["changes"][0]["value"]["statuses"] == [bad]


@pytest.mark.parametrize(
    ("node", "kind", "content"),
    [
        ({"type": "button", "button": {"payload": "b1", "text": "Yes"}}, MessageKind.BUTTON, ("b1", "Yes")),
        (
            {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "l", "title": "T"}}},
            MessageKind.LIST,
            ("l", "T"),
        ),
        ({"type": "image", "image": {"id": "9", "caption": "See"}}, MessageKind.MEDIA, (None, "See")),
        ({"type": "reaction", "reaction": {"message_id": "w0", "emoji": "👍"}}, MessageKind.REACTION, (None, "👍")),
        ({"type": "reaction", "reaction": {"message_id": "w0", "emoji": ""}}, MessageKind.REACTION, (None, None)),
        ({"type": "unsupported", "errors": [{"code": 131051}]}, MessageKind.UNSUPPORTED, (None, None)),
        ({"type": "interactive", "errors": [{"code": 131000}]}, MessageKind.UNSUPPORTED, (None, None)),
        ({"type": "order", "order": {}}, MessageKind.OTHER, (None, None)),
        ({"type": "hologram"}, MessageKind.OTHER, (None, None)),
    ],
)
def test_each_message_type_has_its_kind(
    node: dict[str, Any], kind: MessageKind, content: tuple[str | None, str | None]
) -> None:
    received = message({"id": "wamid.1", "from": "447700900123", "timestamp": "1764000000", **node})
    assert (received.message_kind, (received.button_id, received.text)) == (kind, content)


def test_a_message_has_its_line_its_quote_and_whether_it_is_from_a_group() -> None:
    received = message(text(context={"id": "wamid.0"}, group_id="g"))
    assert (received.line, received.quoted_id, received.in_group) == ("house", "wamid.0", True)


OURS, OTHER = {"phone_number_id": "106540352242922"}, {"phone_number_id": "9999", "display_phone_number": "1"}


@pytest.mark.parametrize(
    "change",
    [
        messages(text(body="STOP"), metadata=OTHER),
        messages(text(), metadata={"phone_number_id": 9999}),
        messages({"type": "system", "id": "w", "system": {"type": "user_changed_number"}}, metadata=OTHER),
        messages({"not": "a message"}, metadata=OTHER),
        statuses(status(), metadata=OTHER),
        messages(metadata=OTHER, errors=[{"code": 131031}]),
        {"field": "calls", "value": {"metadata": OTHER, "calls": [{"id": "c", "direction": "USER_INITIATED"}]}},
        {"field": "user_preferences", "value": {"metadata": OTHER, "user_preferences": [{"value": "stop"}]}},
        {"field": "user_id_update", "value": {"metadata": OTHER, "user_id_update": [{}]}},
        {"field": "smb_message_echoes", "value": {"metadata": OTHER, "message_echoes": [{}]}},
        {"field": "something_new", "value": {"metadata": OTHER}},
    ],
)
def test_an_update_to_another_products_number_is_only_counted(change: dict[str, Any]) -> None:
    parsed = parse_webhook(webhook(change, messages(text("ours"))), CONTEXT)
    assert parsed.foreign_numbers == {"9999": 1}
    assert [one.draft.message_id for one in parsed.person_updates if isinstance(one.draft, MessageReceived)] == ["ours"]
    assert (parsed.records, parsed.invalid) == ([], [])


@pytest.mark.parametrize(
    "metadata", [OURS, {"phone_number_id": 106540352242922}, {}, {"phone_number_id": ""}, None, "x"]
)
def test_an_update_to_our_number_or_to_none_is_accepted(metadata: Any) -> None:
    parsed = parse_webhook(webhook(messages(text(), metadata=metadata), statuses(status(), metadata=metadata)), CONTEXT)
    assert (len(parsed.person_updates), len(parsed.records), len(parsed.foreign_numbers)) == (1, 1, 0)


def test_an_account_update_is_published_whichever_number_it_is_about() -> None:
    change = {"field": "phone_number_quality_update", "value": {"display_phone_number": "1", "event": "FLAGGED"}}
    (record,) = parse_webhook(webhook(change), CONTEXT).records
    assert record.update_kind == "account"


def test_an_attachment_has_its_id_and_hash() -> None:
    node = {"id": "9", "mime_type": "application/pdf", "sha256": "aGFzaA==", "filename": "pitch.pdf"}
    received = message(text(type="document", document=node))
    assert received.media is not None
    assert (received.media.media_id, received.media.sha256) == ("9", "aGFzaA==")


@pytest.mark.parametrize("wrong", [{"text": "Hello"}, {"text": {}}, {"text": {"body": 7}}, {"type": 7}, {"from": "x"}])
def test_an_invalid_message_is_parked_and_the_others_are_published(wrong: dict[str, Any]) -> None:
    parsed = parse_webhook(webhook(messages(text("w1"), {**text("w2"), **wrong}, text("w3", "447700900124"))), CONTEXT)
    assert [update.id for update in parsed.person_updates] == [alias("w1"), alias("w3")]
    assert len(parsed.invalid) == 1


def test_a_sender_without_a_number_has_a_bsuid() -> None:
    item = text(sender="") | {"from_user_id": "GB.1"}
    contacts = [{"profile": {"name": "Ada"}, "user_id": "GB.1", "wa_id": ""}]
    identity = only(webhook(messages(item, contacts=contacts))).identity
    assert (identity.bsuid, identity.phone, identity.name) == ("GB.1", None, "Ada")


def test_addresses_are_completed_only_from_the_senders_own_contact_entry() -> None:
    contacts = [{"wa_id": "447700900199", "user_id": "GB.2"}, {"wa_id": "447700900123", "user_id": "GB.1"}]
    identity = only(webhook(messages(text(), contacts=contacts))).identity
    assert (identity.bsuid, identity.phone) == ("GB.1", "+447700900123")
    stranger = only(webhook(messages(text(), contacts=contacts[:1]))).identity
    assert stranger.bsuid is None


@pytest.mark.parametrize(
    ("kind", "field"), [("user_changed_number", "wa_id"), ("customer_changed_number", "new_wa_id")]
)
def test_a_changed_number_has_the_former_one(kind: str, field: str) -> None:
    note = {"type": kind, field: "12195555358", "body": "…"}
    update = only(webhook(messages(text(type="system", system=note))))
    assert update.identity.change is IdentityChange.NUMBER
    assert (update.identity.former_phone, update.identity.phone) == ("+447700900123", "+12195555358")


@pytest.mark.parametrize(("former", "is_change"), [("GB.1", False), ("GB.2", True), ("", True), (None, True)])
def test_a_bsuid_that_stays_the_same_is_no_change(former: str | None, *, is_change: bool) -> None:
    """The opt-in of a person lapses with a changed BSUID; a report may be about the BSUID of the parent alone."""
    parent = {"previous": "GB.ENT.1", "current": "GB.ENT.2"}
    item = {"timestamp": "1764000000", "user_id": {"previous": former, "current": "GB.1"}, "parent_user_id": parent}
    around = {"metadata": messages()["value"]["metadata"], "user_id_update": [item]}
    parsed = parse_webhook(webhook({"field": "user_id_update", "value": around}), CONTEXT)
    assert [update.identity.change for update in parsed.person_updates] == [IdentityChange.BSUID] * is_change
    assert [type(read(record).data) for record in parsed.records] == [UnknownReceived] * (not is_change)


def test_a_preference_without_addresses_belongs_to_the_only_contact() -> None:
    item = {"category": "marketing_messages", "value": "stop", "timestamp": 1764000000}
    change = {"field": "user_preferences", "value": {"contacts": [{"user_id": "GB.1"}], "user_preferences": [item]}}
    update = only(webhook(change))
    assert update.identity.bsuid == "GB.1"
    assert isinstance(update.draft, PreferenceChanged)


def test_an_account_update_is_published_without_its_requester() -> None:
    value = {"display_phone_number": "15550783881", "event": "PIN_RESET_REQUEST", "requester": "61555822107539"}
    (record,) = parse_webhook(webhook({"field": "security", "value": value}), CONTEXT).records
    data = read(record).data
    assert isinstance(data, AccountReported)
    assert (data.value["event"], "requester" in data.value) == ("PIN_RESET_REQUEST", False)


@pytest.mark.parametrize("field", ["smb_message_echoes", "history", "standby", "carrier_pigeons"])
def test_messages_of_other_fields_are_unknown_and_published_without_content(field: str) -> None:
    change = {"field": field, "value": {"messages": [text(body="secret")]}}
    parsed = parse_webhook(webhook(change), CONTEXT)
    (record,) = parsed.records
    assert isinstance(read(record).data, UnknownReceived)
    assert b"secret" not in record.value
    assert parsed.person_updates == []


def test_errors_without_an_update_are_reported_by_code_and_title() -> None:
    errors = [{"code": 130429, "title": "Rate limit hit", "error_data": {"details": "447700900123"}}]
    (record,) = parse_webhook(webhook({"field": "messages", "value": {"errors": errors}}), CONTEXT).records
    data = read(record).data
    assert isinstance(data, AccountReported)
    assert data.value == {"errors": [{"code": 130429, "title": "Rate limit hit"}]}


def test_errors_beside_a_status_belong_to_it() -> None:
    change = statuses(status(word="failed"), errors=[{"code": 131026}])
    (record,) = parse_webhook(webhook(change), CONTEXT).records
    data = read(record).data
    assert isinstance(data, StatusReported)
    assert data.code == 131026


def test_nul_characters_are_removed() -> None:
    body = webhook(messages(text(body="a\x00b")))
    assert b"\\u0000" in body
    draft = only(body).draft
    assert isinstance(draft, MessageReceived)
    assert draft.text == "ab"


def test_half_a_surrogate_does_not_cost_the_batch() -> None:
    body = webhook(messages(text(body="HALF"))).replace(b"HALF", b"\\ud83d")
    assert only(body).id == alias("wamid.1")


def test_an_update_too_large_for_its_topic_is_parked() -> None:
    parsed = parse_webhook(webhook(messages(text(body="x" * 1_100_000), text("w2"))), CONTEXT)
    assert ([one.reason for one in parsed.invalid], len(parsed.person_updates)) == (["too_large"], 1)


def test_the_same_update_has_the_same_id_and_another_time_another() -> None:
    change = {"field": "account_update", "value": {"event": "ACCOUNT_DELETED"}}

    def ids(body: bytes) -> list[EventId]:
        return [read(record).id for record in parse_webhook(body, CONTEXT).records]

    later = orjson.dumps({"entry": [{"id": "102290129340398", "time": 7, "changes": [change]}]})
    assert ids(webhook(change)) == ids(webhook(change)) != ids(later)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"entry"', b"\xff", b'{"entry":[]}', b'{"object":"page","entry":[{}]}']
)
def test_a_body_that_is_no_webhook_is_parked_unchanged(body: bytes) -> None:
    parsed = parse_webhook(body, CONTEXT)
    assert [one.raw for one in parsed.invalid] == [body]
    assert (parsed.records, parsed.person_updates) == ([], [])


EDIT = {"original_message_id": "w0"}


@pytest.mark.parametrize(
    "item",
    [
        text(type="edit", edit={**EDIT, "message": "Hello"}),
        text(type="edit", edit={**EDIT, "message": {"type": "edit", "edit": EDIT}}),
        text(type="interactive", interactive={"type": []}),
        text(type="button", button=["payload"]),
        text(timestamp="253402300799"),
        text(timestamp=10**18),
        text("w" * 301),
        status("w" * 299, "delivered"),
        status(word="s" * 400),
        text(sender="", from_user_id="U" * 400),
    ],
)
def test_an_update_that_cannot_be_read_is_parked_alone(item: dict[str, Any]) -> None:
    good = [text("w1"), status("w2")]
    change = messages(text("w1"), item) if "from" in item else statuses(item)
    parsed = parse_webhook(webhook(change, messages(good[0]), statuses(good[1])), CONTEXT)
    assert (len(parsed.invalid), len(parsed.records) + len(parsed.person_updates)) == (1, 3 if "from" in item else 2)
    assert item in _items(parsed.invalid[0].raw)


def _items(raw: bytes) -> list[Any]:
    value = json.loads(raw)["entry"][0]["changes"][0]["value"]
    return [*value.get("messages", ()), *value.get("statuses", ())]


def test_nested_edits_are_parked_at_any_depth() -> None:
    edit: dict[str, Any] = {"type": "text", "text": {"body": "x"}}
    for _ in range(300):
        edit = {"type": "edit", "edit": {**EDIT, "message": edit}}
    body = json.dumps({"entry": [{"id": "1", "changes": [messages(text("w1"), text("w2", **edit))]}]}).encode()
    parsed = parse_webhook(body, CONTEXT)
    assert (len(parsed.person_updates), [one.reason for one in parsed.invalid]) == (1, ["malformed"])


@pytest.mark.parametrize("place", ["account", "field", "line"])
def test_a_name_too_long_for_a_key_costs_only_its_own_change(place: str) -> None:
    change, long = statuses(status()), "x" * 500_000
    if place == "line":
        change["value"]["metadata"]["phone_number_id"] = long
    entry: dict[str, Any] = {"id": long if place == "account" else "1", "changes": [change]}
    if place == "field":
        change["field"] = long
    body = json.dumps({"entry": [entry, {"id": "1", "changes": [messages(text())]}]}).encode()
    parsed = parse_webhook(body, CONTEXT)
    assert len(parsed.person_updates) == 1
    assert [sum(parsed.foreign_numbers.values()), len(parsed.invalid)] == ([1, 0] if place == "line" else [0, 1])
    assert all(len(record.key) + len(record.value) < 10_000 for record in parsed.records)


def test_deep_nesting_beside_a_message_costs_only_itself() -> None:
    deep = b'{"a":' * 400 + b'"\\u0000"' + b"}" * 400
    body = webhook(messages(text("w1")), {"field": "x", "value": {"deep": "DEEP"}}).replace(b'"DEEP"', deep)
    parsed = parse_webhook(body, CONTEXT)
    assert (len(parsed.person_updates), len(parsed.invalid)) == (1, 1)
    assert b"w1" not in parsed.invalid[0].raw


@pytest.mark.parametrize(
    "value", [{"messages": [1] * 700_000}, {"messages": [{}] * 11_000}, {"statuses": [status()] * 11_000}]
)
def test_a_body_with_too_many_updates_is_parked_whole_and_quickly(value: dict[str, Any]) -> None:
    body = webhook({"field": "messages", "value": value})
    with at_most(0.5):
        parsed = parse_webhook(body, CONTEXT)
    assert [(one.raw, one.reason) for one in parsed.invalid] == [(body, "too_many")]


def test_a_body_with_many_invalid_updates_is_parked_once_and_valid_ones_are_published() -> None:
    contacts = [{"wa_id": str(447700900000 + number), "profile": {"name": "A" * 500}} for number in range(900)]
    items = [text(f"w{number}", type=5) for number in range(900)]
    body = webhook(messages(*items, text("good"), contacts=contacts))
    with at_most(0.5):
        parsed = parse_webhook(body, CONTEXT)
    assert (len(parsed.person_updates), [one.raw for one in parsed.invalid]) == (1, [body])


def test_a_parked_update_has_only_its_own_contact() -> None:
    contacts = [{"wa_id": f"44770090012{number}", "profile": {"name": f"N{number}"}} for number in range(3)]
    bad = text("w1", sender="447700900121", type=5)
    (parked,) = parse_webhook(webhook(messages(text("w0"), bad, contacts=contacts)), CONTEXT).invalid
    assert json.loads(parked.raw)["entry"][0]["changes"][0]["value"]["contacts"] == [contacts[1]]


@pytest.mark.parametrize("name", ["WhatsApp visitor", " unknown ", "N/A", "TBC", "-", "🌸", "\x07", "x" * 0])
def test_a_placeholder_is_no_name(name: str) -> None:
    contact = {"wa_id": "447700900123", "profile": {"name": name}}
    assert only(webhook(messages(text(), contacts=[contact]))).identity.name is None


def test_a_long_name_is_cut() -> None:
    contact = {"wa_id": "447700900123", "profile": {"name": "Anna " * 100_000}}
    name = only(webhook(messages(text(), contacts=[contact]))).identity.name
    assert name is not None
    assert len(name) <= 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["messages", "statuses", "contacts", "metadata", "errors", "calls", "user_preferences", "user_id_update",
     "id", "from", "type", "text", "system", "timestamp", "status", "user_id", "interactive", "edit", "message"]
)  # fmt: skip
NEAR = st.recursive(
    JSON | st.sampled_from(["text", "system", "edit", "image", "sent", "1764000000", "447700900123"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=30,
)


@given(st.binary())
def test_any_bytes_are_parked_without_an_error(body: bytes) -> None:
    assert len(parse_webhook(body, CONTEXT).invalid) == 1


@given(st.sampled_from(["messages", "calls", "user_preferences", "user_id_update", "x"]), NEAR)
def test_any_json_like_a_webhook_is_published_or_parked(field: str, value: Any) -> None:
    parsed = parse_webhook(
        json.dumps({"entry": [{"id": 1, "changes": [{"field": field, "value": value}]}]}).encode(), CONTEXT
    )
    assert parsed.records or parsed.person_updates or parsed.invalid
    for record in parsed.records:
        read(record)


@pytest.mark.parametrize("depth", [200, 300, 900, 5000])
def test_nesting_of_any_depth_is_published_or_parked(depth: int) -> None:
    value = b'{"field":"x","value":' + b'{"a":' * depth + b'"\\u0000"' + b"}" * depth + b"}"
    parsed = parse_webhook(b'{"entry":[{"id":"1","changes":[' + value + b"]}]}", CONTEXT)
    assert len(parsed.records) + len(parsed.invalid) == 1


def test_recorded_time_is_business_time() -> None:
    (record,) = parse_webhook(webhook(statuses(status())), CONTEXT).records
    assert read(record).recordedtime == NOW


REAL = "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAEhgUM0E3QjVCRDIxQzRGNkU3MDk1M0QA"  # base64 of 447700900123 and more
PERSONAL = (REAL, REAL.removeprefix("wamid."), "447700900123", "Hello")
SYSTEM = {"type": "user_changed_number", "wa_id": "447700900123", "body": "…"}


@pytest.mark.parametrize(
    "change",
    [
        statuses(status(REAL)),
        messages(text(REAL)),
        messages(text(REAL, context={"id": REAL})),
        messages(text(REAL, type="system", system=SYSTEM)),
        {"field": "calls", "value": {"calls": [
            {"id": REAL, "from": "447700900123", "direction": "USER_INITIATED", "event": "connect", "timestamp": "1"}
        ]}},
    ],
)  # fmt: skip
def test_the_number_in_a_wamid_is_in_no_id_and_no_key(change: dict[str, Any]) -> None:
    parsed = parse_webhook(webhook(change), CONTEXT)
    shown = [update.id for update in parsed.person_updates]
    for record in parsed.records:
        event = read(record)
        shown += [event.id, event.partitionkey, record.key.decode(), *(str(value) for _, value in record.headers)]
    assert shown
    assert not [one for one in shown for secret in PERSONAL if secret in one]
