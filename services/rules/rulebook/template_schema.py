"""The schema of a ``*.template.yaml``: a message in every language, as Meta approves it."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.model import Category
from services.rules.rulebook.schema import (
    ABSENT,
    Section,
    Text,
    WholeNumber,
    check_language,
    is_language,
    mapping,
    report_of,
    word,
)
from services.rules.rulebook.yaml_tree import MappingNode
from shared.contracts.messages import TemplateHeader


class TemplateLanguage(Section):
    """The text of a template in one language, with the titles of its buttons."""

    label = "a language"
    body: Text
    """The text, with parameters in braces."""
    buttons: Annotated[dict[str, Text], mapping("“buttons”")] = Field(default_factory=dict)
    """The titles of the buttons, by the answers of the rule that uses the template."""

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
    languages: Annotated[dict[str, TemplateLanguage], mapping("“languages”", check_language)]
    """The text in each language, by its code."""

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
