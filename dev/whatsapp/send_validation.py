"""Reads the body of a send into a SendRequest, or refuses it with Meta's code. Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.messages import Choice, Content, MessageType, ReadReceipt, SendRequest, SentDocument, TapKind
from dev.whatsapp.templates import ButtonKind, RegisteredTemplate, TemplateButton


@dataclass(frozen=True, slots=True)
class RequestObject:
    """A JSON object inside a request, and where it was found."""

    value: dict[str, Any]
    path: str

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def required(self, key: str) -> Any:
        found = self.value.get(key)
        if found is None:
            raise GraphError(131008, f"{self._at(key)} is required")
        return found

    def child(self, key: str) -> "RequestObject":
        return request_object(self.required(key), self._at(key))

    def maybe(self, key: str) -> "RequestObject | None":
        return self.child(key) if self.value.get(key) is not None else None

    def text(self, key: str, most: int, *, code: int = 131009) -> str:
        """A text of 1 to ``most`` characters; ``code`` answers a longer one."""
        found = self.required(key)
        if not isinstance(found, str):
            raise GraphError(131009, f"{self._at(key)} must be a string")
        if not found:
            raise GraphError(131008, f"{self._at(key)} is empty")
        if len(found) > most:
            raise GraphError(code, f"{self._at(key)} has {len(found)} characters, at most {most} are allowed")
        return found

    def maybe_text(self, key: str, most: int) -> str | None:
        return self.text(key, most) if self.value.get(key) is not None else None

    def children(self, key: str, most: int) -> list["RequestObject"]:
        """One to ``most`` objects."""
        found = self.required(key)
        if not isinstance(found, list):
            raise GraphError(131009, f"{self._at(key)} must be a list")
        if not 1 <= len(found) <= most:
            raise GraphError(131009, f"{self._at(key)} has {len(found)} items, 1 to {most} are allowed")
        return [request_object(item, f"{self._at(key)}[{place}]") for place, item in enumerate(found)]

    def one_of(self, key: str, words: Collection[str]) -> str:
        found = self.required(key)
        if found not in words:
            raise GraphError(131009, f"{self._at(key)} must be one of {', '.join(sorted(words))}")
        return str(found)


def request_object(value: object, path: str) -> RequestObject:
    if not isinstance(value, dict):
        raise GraphError(131009, f"{path or 'the body'} must be an object")
    return RequestObject(value, path)


def distinct(words: list[str], what: str) -> None:
    if len(set(words)) < len(words):
        raise GraphError(131009, f"{what} must differ from each other")


_HEADERS = ("text", "image", "video", "document")
_ROWS = 10


CheckFile = Callable[[str], None]
"""Raises GraphError for the id of a file that this number may not send."""


def document_of(node: RequestObject, check_file: CheckFile) -> SentDocument:
    """The node of a document: an id or a link, and a file name."""
    media_id, link = node.maybe_text("id", 100), node.maybe_text("link", 2000)
    if (media_id is None) is (link is None):
        raise GraphError(131008, f"{node.path} needs either id or link")
    if media_id is not None:
        check_file(media_id)
    return SentDocument(media_id, node.maybe_text("filename", _FILE_NAME))


_FILE_NAME = 240  # Meta documents no limit


def document(message: RequestObject, check_file: CheckFile) -> Content:
    node = message.child("document")
    sent = document_of(node, check_file)
    return Content(MessageType.DOCUMENT, node.maybe_text("caption", 1024) or "", document=sent)


def interactive(message: RequestObject, check_file: CheckFile) -> Content:
    node = message.child("interactive")
    content = _READERS[node.one_of("type", _READERS)](node)
    header = node.maybe("header")
    if header is None or header.value.get("type") != "document":
        return content
    return replace(content, document=document_of(header.child("document"), check_file))


def _buttons(node: RequestObject) -> Content:
    text = _frame(node, body=1024, headers=_HEADERS)
    replies = [_reply(button) for button in node.child("action").children("buttons", 3)]
    distinct([reply.title for reply in replies], "button titles")
    distinct([reply.id for reply in replies], "button ids")
    return Content(MessageType.INTERACTIVE, text, tuple(replies), TapKind.BUTTON)


def _reply(button: RequestObject) -> Choice:
    button.one_of("type", ("reply",))
    reply = button.child("reply")
    return Choice(id=reply.text("id", 256), title=reply.text("title", 20))


def _list(node: RequestObject) -> Content:
    text = _frame(node, body=4096, headers=("text",))
    action = node.child("action")
    action.text("button", 20)
    sections = action.children("sections", 10)
    if len(sections) > 1:
        for section in sections:
            section.text("title", 24)
    rows = [_row(row) for section in sections for row in section.children("rows", _ROWS)]
    if len(rows) > _ROWS:
        raise GraphError(131009, f"interactive.action.sections have {len(rows)} rows, at most {_ROWS} in total")
    distinct([row.id for row in rows], "row ids")
    return Content(MessageType.INTERACTIVE, text, tuple(rows), TapKind.ROW)


def _row(row: RequestObject) -> Choice:
    return Choice(row.text("id", 200), row.text("title", 24), row.maybe_text("description", 72))


def _link(node: RequestObject) -> Content:
    text = _frame(node, body=1024, headers=_HEADERS)
    action = node.child("action")
    action.one_of("name", ("cta_url",))
    parameters = action.child("parameters")
    parameters.text("display_text", 20)
    if not parameters.text("url", 2000).startswith(("https://", "http://")):
        raise GraphError(131009, "interactive.action.parameters.url must be a web address")
    return Content(MessageType.INTERACTIVE, text)


def _frame(node: RequestObject, *, body: int, headers: tuple[str, ...]) -> str:
    """Check header and footer; the body's text comes back."""
    header = node.maybe("header")
    if header is not None and header.one_of("type", headers) == "text":
        header.text("text", 60)
    footer = node.maybe("footer")
    if footer is not None:
        footer.text("text", 60)
    return node.child("body").text("text", body)


