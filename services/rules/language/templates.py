"""A ``*.template.yaml`` and a ``*.form.yaml``: the words, by language."""

from collections.abc import Mapping

from services.rules.language.known_words import language_keys
from services.rules.language.values import Part, field, flag, is_field, mapped, number, text, texts, word
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.model import Category, Field, FieldText, Form, FormField, Template, TemplateText
from services.rules.rulebook.yaml_tree import MappingNode, Node
from shared.contracts.writes import WriteOperation

_TEMPLATE_KEYS = ("template", "category", "version", "fields", "languages")
_FORM_KEYS = ("form", "welcome", "fields", "confirm", "record", "done", "languages")
_FIELD_KEYS = ("required", "max", "default", "choose", "document", "max_mb")


def template(node: Node, report: FaultReport) -> Template:
    part = Part(node, "a template", _TEMPLATE_KEYS, report)
    fields = mapped(part.get("fields"), report, "“fields”")
    languages = language_keys(part.need("languages"), report, "“languages”")
    return Template(
        name=text(part.need("template"), report),
        category=word(part.need("category"), Category, report, Category.UTILITY),
        version=number(part.need("version"), report),
        fields={name: text(each, report) for name, each in fields.items()},
        languages={language: _wording(each, report) for language, each in languages.items()},
        location=part.location,
    )


def _wording(node: Node, report: FaultReport) -> TemplateText:
    part = Part(node, "a language", ("body", "buttons"), report)
    buttons = mapped(part.get("buttons"), report, "“buttons”")
    return TemplateText(
        body=text(part.need("body"), report).strip(),
        buttons={answer: text(title, report) for answer, title in buttons.items()},
    )


def form(node: Node, report: FaultReport) -> Form:
    part = Part(node, "a form", _FORM_KEYS, report)
    fields = mapped(part.need("fields"), report, "“fields”")
    languages = language_keys(part.need("languages"), report, "“languages”")
    return Form(
        name=text(part.need("form"), report),
        welcome=text(part.need("welcome"), report),
        fields=tuple(_form_field(name, each, report) for name, each in fields.items()),
        confirm=text(part.need("confirm"), report),
        record=word(part.need("record"), WriteOperation, report, WriteOperation.CREATE_ACQUISITION),
        done=text(part.need("done"), report),
        languages={language: _form_wording(each, report) for language, each in languages.items()},
        location=part.location,
    )


def _form_field(name: str, node: Node, report: FaultReport) -> FormField:
    part = Part(node, f"the field “{name}”", _FIELD_KEYS, report)

    return FormField(
        name=name,
        required=flag(part.get("required"), report),
        longest=number(part.get("max"), report) if "max" in part else None,
        default=_default(part.get("default"), report),
        choose=texts(part.get("choose"), report),
        document=texts(part.get("document"), report),
        max_mb=number(part.get("max_mb"), report) if "max_mb" in part else None,
    )


def _default(node: Node | None, report: FaultReport) -> Field | None:
    if node is None:
        return None
    if is_field(node):
        return field(Part(node, "a default", ("field",), report).get("field"), report)
    report.add(node.location, "a default is another field: {field: sender.display_name}")
    return None


def _form_wording(node: Node, report: FaultReport) -> Mapping[str, FieldText]:
    return {name: _field_wording(each, report) for name, each in mapped(node, report, "a language").items()}


def _field_wording(node: Node, report: FaultReport) -> FieldText:
    """One question, or ``ask`` and a label for each option."""
    if not isinstance(node, MappingNode):
        return FieldText(text(node, report), {})
    if "ask" not in node.nodes:
        report.add(node.location, "a question with options needs “ask”")
    labels = {name: text(each, report) for name, each in node.nodes.items()}
    return FieldText(labels.pop("ask", ""), labels)
