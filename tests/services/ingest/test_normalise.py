"""What one webhook body turns into."""

import json
from time import process_time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.normalise import normalise
from services.ingest.records import Personal, Record
from shared.contracts.envelope import Event, parse_event
from shared.contracts.ids import EventId
from shared.contracts.values import convert
from shared.contracts.whatsapp import (
    AccountReported,
    IdentityChange,
    MessageKind,
    MessageReceived,
    PreferenceChanged,
    Status,
    StatusReported,
    UnknownReceived,
)
from tests.services.ingest.payloads import FRAME, NOW, PSEUDONYMS, messages, status, statuses, text, webhook


def read(record: Record) -> Event:
    return parse_event(record.value, record.topic.kinds)


def alias(wamid: str) -> str:
    return PSEUDONYMS.for_wamid(wamid)


def only(body: bytes) -> Personal:
    (personal,) = normalise(body, FRAME).personal
    return personal


def message(item: dict[str, Any]) -> MessageReceived:
    draft = only(webhook(messages(item))).draft
    assert isinstance(draft, MessageReceived)
    return draft


def test_a_status_says_what_the_webhook_said_of_it() -> None:
    item = status(
        biz_opaque_callback_data="m1.1",
        pricing={"category": "utility"},
        errors=[{"code": 131047, "title": "Re-engagement"}],
    )
    (record,) = normalise(webhook(statuses(item)), FRAME).records
    data = convert(
        StatusReported,
        {"wamid": "wamid.9", "status": "delivered", "line": "house", "at": "2025-11-24T16:00:00Z",
         "callback": "m1.1", "code": 131047, "pricing_category": "utility"},
    )  # fmt: skip
    expected = FRAME.event(data, id=f"{alias('wamid.9')}/delivered", key=alias("wamid.9"), at=data.at)
    assert read(record) == expected
    assert record.key == alias("wamid.9").encode()


def test_a_status_of_a_word_we_do_not_know_is_kept_as_other_under_its_own_id() -> None:
    (record,) = normalise(webhook(statuses(status(said="teleported"))), FRAME).records
    event = read(record)
    assert isinstance(event.data, StatusReported)
    assert (event.id, event.data.status) == (f"{alias('wamid.9')}/teleported", Status.OTHER)


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
def test_a_bad_status_is_parked_alone_and_can_be_sent_again(bad: Any) -> None:
    sorted_ = normalise(webhook(statuses(status("w1"), bad, status("w2"))), FRAME)
    assert [read(record).partitionkey for record in sorted_.records] == [alias("w1"), alias("w2")]
    (parked,) = sorted_.bad
    assert parked.reason == "malformed"
    assert json.loads(parked.raw)["entry"][0]["changes"][0]["value"]["statuses"] == [bad]


