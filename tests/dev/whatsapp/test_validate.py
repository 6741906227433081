"""Sends that Meta refuses, each with its code."""

from typing import Any

import pytest

from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.messages import Choice, ReadReceipt, SendRequest
from dev.whatsapp.send_validation import phone_digits, read_send
from dev.whatsapp.templates import RegisteredTemplate, TemplateRegistry, TemplateStatus
from tests.dev.whatsapp.simulator_under_test import asking, envelope, filled, listing, payload, templated, text

TO = "+447700900123"
FULL = filled(person="Ana", title="Dune")


def check_file(media_id: str) -> None:
    if media_id != "1001":
        raise GraphError(100, "not a file of this number")


def document(**said: Any) -> dict[str, Any]:
    return envelope(TO, type="document", document=said)


def headed(*header: dict[str, Any]) -> dict[str, Any]:
    components = [{"type": "header", "parameters": list(header)}] if header else []
    return templated(TO, "cover", *components)


@pytest.fixture(scope="module")
def templates() -> TemplateRegistry:
    known = TemplateRegistry(accept_any=False)
    known.add(RegisteredTemplate(name="ask", language="en", body="Hello {{person}}: {{title}}?", buttons=("Yes", "No")))
    known.add(RegisteredTemplate(name="ask", language="fr", body="Bonjour {{1}} : {{2}} ?"))
    known.add(RegisteredTemplate(name="cover", language="en", body="Your contract", header="document"))
    known.add(RegisteredTemplate(name="paused", language="en", status=TemplateStatus.PAUSED))
    known.add(RegisteredTemplate(name="disabled", language="en", status=TemplateStatus.DISABLED))
    known.add(RegisteredTemplate(name="pending", language="en", status=TemplateStatus.PENDING))
    link = {"type": "url", "text": "Open", "url": "https://example.org/{{1}}"}
    known.add(RegisteredTemplate.model_validate({"name": "link", "language": "en", "body": "See", "buttons": [link]}))
    return known


def interactive(**said: Any) -> dict[str, Any]:
    return envelope(TO, type="interactive", interactive=said)


def button(title: str, reply_id: str = "1") -> dict[str, Any]:
    return {"type": "reply", "reply": {"id": reply_id, "title": title}}


def link(url: str = "https://example.org", as_json_object: str = "Open") -> dict[str, Any]:
    action = {"name": "cta_url", "parameters": {"display_text": as_json_object, "url": url}}
    return interactive(type="cta_url", body={"text": "Read"}, action=action)


def rows(count: int) -> dict[str, Any]:
    return listing(TO, *(f"Row {number}" for number in range(count)))


REFUSED: list[tuple[str, object, int]] = [
    ("document without id and link", document(filename="a.pdf"), 131008),
    ("document with id and link", document(id="1001", link="https://example.org/a.pdf"), 131008),
    ("document of another number", document(id="1002"), 100),
    ("caption too long", document(id="1001", caption="x" * 1025), 131009),
    ("template without its document", headed(), 132012),
    ("a text in the place of a document", headed({"type": "text", "text": "x"}), 132012),
    ("not an object", [], 100),
    ("no product", {"to": TO, "type": "text", "text": {"body": "x"}}, 100),
    ("nobody", {"messaging_product": "whatsapp", "type": "text", "text": {"body": "x"}}, 100),
    ("unknown type", envelope(TO, type="hologram"), 131051),
    ("no text node", envelope(TO, type="text"), 131008),
    ("empty text", text(TO, ""), 131008),
    ("text too long", text(TO, "x" * 4097), 100),
    ("text not a string", envelope(TO, text={"body": 7}), 131009),
    ("callback too long", text(TO, biz_opaque_callback_data="x" * 513), 100),
    ("group", text(TO, recipient_type="group"), 131009),
    ("recipient not a BSUID", text("", recipient="447700900123"), 131009),
    ("context without id", text(TO, context={}), 131008),
    ("no buttons", asking(TO), 131009),
    ("four buttons", asking(TO, "A", "B", "C", "D"), 131009),
    ("equal titles", asking(TO, "A", "A"), 131009),
    ("title too long", asking(TO, "x" * 21), 131009),
    ("body too long", asking(TO, "A", body="x" * 1025), 131009),
    ("no action", interactive(type="button", body={"text": "x"}), 131008),
    (
        "equal ids",
        interactive(type="button", body={"text": "x"}, action={"buttons": [button("A"), button("B")]}),
        131009,
    ),
    ("long id", interactive(type="button", body={"text": "x"}, action={"buttons": [button("A", "x" * 257)]}), 131009),
    ("long footer", interactive(type="button", body={"text": "x"}, footer={"text": "x" * 61}, action={}), 131009),
    ("long header", interactive(type="button", header={"type": "text", "text": "x" * 61}), 131009),
    ("unknown interactive", interactive(type="carousel"), 131009),
    ("no rows", rows(0), 131009),
    ("eleven rows", rows(11), 131009),
    ("long row", listing(TO, "x" * 25), 131009),
    ("link shown too long", link(as_json_object="x" * 21), 131009),
    ("not a link", link(url="ftp://example.org"), 131009),
    ("unknown template", templated(TO, "nothing"), 132001),
    ("pending template", templated(TO, "pending"), 132001),
    ("paused template", templated(TO, "paused"), 132015),
    ("disabled template", templated(TO, "disabled"), 132016),
    ("too few parameters", templated(TO, "ask", filled(person="Ana")), 132000),
    ("wrong names", templated(TO, "ask", filled(person="Ana", name="Dune")), 132012),
    ("newline", templated(TO, "ask", filled(person="Ana", title="Du\nne")), 132018),
    ("tab", templated(TO, "ask", filled(person="Ana", title="Du\tne")), 132018),
    ("five spaces", templated(TO, "ask", filled(person="Ana", title="Du     ne")), 132018),
    ("empty value", templated(TO, "ask", filled(person="Ana", title="")), 131008),
    ("body too long once filled", templated(TO, "ask", filled(person="Ana", title="x" * 1020)), 132005),
    ("header it does not have", templated(TO, "ask", FULL, {"type": "header", "parameters": []}), 132012),
    ("button it does not have", templated(TO, "ask", FULL, payload(2, "p")), 131009),
    ("payload too long", templated(TO, "ask", FULL, payload(0, "x" * 129)), 131009),
    ("url without its parameter", templated(TO, "link"), 131008),
    ("receipt for nothing", {"messaging_product": "whatsapp", "status": "read"}, 131008),
    ("status other than read", {"messaging_product": "whatsapp", "status": "seen", "message_id": "w"}, 131009),
]


