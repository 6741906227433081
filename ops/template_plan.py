"""Compares the templates of rule files with those of the account: what to create, edit, and leave to a person. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher.templates import USABLE_STATUSES
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES
from services.rules.rulebook.model import PARAMETER, Rulebook, Template, TemplateText
from shared.contracts.values import JsonObject


class TemplateAction(StrEnum):
    """A step of a plan: one template in one language."""

    KEEP = "keep"
    CREATE = "create"
    EDIT = "edit"
    WAIT = "wait"  # Meta is reviewing it, and takes no edit meanwhile
    ACT = "act"  # a person must act: the note says how


class WantedTemplate(Struct, frozen=True):
    """A template of the rule files in one language, as Meta is to have it. ``file`` is where it is written.

    ``example`` is the path of the document that goes to Meta's reviewers, from the folder of the rules.
    """

    name: str
    language: str
    category: str
    components: list[JsonObject]
    file: str
    example: str | None = None

    @property
    def has_header(self) -> bool:
        return any(part["type"] == "HEADER" for part in self.components)

    def with_handle(self, handle: str) -> "WantedTemplate":
        """The template with the handle of its example, once that was uploaded."""
        example = {"header_handle": [handle]}
        parts = [{**part, "example": example} if part["type"] == "HEADER" else part for part in self.components]
        return replace(self, components=parts)

    def creation(self) -> JsonObject:
        """The body that creates it."""
        return {
            "name": self.name,
            "language": self.language,
            "category": self.category,
            "parameter_format": "NAMED",
            "components": self.components,
        }


class PlannedTemplate(Struct, frozen=True):
    """One line of a plan; ``template_id`` is Meta's, where the account has it.

    ``account`` is named where there are several.
    """

    wanted: WantedTemplate
    action: TemplateAction
    status: str
    category: str
    note: str = ""
    template_id: str = ""
    account: str = ""

    @property
    def is_finding(self) -> bool:
        return self.action is not TemplateAction.KEEP


def wanted_templates(book: Rulebook) -> list[WantedTemplate]:
    """Every template of the rules that may go by itself, in every language, by Meta's name."""
    return [
        WantedTemplate(
            template.meta_name,
            language,
            template.category.value.upper(),
            _components(template, text),
            template.location.file,
            template.example,
        )
        for template in sorted(book.templates.values(), key=lambda each: each.meta_name)
        for language, text in template.languages.items()
        if not ((built_in := BUILT_IN_TEMPLATES.get(template.name)) and built_in.is_part)
    ]


def plan_templates(wanted: Iterable[WantedTemplate], listed: Iterable[Mapping[str, Any]]) -> list[PlannedTemplate]:
    """``listed`` is the account's list; templates of others, and earlier versions, are left alone."""
    known = {(str(entry.get("name")), str(entry.get("language"))): entry for entry in listed}
    plan = (_with_advice(_plan(each, known.get((each.name, each.language)))) for each in wanted)
    return [left_to_a_person(each, _NO_EXAMPLE) if _lacks_example(each) else each for each in plan]


