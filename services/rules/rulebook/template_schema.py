"""The schema of a ``*.template.yaml``: a message in every language, as Meta approves it."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.codes import check_language, is_language
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.meant_keys import with_entries_aside, with_keys_aside, with_keys_under
from services.rules.rulebook.model import Category
from services.rules.rulebook.schema import Section, mapping
from services.rules.rulebook.single_values import Text, WholeNumber, report_of, word
from services.rules.rulebook.yaml_nodes import ABSENT, MappingNode, Node, ScalarNode
from shared.contracts.messages import TemplateHeader


class TemplateLanguage(Section):
    """The text of a template in one language, with the titles of its buttons."""

    label = "a language"
    body: Text
    """The text, with parameters in braces."""
    buttons: Annotated[dict[str, Text], mapping("“buttons”")] = Field(default_factory=dict)
    """The titles of the buttons, by the answers of the rule that uses the template."""

    @classmethod
    def report_unknown_key(cls, node: MappingNode, key: str, label: str, report: FaultReport) -> None:
        if is_language(key) and not node.in_braces:
            if any(map(is_language, report.misplaced_keys(node.location.file))):
                return  # the language above was moved, and this one with it
            sentence = f"“{key}” is indented too far; begin it in the column of the other languages"
            report.add(node.keys[key], sentence, misplaced=key)
        else:
            super().report_unknown_key(node, key, label, report)

    def build(self) -> model.TemplateText:
        return model.TemplateText(self.body.strip(), self.buttons)


def _by_language(node: Any, info: ValidationInfo) -> Any:
    if node is ABSENT or isinstance(node, MappingNode):
        return node
    report_of(info).add(node.location, "a default is said by language: {en: …}")
    return ABSENT


class TemplateField(Section):
    """The field of the event that a parameter stands for."""

    label = "the field “{}”"
    shorthand = "field"
    field: Text
    """The field of the event."""
    default: Annotated[dict[str, Text], mapping("a default", check_language), BeforeValidator(_by_language)] = Field(
        default_factory=dict
    )
    """By language: what is said where the field is absent."""


def _with_texts_aside(node: Any, info: ValidationInfo) -> Any:
    """“body” and “buttons” in the column of the languages are taken for those of the language above."""
    keys = TemplateLanguage.known_keys()
    return with_keys_aside(node, report_of(info), lambda key, _: key in keys)


def _bodies(node: MappingNode) -> Iterator[str]:
    """The texts of all languages."""
    languages = node.nodes.get("languages")
    for each in languages.nodes.values() if isinstance(languages, MappingNode) else ():
        body = each.nodes.get("body") if isinstance(each, MappingNode) else None
        if isinstance(body, ScalarNode):
            yield body.text


def _is_text(node: Node) -> bool:
    return isinstance(node, MappingNode) and "body" in node.nodes


def _is_language_and_text(key: str, node: Node) -> bool:
    return is_language(key) and _is_text(node)


def _with_languages(node: MappingNode, fields: MappingNode, aside: list[str], report: FaultReport) -> MappingNode:
    if "languages" in fields.nodes:
        sentence = "“languages” is indented further than “fields”; begin both in the same column"
        report.add(fields.keys["languages"], sentence)
    else:
        report.add(fields.keys[aside[0]], "the line “languages:” is missing above this one", needs=("languages",))
    left = {key: each for key, each in fields.nodes.items() if key != "languages"}
    own = MappingNode(fields.location, left, tuple(fields.keys[key] for key in left), fields.in_braces)
    without = MappingNode(node.location, {**node.nodes, "fields": own}, node.places, node.in_braces)
    return with_keys_under(without, "fields", "languages", aside)


class TemplateFile(Section):
    """A message in every language, as Meta approves it."""

    label = "a template"
    template: Text
    """The template's name, which is also the file's."""
    category: Annotated[Category, word(Category, Category.UTILITY)]
    """The category that Meta approves and prices it by."""
    version: WholeNumber
    """Meta knows each version as a template of its own."""
    fields: Annotated[dict[str, TemplateField], mapping("“fields”", named=True)] = Field(default_factory=dict)
    """The field of the event that each parameter stands for, perhaps with a default."""
    header: Annotated[TemplateHeader, word(TemplateHeader, TemplateHeader.DOCUMENT)] | None = None
    """The part above the text: “document”, for the file that a rule attaches."""
    example: Text | None = None
    """A PDF of which Meta's reviewers see how such a document looks: its path, from the folder of this file."""
    fallback: Text | None = None
    """The template that goes while Meta does not let this one go; it has the same buttons and languages."""
    languages: Annotated[
        dict[str, TemplateLanguage], mapping("“languages”", check_language), BeforeValidator(_with_texts_aside)
    ]
    """The text in each language, by its code."""

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """Languages among the fields are taken for what they are: the key above them is missing, or indented."""
        if not node.nodes.keys() <= frozenset(cls.known_keys()):
            words = {word for each in _bodies(node) for word in model.PARAMETER.findall(each)}
            node = with_entries_aside(node, "fields", cls.known_keys(), report, lambda key, _: key in words)
            node = with_entries_aside(node, "languages", cls.known_keys(), report, _is_language_and_text)
        fields = node.nodes.get("fields")
        if "languages" not in node.nodes and isinstance(fields, MappingNode):
            aside = [key for key, each in fields.nodes.items() if is_language(key) and _is_text(each)]
            if aside:
                node = _with_languages(node, fields, aside, report)
        return super()._with_meant_keys(node, label, report)

    @classmethod
    def no_such_key(cls, key: str, label: str) -> str:
        where = "; it stands within each language" if key in TemplateLanguage.known_keys() else ""
        where = "; a language stands within “languages”" if is_language(key) else where
        return f"{super().no_such_key(key, label)}{where}"

    def build(self) -> model.Template:
        languages = {code: text.build() for code, text in self.languages.items()}
        fields = {name: each.field for name, each in self.fields.items()}
        defaults = {name: each.default for name, each in self.fields.items() if each.default}
        return model.Template(
            self.template,
            self.category,
            self.version,
            fields,
            languages,
            self.location,
            defaults,
            self.fallback,
            self.header,
            self._example_path(),
        )

    def _example_path(self) -> str | None:
        return None if self.example is None else str(PurePosixPath(self.location.file).parent / self.example)