@pytest.mark.parametrize(("body", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_send_that_meta_refuses_is_refused_with_its_code(
    body: object, code: int, templates: TemplateRegistry
) -> None:
    with pytest.raises(GraphError) as refusal:
        read_send(body, templates, check_file)
    assert refusal.value.code == code


ACCEPTED: list[tuple[str, object]] = [
    ("longest text", text(TO, "x" * 4096)),
    ("longest callback", text(TO, biz_opaque_callback_data="x" * 512)),
    ("three buttons", asking(TO, "A", "B", "x" * 20)),
    ("ten rows", rows(10)),
    ("link", link()),
    ("BSUID", text("", recipient="US.13491208655302741918")),
    ("four spaces", templated(TO, "ask", filled(person="Ana", title="a    b"))),
    ("longest payload", templated(TO, "ask", FULL, payload(1, "x" * 128))),
]


@pytest.mark.parametrize("body", [case[1] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_a_send_just_within_the_limits_is_accepted(body: object, templates: TemplateRegistry) -> None:
    assert isinstance(read_send(body, templates, check_file), SendRequest)


def sent(body: object, templates: TemplateRegistry) -> SendRequest:
    asked = read_send(body, templates, check_file)
    assert isinstance(asked, SendRequest)
    return asked


def test_a_named_template_is_rendered_and_its_buttons_carry_our_payloads(templates: TemplateRegistry) -> None:
    content = sent(templated(TO, "ask", FULL, payload(0, "yes-1")), templates).content
    assert content.text == "Hello Ana: Dune?"
    assert content.parameters == {"person": "Ana", "title": "Dune"}
    assert content.choices == (Choice("yes-1", "Yes"), Choice("No", "No"))


def test_a_positional_template_takes_its_parameters_in_order(templates: TemplateRegistry) -> None:
    body = {"type": "body", "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "Dune"}]}
    said = {"name": "ask", "language": {"code": "fr"}, "components": [body]}
    assert sent(envelope(TO, type="template", template=said), templates).content.text == "Bonjour Ana : Dune ?"


def test_no_other_language_is_a_fallback(templates: TemplateRegistry) -> None:
    said = {"name": "ask", "language": {"code": "en_GB"}, "components": [FULL]}
    with pytest.raises(GraphError) as refusal:
        read_send(envelope(TO, type="template", template=said), templates, check_file)
    assert refusal.value.code == 132001


def test_the_phone_number_wins_over_the_bsuid(templates: TemplateRegistry) -> None:
    asked = sent(text(TO, recipient="US.13491208655302741918"), templates)
    assert (asked.to, asked.recipient) == (TO, None)


def test_a_read_receipt_is_distinguished_from_a_send(templates: TemplateRegistry) -> None:
    body = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.A"}
    assert read_send(body, templates, check_file) == ReadReceipt("wamid.A")


@pytest.mark.parametrize(
    ("to", "digits"),
    [("+44 7700 900-123", "447700900123"), ("+1 (650) 555.1234", "16505551234"), ("7700900123", "17700900123")],
)
def test_without_a_plus_the_home_country_code_is_added(to: str, digits: str) -> None:
    assert phone_digits(to, "1") == digits