_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no space between words."""


def _with_advice(planned: PlannedTemplate) -> PlannedTemplate:
    """Meta refuses a text with too many parameters for its length, and does not say how many that is; messaging
    providers agree on two words for each and one more (https://support.maqsam.com/creating-whatsapp-templates-with-variables).
    """
    (text,) = (str(part["text"]) for part in planned.wanted.components if part["type"] == "BODY")
    parameters, words = len(_PLACEHOLDER.findall(text)), len(_WORD.findall(_PLACEHOLDER.sub(" ", text)))
    if planned.action not in _SUBMITTED or _UNSPACED.search(text) or words > 2 * parameters:
        return planned
    advice = f"{words} words beside {parameters} parameters: Meta may refuse it below {2 * parameters + 1} words"
    return replace(planned, note=f"{planned.note}; {advice}" if planned.note else advice)


_PLACEHOLDER = re.compile(r"\{\{\w+\}\}")
_WORD = re.compile(r"\w+")


_NO_EXAMPLE = (
    "its header is a document, of which Meta wants an example: name a PDF as “example” in its file, or enter it in"
    " WhatsApp Manager, with the name, texts and buttons of its file"
)


_SUBMITTED = frozenset({TemplateAction.CREATE, TemplateAction.EDIT})


def _lacks_example(planned: PlannedTemplate) -> bool:
    return planned.action in _SUBMITTED and planned.wanted.has_header and planned.wanted.example is None


def left_to_a_person(planned: PlannedTemplate, why: str) -> PlannedTemplate:
    return replace(planned, action=TemplateAction.ACT, note=f"{planned.note}; {why}" if planned.note else why)


_EDITABLE = frozenset({"APPROVED", "REJECTED", "PAUSED"})
_IN_REVIEW = frozenset({"PENDING", "IN_APPEAL"})
_UNUSABLE = {
    "REJECTED": "Meta rejected it: say it otherwise under a new version, or appeal in WhatsApp Manager",
    "PAUSED": "Meta paused it for its quality: its messages wait; write to fewer people, or more to the point",
    "DISABLED": "Meta disabled it for good: say it otherwise under a new version",
}


def _plan(wanted: WantedTemplate, entry: Mapping[str, Any] | None) -> PlannedTemplate:
    if entry is None:
        return PlannedTemplate(wanted, TemplateAction.CREATE, "MISSING", "")
    status, category = str(entry.get("status")).upper(), str(entry.get("category")).upper()
    differences, other_category = _differences(wanted, entry), category_note(wanted, category)

    def planned(action: TemplateAction, *notes: str) -> PlannedTemplate:
        note = "; ".join(filter(None, (*notes, other_category)))
        return PlannedTemplate(wanted, action, status, category, note, str(entry.get("id", "")))

    if differences and status in _EDITABLE:
        return planned(TemplateAction.EDIT, differences)
    if status in _IN_REVIEW:
        return planned(TemplateAction.WAIT, f"in review; then: {differences}" if differences else "in review")
    if differences or status not in USABLE_STATUSES:
        return planned(TemplateAction.ACT, _unusable_note(status, str(entry.get("rejected_reason") or "NONE")))
    return planned(TemplateAction.ACT if other_category else TemplateAction.KEEP)


def _unusable_note(status: str, reason: str) -> str:
    if status in USABLE_STATUSES:
        return f"it is {status} and takes no edit: raise its version"
    other = f"it is {status} at Meta and is not sent: restore it in WhatsApp Manager, or raise its version"
    note = _UNUSABLE.get(status, other)
    return note if reason == "NONE" else f"{note} (reason: {reason})"


def category_note(wanted: WantedTemplate, category: str) -> str:
    """Advice where Meta has another category than the file; else nothing."""
    if category == wanted.category:
        return ""
    if category == "MARKETING":
        return (
            "Meta moved it to MARKETING: it goes only to people who consented to marketing; say it otherwise under a"
            " new version, or say “category: marketing”"
        )
    return f"Meta classes it as {category}, its file as {wanted.category}: say so in the file"


def _differences(wanted: WantedTemplate, entry: Mapping[str, Any]) -> str:
    """The differences in words; empty where people see the same. Examples are for Meta's reviewers and do not count."""
    components = entry.get("components")
    ours, theirs = _visible(wanted.components), _visible(components if isinstance(components, list) else [])
    return ", ".join(f"other {part}" for part in ours if ours[part] != theirs[part])


def _visible(components: Iterable[Mapping[str, Any]]) -> dict[str, object]:
    by_type = {str(each.get("type")).upper(): each for each in components if isinstance(each, Mapping)}
    body, buttons = by_type.get("BODY", {}), by_type.get("BUTTONS", {}).get("buttons") or []
    return {
        "body": [_BLANKS.sub(" ", line).strip() for line in str(body.get("text", "")).strip().splitlines()],
        "buttons": [(str(button.get("type")).upper(), button.get("text")) for button in buttons],
        "header": str(by_type.get("HEADER", {}).get("format", "")).upper(),
        "parts": sorted(by_type.keys() - {"BODY", "BUTTONS", "HEADER"}),
    }


_BLANKS = re.compile(r"\s+")


def _components(template: Template, text: TemplateText) -> list[JsonObject]:
    names = list(dict.fromkeys(PARAMETER.findall(text.body)))
    body: JsonObject = {"type": "BODY", "text": PARAMETER.sub(r"{{\1}}", text.body)}
    if names:
        examples = [{"param_name": name, "example": _example(template, name)} for name in names]
        body["example"] = {"body_text_named_params": examples}
    buttons = [{"type": "QUICK_REPLY", "text": title} for title in text.buttons.values()]
    header = [] if template.header is None else [{"type": "HEADER", "format": template.header.value.upper()}]
    return [*header, body, *([{"type": "BUTTONS", "buttons": buttons}] if buttons else [])]


_EXAMPLES = {
    "person": "Eleanor Whitcombe",
    "publisher": "Penrose Books",
    "title": "Winter Ferries",
    "count": "3",
    "reference": "K7QM2X",
    "on_behalf_of": "Eleanor Whitcombe and Jonas Frey",
    "why": "You are named as the rights holder of this title.",
}
_DATES = re.compile(r"(^|_)(by|due|date|when|first|last|since|from|to|until|at)$")


def _example(template: Template, name: str) -> str:
    """An example that a reviewer of Meta's sees in place of a parameter."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if name.startswith("link_"):
        return "https://example.com"
    source = template.fields.get(name, name).rpartition(".")[2]
    return "14 September 2026" if _DATES.search(name) or _DATES.search(source) else name.replace("_", " ")


def rows_of(plan: Iterable[PlannedTemplate]) -> Iterator[dict[str, str]]:
    """The lines of a plan for people and for JSON."""
    for each in plan:
        yield {
            **({"account": each.account} if each.account else {}),
            "action": each.action.value,
            "template": each.wanted.name,
            "language": each.wanted.language,
            "status": each.status,
            "category": each.category or each.wanted.category,
            "note": each.note,
            "file": each.wanted.file,
        }