@pytest.mark.parametrize(
    ("node", "kind", "said"),
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
def test_each_way_of_writing_is_told_apart(
    node: dict[str, Any], kind: MessageKind, said: tuple[str | None, str | None]
) -> None:
    received = message({"id": "wamid.1", "from": "447700900123", "timestamp": "1764000000", **node})
    assert (received.message_kind, (received.button_id, received.text)) == (kind, said)


def test_a_message_carries_its_line_its_quote_and_whether_it_came_in_a_group() -> None:
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
def test_what_concerns_another_products_number_is_counted_and_nothing_else(change: dict[str, Any]) -> None:
    sorted_ = normalise(webhook(change, messages(text("ours"))), FRAME)
    assert sorted_.others == {"9999": 1}
    assert [one.draft.message_id for one in sorted_.personal if isinstance(one.draft, MessageReceived)] == ["ours"]
    assert (sorted_.records, sorted_.bad) == ([], [])


@pytest.mark.parametrize(
    "metadata", [OURS, {"phone_number_id": 106540352242922}, {}, {"phone_number_id": ""}, None, "x"]
)
def test_our_number_counts_however_it_is_written_and_so_does_none(metadata: Any) -> None:
    sorted_ = normalise(webhook(messages(text(), metadata=metadata), statuses(status(), metadata=metadata)), FRAME)
    assert (len(sorted_.personal), len(sorted_.records), len(sorted_.others)) == (1, 1, 0)


def test_news_of_the_account_is_kept_whichever_number_it_speaks_of() -> None:
    change = {"field": "phone_number_quality_update", "value": {"display_phone_number": "1", "event": "FLAGGED"}}
    (record,) = normalise(webhook(change), FRAME).records
    assert record.what == "account"


def test_an_attachment_keeps_its_id_and_hash() -> None:
    node = {"id": "9", "mime_type": "application/pdf", "sha256": "aGFzaA==", "filename": "pitch.pdf"}
    received = message(text(type="document", document=node))
    assert received.media is not None
    assert (received.media.media_id, received.media.sha256) == ("9", "aGFzaA==")


@pytest.mark.parametrize("wrong", [{"text": "Hello"}, {"text": {}}, {"text": {"body": 7}}, {"type": 7}, {"from": "x"}])
def test_a_message_of_a_wrong_shape_is_parked_and_the_others_go_on(wrong: dict[str, Any]) -> None:
    sorted_ = normalise(webhook(messages(text("w1"), {**text("w2"), **wrong}, text("w3", "447700900124"))), FRAME)
    assert [personal.id for personal in sorted_.personal] == [alias("w1"), alias("w3")]
    assert len(sorted_.bad) == 1


def test_a_sender_without_a_number_is_known_by_the_bsuid() -> None:
    item = text(sender="") | {"from_user_id": "GB.1"}
    contacts = [{"profile": {"name": "Ada"}, "user_id": "GB.1", "wa_id": ""}]
    sighting = only(webhook(messages(item, contacts=contacts))).sighting
    assert (sighting.bsuid, sighting.phone, sighting.name) == ("GB.1", None, "Ada")


def test_addresses_of_one_person_are_joined_only_from_their_own_contact_entry() -> None:
    contacts = [{"wa_id": "447700900199", "user_id": "GB.2"}, {"wa_id": "447700900123", "user_id": "GB.1"}]
    sighting = only(webhook(messages(text(), contacts=contacts))).sighting
    assert (sighting.bsuid, sighting.phone) == ("GB.1", "+447700900123")
    stranger = only(webhook(messages(text(), contacts=contacts[:1]))).sighting
    assert stranger.bsuid is None


def test_a_changed_number_names_the_former_one() -> None:
    note = {"type": "user_changed_number", "wa_id": "12195555358", "body": "…"}
    personal = only(webhook(messages(text(type="system", system=note))))
    assert personal.sighting.change is IdentityChange.NUMBER
    assert (personal.sighting.former_phone, personal.sighting.phone) == ("+447700900123", "+12195555358")


def test_a_preference_without_addresses_of_its_own_is_the_only_contacts() -> None:
    item = {"category": "marketing_messages", "value": "stop", "timestamp": 1764000000}
    change = {"field": "user_preferences", "value": {"contacts": [{"user_id": "GB.1"}], "user_preferences": [item]}}
    personal = only(webhook(change))
    assert personal.sighting.bsuid == "GB.1"
    assert isinstance(personal.draft, PreferenceChanged)


def test_what_the_account_says_is_kept_but_never_who_asked() -> None:
    value = {"display_phone_number": "15550783881", "event": "PIN_RESET_REQUEST", "requester": "61555822107539"}
    (record,) = normalise(webhook({"field": "security", "value": value}), FRAME).records
    data = read(record).data
    assert isinstance(data, AccountReported)
    assert (data.value["event"], "requester" in data.value) == ("PIN_RESET_REQUEST", False)


@pytest.mark.parametrize("field", ["smb_message_echoes", "history", "standby", "carrier_pigeons"])
def test_messages_of_a_field_that_is_not_ours_to_act_on_are_unknown_and_carry_nothing(field: str) -> None:
    change = {"field": field, "value": {"messages": [text(body="secret")]}}
    sorted_ = normalise(webhook(change), FRAME)
    (record,) = sorted_.records
    assert isinstance(read(record).data, UnknownReceived)
    assert b"secret" not in record.value
    assert sorted_.personal == []


def test_errors_beside_no_update_are_reported_by_code_and_title() -> None:
    errors = [{"code": 130429, "title": "Rate limit hit", "error_data": {"details": "447700900123"}}]
    (record,) = normalise(webhook({"field": "messages", "value": {"errors": errors}}), FRAME).records
    data = read(record).data
    assert isinstance(data, AccountReported)
    assert data.value == {"errors": [{"code": 130429, "title": "Rate limit hit"}]}


def test_errors_beside_a_status_belong_to_it() -> None:
    change = statuses(status(said="failed"), errors=[{"code": 131026}])
    (record,) = normalise(webhook(change), FRAME).records
    data = read(record).data
    assert isinstance(data, StatusReported)
    assert data.code == 131026


def test_nul_is_stripped_wherever_it_stands() -> None:
    body = webhook(messages(text(body="a\x00b")))
    assert b"\\u0000" in body
    draft = only(body).draft
    assert isinstance(draft, MessageReceived)
    assert draft.text == "ab"


def test_half_a_surrogate_does_not_lose_the_batch() -> None:
    body = webhook(messages(text(body="HALF"))).replace(b"HALF", b"\\ud83d")
    assert only(body).id == alias("wamid.1")


def test_an_update_too_large_for_its_topic_is_parked() -> None:
    sorted_ = normalise(webhook(messages(text(body="x" * 1_100_000), text("w2"))), FRAME)
    assert ([bad.reason for bad in sorted_.bad], len(sorted_.personal)) == (["too_large"], 1)


def test_the_same_update_has_the_same_id_and_another_time_another() -> None:
    change = {"field": "account_update", "value": {"event": "ACCOUNT_DELETED"}}

    def ids(body: bytes) -> list[EventId]:
        return [read(record).id for record in normalise(body, FRAME).records]

    later = orjson.dumps({"entry": [{"id": "102290129340398", "time": 7, "changes": [change]}]})
    assert ids(webhook(change)) == ids(webhook(change)) != ids(later)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"entry"', b"\xff", b'{"entry":[]}', b'{"object":"page","entry":[{}]}']
)
def test_what_is_not_a_webhook_is_parked_as_it_came(body: bytes) -> None:
    sorted_ = normalise(body, FRAME)
    assert [bad.raw for bad in sorted_.bad] == [body]
    assert (sorted_.records, sorted_.personal) == ([], [])


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
        status(said="s" * 400),
        text(sender="", from_user_id="U" * 400),
    ],
)
def test_an_update_that_cannot_be_read_is_parked_alone(item: dict[str, Any]) -> None:
    good = [text("w1"), status("w2")]
    change = messages(text("w1"), item) if "from" in item else statuses(item)
    sorted_ = normalise(webhook(change, messages(good[0]), statuses(good[1])), FRAME)
    assert (len(sorted_.bad), len(sorted_.records) + len(sorted_.personal)) == (1, 3 if "from" in item else 2)
    assert item in _items(sorted_.bad[0].raw)