_READERS: dict[str, Callable[[RequestObject], Content]] = {"button": _buttons, "list": _list, "cta_url": _link}


_BODY = 1024
_PAYLOAD = 128  # Meta documents no limit; longer ones are not known to work
_UNPRINTABLE = re.compile(r"[\n\r\t]| {5,}")


class KnownTemplates(Protocol):
    def find(self, name: str, language: str) -> RegisteredTemplate:
        """Raises GraphError where there is none, or none that may be sent."""


def template(message: RequestObject, known: KnownTemplates, check_file: CheckFile) -> Content:
    node = message.child("template")
    name = node.text("name", 512)
    language = node.child("language").text("code", 20)
    definition = known.find(name, language)
    components = node.children("components", 20) if node.value.get("components") else []
    values = _body_values(definition, [part for part in components if part.one_of("type", _PARTS) == "body"])
    sent = _header(definition, [part for part in components if part.value["type"] == "header"], check_file)
    text = definition.render(values)
    if len(text) > _BODY:
        raise GraphError(132005, f"the body of {name} has {len(text)} characters once filled, at most {_BODY}")
    choices = _choices(definition, [part for part in components if part.value["type"] == "button"])
    return Content(
        kind=MessageType.TEMPLATE,
        text=text,
        choices=choices,
        tap=TapKind.QUICK_REPLY,
        template=name,
        language=language,
        parameters=values,
        category=definition.category,
        document=sent,
    )


def _header(definition: RegisteredTemplate, parts: list[RequestObject], check_file: CheckFile) -> SentDocument | None:
    if not parts:
        if definition.header is not None:
            raise GraphError(132012, f"header: {definition.name} needs a {definition.header}, none was given")
        return None
    if definition.header is None and not definition.open:
        raise GraphError(132012, f"template {definition.name} has no header")
    parameter = parts[0].children("parameters", 1)[0]
    if parameter.required("type") != (definition.header or "document"):
        raise GraphError(132012, f"header: {definition.name} needs a {definition.header}")
    return document_of(parameter.child("document"), check_file)


_PARTS = ("header", "body", "button")


def _body_values(definition: RegisteredTemplate, bodies: list[RequestObject]) -> Mapping[str, str]:
    given = [item for body in bodies for item in (body.children("parameters", 100) if _has(body) else [])]
    if not definition.open and len(given) != len(definition.parameters):
        expected = len(definition.parameters)
        raise GraphError(132000, f"body: {len(given)} parameters given, {definition.name} has {expected}")
    values = {_name_of(item, place, definition): _value_of(item) for place, item in enumerate(given, 1)}
    if not definition.open and set(values) != set(definition.parameters):
        raise GraphError(132012, f"body: the names given are not those of {definition.name}")
    return values


def _has(body: RequestObject) -> bool:
    return bool(body.value.get("parameters"))


def _name_of(item: RequestObject, place: int, definition: RegisteredTemplate) -> str:
    if definition.open:
        return str(item.value.get("parameter_name", place))
    if definition.positional:
        return str(place)
    if not item.value.get("parameter_name"):
        raise GraphError(132012, f"{item.path}.parameter_name is missing; {definition.name} has named parameters")
    return item.text("parameter_name", 512)


def _value_of(item: RequestObject) -> str:
    if item.required("type") != "text":
        raise GraphError(132012, f"{item.path}.type must be text")
    value = item.text("text", 32768)
    if _UNPRINTABLE.search(value):
        raise GraphError(132018, f"{item.path}.text has a newline, a tab or more than four spaces in a row")
    return value


