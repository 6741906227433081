"""The schema of a ``*.form.yaml``: the questions that a person answers in chat."""

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo

from services.rules.rulebook import model
from services.rules.rulebook.codes import check_language, is_language
from services.rules.rulebook.faults import FaultReport
from services.rules.rulebook.meant_keys import NEARLY_A_KEY, with_entries_aside, with_keys_aside, with_keys_under_line
from services.rules.rulebook.model import FieldKind, Location
from services.rules.rulebook.schema import FieldReference, Section, Texts, mapping
from services.rules.rulebook.single_values import Flag, Text, WholeNumber, report_of, word
from services.rules.rulebook.yaml_nodes import ABSENT, MappingNode, Node, ScalarNode
from shared.contracts.writes import WriteOperation


class FieldDefault(FieldReference):
    """Another field whose value fills in this one until the person changes it."""

    label = "a default"

    @classmethod
    def report_no_mapping(cls, node: Any, label: str, report: FaultReport) -> None:
        if node is not ABSENT:
            report.add(node.location, f"{label} is another field: {{field: sender.display_name}}")


class FormFieldSection(Section):
    """A text, unless it offers options or takes a file."""

    label = "the field “{}”"
    type: Annotated[FieldKind, word(FieldKind, FieldKind.TEXT)] | None = None
    """The kind of value; a text without it, a choice with “choose”, a document with “document”."""
    required: Flag = False
    """Whether it must be answered."""
    max: WholeNumber | None = None
    """The most characters of a text."""
    default: FieldDefault | None = None
    """The field of the event that answers it."""
    choose: Texts = ()
    """The options."""
    document: Texts = ()
    """The extensions of files that are taken, like pdf."""
    max_mb: WholeNumber | None = None
    """The largest file, in megabytes."""

    def build(self, name: str) -> model.FormField:
        default = self.default.build() if self.default and self.default.field else None
        implied = FieldKind.CHOICE if self.choose else FieldKind.DOCUMENT if self.document else FieldKind.TEXT
        return model.FormField(
            name, self.required, self.max, default, self.choose, self.document, self.max_mb, self.type or implied
        )


class FormQuestion(Section):
    """The question, and a label for each option."""

    model_config = ConfigDict(extra="allow")
    label = "a question with options"
    shorthand = "ask"
    ask: Text
    """The text of the question."""
    __pydantic_extra__: dict[str, Text] = Field(init=False)

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """A key that is nearly “ask”, where that is missing, is no option."""
        close = get_close_matches("ask", node.nodes, 1, NEARLY_A_KEY)
        if "ask" in node.nodes or not close:
            return node
        report.unknown(node.keys[close[0]], cls.no_such_key(close[0], label), "ask", ("ask",))
        nodes = {"ask" if key == close[0] else key: each for key, each in node.nodes.items()}
        return MappingNode(node.location, nodes, node.places, node.in_braces)

    def build(self) -> model.FieldText:
        return model.FieldText(self.ask, dict(self.__pydantic_extra__))


def _with_questions_aside(node: Any, info: ValidationInfo) -> Any:
    """Questions in the column of the languages are taken for those of the language above."""
    return _with_languages_back(with_keys_aside(node, report_of(info), _is_question), report_of(info))


def _with_languages_back(node: Any, report: FaultReport) -> Any:
    """A language among the questions of the one above is taken for what it is: its lines are indented too far."""
    if not isinstance(node, MappingNode):
        return node
    nodes, places = dict[str, Node](), dict[str, Location]()
    for language, own in node.nodes.items():
        nodes[language], places[language] = own, node.keys[language]
        if not isinstance(own, MappingNode):
            continue
        back = [key for key, each in own.nodes.items() if key not in node.nodes and _is_language_of(own, key, each)]
        if back:
            sentence = f"“{back[0]}” is indented too far; begin it in the column of the other languages"
            report.add(own.keys[back[0]], sentence, misplaced=back[0])
            left = {key: each for key, each in own.nodes.items() if key not in back}
            left_places = tuple(own.keys[key] for key in left)
            nodes[language] = MappingNode(own.location, left, left_places, own.in_braces)
            nodes |= {key: own.nodes[key] for key in back}
            places |= {key: own.keys[key] for key in back}
    return MappingNode(node.location, nodes, tuple(places.values()), node.in_braces)


def _is_language_of(own: MappingNode, key: str, node: Node) -> bool:
    """Whether a language and its questions stand there, which are those of ``own``, too."""
    is_block = is_language(key) and isinstance(node, MappingNode) and not node.in_braces
    return is_block and isinstance(node, MappingNode) and not own.nodes.keys().isdisjoint(node.nodes)


def _is_question(key: str, node: Node) -> bool:
    return not is_language(key) and (
        isinstance(node, ScalarNode) or (isinstance(node, MappingNode) and "ask" in node.nodes)
    )


class FormFile(Section):
    """A form that a person fills in chat, one question at a time."""

    label = "a form"
    open_key = "fields"
    form: Text
    """The form's name, which is also the file's."""
    welcome: Text
    """The template before the first question."""
    fields: Annotated[dict[str, FormFieldSection], mapping("“fields”", named=True)]
    """The questions, in their order, by the names of what they ask for."""
    confirm: Text
    """The template of the summary."""
    record: Annotated[WriteOperation, word(WriteOperation, WriteOperation.CREATE_ACQUISITION)]
    """The operation that writes the form once it is sent."""
    done: Text
    """The template after the form was sent."""
    languages: Annotated[
        dict[str, Annotated[dict[str, FormQuestion], mapping("a language")]],
        mapping("“languages”", check_language),
        BeforeValidator(_with_questions_aside),
    ]
    """The texts in each language, by its code."""

    @classmethod
    def no_such_key(cls, key: str, label: str) -> str:
        where = "; a language stands within “languages”" if is_language(key) else ""
        return f"{super().no_such_key(key, label)}{where}"

    @classmethod
    def _with_meant_keys(cls, node: MappingNode, label: str, report: FaultReport) -> MappingNode:
        """A field in the column of “fields” is taken for one."""
        keys = frozenset(FormFieldSection.known_keys())

        def is_field(_: str, each: Node) -> bool:
            return isinstance(each, MappingNode) and bool(each.nodes) and each.nodes.keys() <= keys

        aside = [key for key, each in node.nodes.items() if is_field(key, each)]
        if "fields" not in node.nodes and aside and report.has_fault_on(node.keys[aside[0]]):
            node = with_keys_under_line(node, "fields", aside)  # the missing line was reported with its indentation
        node = with_entries_aside(node, "fields", cls.known_keys(), report, is_field)
        return super()._with_meant_keys(node, label, report)

    def build(self) -> model.Form:
        return model.Form(
            name=self.form,
            welcome=self.welcome,
            fields=tuple(field.build(name) for name, field in self.fields.items()),
            confirm=self.confirm,
            record=self.record,
            done=self.done,
            languages={
                code: {name: question.build() for name, question in questions.items()}
                for code, questions in self.languages.items()
            },
            location=self.location,
        )