def _items(raw: bytes) -> list[Any]:
    value = json.loads(raw)["entry"][0]["changes"][0]["value"]
    return [*value.get("messages", ()), *value.get("statuses", ())]


def test_edits_within_edits_are_parked_at_any_depth() -> None:
    edit: dict[str, Any] = {"type": "text", "text": {"body": "x"}}
    for _ in range(300):
        edit = {"type": "edit", "edit": {**EDIT, "message": edit}}
    body = json.dumps({"entry": [{"id": "1", "changes": [messages(text("w1"), text("w2", **edit))]}]}).encode()
    sorted_ = normalise(body, FRAME)
    assert (len(sorted_.personal), [bad.reason for bad in sorted_.bad]) == (1, ["malformed"])


@pytest.mark.parametrize("place", ["account", "field", "line"])
def test_a_name_that_no_key_holds_costs_its_own_change_only(place: str) -> None:
    change, long = statuses(status()), "x" * 500_000
    if place == "line":
        change["value"]["metadata"]["phone_number_id"] = long
    entry: dict[str, Any] = {"id": long if place == "account" else "1", "changes": [change]}
    if place == "field":
        change["field"] = long
    body = json.dumps({"entry": [entry, {"id": "1", "changes": [messages(text())]}]}).encode()
    sorted_ = normalise(body, FRAME)
    assert len(sorted_.personal) == 1
    assert [sum(sorted_.others.values()), len(sorted_.bad)] == ([1, 0] if place == "line" else [0, 1])
    assert all(len(record.key) + len(record.value) < 10_000 for record in sorted_.records)