def _choices(definition: RegisteredTemplate, given: list[RequestObject]) -> tuple[Choice, ...]:
    payloads = dict(_button(definition, part) for part in given)
    if definition.open:
        return tuple(Choice(id=payload, title=payload) for _, payload in sorted(payloads.items()))
    _all_urls_filled(definition, payloads)
    quick = ((place, it) for place, it in enumerate(definition.buttons) if it.type is ButtonKind.QUICK_REPLY)
    return tuple(Choice(id=payloads.get(place, it.text), title=it.text) for place, it in quick)


def _button(definition: RegisteredTemplate, part: RequestObject) -> tuple[int, str]:
    kind = part.one_of("sub_type", ("quick_reply", "url"))
    place = _index(part)
    if not definition.open and _kind_at(definition.buttons, place) != kind:
        raise GraphError(131009, f"{part.path}: {definition.name} has no {kind} button at index {place}")
    parameter = part.children("parameters", 1)[0]
    if kind == ButtonKind.QUICK_REPLY:
        parameter.one_of("type", ("payload",))
        return place, parameter.text("payload", _PAYLOAD)
    parameter.one_of("type", ("text",))
    return place, parameter.text("text", 2000)


def _index(part: RequestObject) -> int:
    found = str(part.required("index"))
    if not found.isdecimal():
        raise GraphError(131009, f"{part.path}.index must be a number from 0")
    return int(found)


def _kind_at(buttons: tuple[TemplateButton, ...], place: int) -> ButtonKind | None:
    return buttons[place].type if place < len(buttons) else None


def _all_urls_filled(definition: RegisteredTemplate, given: Mapping[int, str]) -> None:
    for place, button in enumerate(definition.buttons):
        if button.url and "{{" in button.url and place not in given:
            raise GraphError(131008, f"the url button at index {place} of {definition.name} needs its parameter")


_TEXT = 4096
_CALLBACK = 512
_BSUID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_PHONE = re.compile(r"\+?\d{5,15}")
_PUNCTUATION = re.compile(r"[\s().-]")


def read_send(body: object, templates: KnownTemplates, check_file: CheckFile) -> SendRequest | ReadReceipt:
    message = _top(body)
    if message.value.get("status") is not None:
        return _receipt(message)
    to, recipient = _addresses(message)
    callback = message.value.get("biz_opaque_callback_data")
    if callback is not None:
        message.text("biz_opaque_callback_data", _CALLBACK, code=100)
    if (context := message.maybe("context")) is not None:
        context.text("message_id", 512)
    return SendRequest(to, recipient, _content(message, templates, check_file), callback)


def is_bsuid(address: str) -> bool:
    return _BSUID.fullmatch(address) is not None


def phone_digits(to: str, home_code: str) -> str:
    """The digits Meta would dial: without a plus it puts the business number's own country code in front."""
    bare = _PUNCTUATION.sub("", to)
    if not _PHONE.fullmatch(bare):
        raise GraphError(131009, "to is not a phone number")
    return bare[1:] if bare.startswith("+") else home_code + bare


def _top(body: object) -> RequestObject:
    if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
        raise GraphError(100, "the parameter messaging_product is required and must be whatsapp")
    return RequestObject(body, "")


def _receipt(message: RequestObject) -> ReadReceipt:
    message.one_of("status", ("read",))
    if (typing := message.maybe("typing_indicator")) is not None:
        typing.one_of("type", ("text",))
    return ReadReceipt(message.text("message_id", 512))


def _addresses(message: RequestObject) -> tuple[str | None, str | None]:
    to, recipient = message.value.get("to"), message.value.get("recipient")
    if not to and not recipient:
        raise GraphError(100, "the parameter to is required")
    if message.value.get("recipient_type", "individual") != "individual":
        raise GraphError(131009, "recipient_type must be individual; groups are not simulated")
    if to:
        return message.text("to", 160), None
    if not is_bsuid(message.text("recipient", 160)):
        raise GraphError(131009, "recipient is not a business-scoped user id")
    return None, recipient


def _content(message: RequestObject, templates: KnownTemplates, check_file: CheckFile) -> Content:
    kind = message.value.get("type", "text")
    if kind == MessageType.TEXT:
        return Content(MessageType.TEXT, message.child("text").text("body", _TEXT, code=100))
    if kind == MessageType.TEMPLATE:
        return template(message, templates, check_file)
    if kind == MessageType.INTERACTIVE:
        return interactive(message, check_file)
    if kind == MessageType.DOCUMENT:
        return document(message, check_file)
    raise GraphError(131051, "type is not one this number can send")
