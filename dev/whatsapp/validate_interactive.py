"""Interactive sends (reply buttons, list, link button) against Meta's limits. Pure; a refusal is 131008 or 131009."""

from collections.abc import Callable

from dev.whatsapp.errors import GraphError
from dev.whatsapp.fields import Node, distinct
from dev.whatsapp.outbound import Choice, Content, Kind, Tap

_HEADERS = ("text", "image", "video", "document")
_ROWS = 10


def interactive(message: Node) -> Content:
    said = message.child("interactive")
    return _READERS[said.one_of("type", _READERS)](said)


def _buttons(said: Node) -> Content:
    text = _frame(said, body=1024, headers=_HEADERS)
    replies = [_reply(button) for button in said.child("action").children("buttons", 3)]
    distinct([reply.title for reply in replies], "button titles")
    distinct([reply.id for reply in replies], "button ids")
    return Content(Kind.INTERACTIVE, text, tuple(replies), Tap.BUTTON)


def _reply(button: Node) -> Choice:
    button.one_of("type", ("reply",))
    reply = button.child("reply")
    return Choice(id=reply.text("id", 256), title=reply.text("title", 20))


def _list(said: Node) -> Content:
    text = _frame(said, body=4096, headers=("text",))
    action = said.child("action")
    action.text("button", 20)
    sections = action.children("sections", 10)
    if len(sections) > 1:
        for section in sections:
            section.text("title", 24)
    rows = [_row(row) for section in sections for row in section.children("rows", _ROWS)]
    if len(rows) > _ROWS:
        raise GraphError(131009, f"interactive.action.sections have {len(rows)} rows, at most {_ROWS} in total")
    distinct([row.id for row in rows], "row ids")
    return Content(Kind.INTERACTIVE, text, tuple(rows), Tap.ROW)


def _row(row: Node) -> Choice:
    return Choice(row.text("id", 200), row.text("title", 24), row.maybe_text("description", 72))


def _link(said: Node) -> Content:
    text = _frame(said, body=1024, headers=_HEADERS)
    action = said.child("action")
    action.one_of("name", ("cta_url",))
    parameters = action.child("parameters")
    parameters.text("display_text", 20)
    if not parameters.text("url", 2000).startswith(("https://", "http://")):
        raise GraphError(131009, "interactive.action.parameters.url must be a web address")
    return Content(Kind.INTERACTIVE, text)


def _frame(said: Node, *, body: int, headers: tuple[str, ...]) -> str:
    """Check header and footer; the body's text comes back."""
    header = said.maybe("header")
    if header is not None and header.one_of("type", headers) == "text":
        header.text("text", 60)
    footer = said.maybe("footer")
    if footer is not None:
        footer.text("text", 60)
    return said.child("body").text("text", body)


_READERS: dict[str, Callable[[Node], Content]] = {"button": _buttons, "list": _list, "cta_url": _link}