def test_deep_nesting_beside_a_message_costs_only_itself() -> None:
    deep = b'{"a":' * 400 + b'"\\u0000"' + b"}" * 400
    body = webhook(messages(text("w1")), {"field": "x", "value": {"deep": "DEEP"}}).replace(b'"DEEP"', deep)
    sorted_ = normalise(body, FRAME)
    assert (len(sorted_.personal), len(sorted_.bad)) == (1, 1)
    assert b"w1" not in sorted_.bad[0].raw


@pytest.mark.parametrize(
    "value", [{"messages": [1] * 700_000}, {"messages": [{}] * 11_000}, {"statuses": [status()] * 11_000}]
)
def test_a_body_of_more_updates_than_whatsapp_sends_is_parked_whole_and_soon(value: dict[str, Any]) -> None:
    body = webhook({"field": "messages", "value": value})
    began = process_time()
    sorted_ = normalise(body, FRAME)
    assert process_time() - began < 0.5
    assert [(bad.raw, bad.reason) for bad in sorted_.bad] == [(body, "too_many")]


def test_a_body_full_of_faults_is_kept_once_and_what_is_good_of_it_goes_on() -> None:
    contacts = [{"wa_id": str(447700900000 + number), "profile": {"name": "A" * 500}} for number in range(900)]
    items = [text(f"w{number}", type=5) for number in range(900)]
    body = webhook(messages(*items, text("good"), contacts=contacts))
    began = process_time()
    sorted_ = normalise(body, FRAME)
    assert process_time() - began < 0.5
    assert (len(sorted_.personal), [bad.raw for bad in sorted_.bad]) == (1, [body])


def test_what_is_parked_of_many_keeps_only_its_own_contact() -> None:
    contacts = [{"wa_id": f"44770090012{number}", "profile": {"name": f"N{number}"}} for number in range(3)]
    bad = text("w1", sender="447700900121", type=5)
    (parked,) = normalise(webhook(messages(text("w0"), bad, contacts=contacts)), FRAME).bad
    assert json.loads(parked.raw)["entry"][0]["changes"][0]["value"]["contacts"] == [contacts[1]]


@pytest.mark.parametrize("name", ["WhatsApp visitor", " unknown ", "N/A", "TBC", "-", "🌸", "\x07", "x" * 0])
def test_a_placeholder_is_nobodys_name(name: str) -> None:
    contact = {"wa_id": "447700900123", "profile": {"name": name}}
    assert only(webhook(messages(text(), contacts=[contact]))).sighting.name is None


def test_a_name_is_cut_to_what_a_record_holds() -> None:
    contact = {"wa_id": "447700900123", "profile": {"name": "Anna " * 100_000}}
    name = only(webhook(messages(text(), contacts=[contact]))).sighting.name
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
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert len(normalise(body, FRAME).bad) == 1


@given(st.sampled_from(["messages", "calls", "user_preferences", "user_id_update", "x"]), NEAR)
def test_nothing_of_a_webhooks_likeness_makes_it_raise_or_vanish(field: str, value: Any) -> None:
    sorted_ = normalise(
        json.dumps({"entry": [{"id": 1, "changes": [{"field": field, "value": value}]}]}).encode(), FRAME
    )
    assert sorted_.records or sorted_.personal or sorted_.bad
    for record in sorted_.records:
        read(record)


@pytest.mark.parametrize("depth", [200, 300, 900, 5000])
def test_nesting_of_any_depth_is_parked_or_read(depth: int) -> None:
    value = b'{"field":"x","value":' + b'{"a":' * depth + b'"\\u0000"' + b"}" * depth + b"}"
    sorted_ = normalise(b'{"entry":[{"id":"1","changes":[' + value + b"]}]}", FRAME)
    assert len(sorted_.records) + len(sorted_.bad) == 1


def test_recorded_time_is_business_time() -> None:
    (record,) = normalise(webhook(statuses(status())), FRAME).records
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
def test_neither_id_nor_key_of_an_update_shows_the_number_that_is_in_its_wamid(change: dict[str, Any]) -> None:
    sorted_ = normalise(webhook(change), FRAME)
    shown = [personal.id for personal in sorted_.personal]
    for record in sorted_.records:
        event = read(record)
        shown += [event.id, event.partitionkey, record.key.decode(), *(str(value) for _, value in record.headers)]
    assert shown
    assert not [one for one in shown for secret in PERSONAL if secret in one]
