"""The reference for authors, read off the models: events, facts, operations, keys of the files, verbs, times, reasons.

``stet rules reference --write`` keeps docs/rules/reference.md equal to it. The JSON Schemas of the files come from the
same models; with them an editor completes keys and underlines mistakes.
"""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson
from pydantic import TypeAdapter

from services.rules.conversation.context import ExclusionReason
from services.rules.rulebook import step_schema, times
from services.rules.rulebook.catalogue import EVENTS, FACTS, FieldSpec, FieldType, fields_of_model
from services.rules.rulebook.loader import SCHEMAS
from services.rules.rulebook.schema import Section, meanings_of
from services.rules.rulebook.write_validation import OPERATION_INPUTS
from services.rules.scenario.story_file import Story, UnknownStep
from shared.clients.working_calendar import TimeUnit
from shared.contracts.golden import golden
from shared.contracts.vocabulary import Role
from shared.contracts.writes import WriteInput, WriteOperation

FILE_KINDS: Mapping[str, Any] = {**SCHEMAS, "test": list[Story]}
"""The types of what a file of each kind holds."""
SCHEMA_FOLDER = ".schema"
"""The folder within a folder of rules that has the schemas; names with a dot are no rule files."""
_IN_EVERY_EVENT = ("work", "actor", "version")
"""Fields that are described once, and not with each event."""
_LONGEST_EXAMPLE = 60
_ROLES = tuple(map(str, Role))

# ------------------------------------------------------------------ events and operations


@dataclass(frozen=True, slots=True)
class EventEntry:
    """An event that may start a rule. ``examples`` are values of its golden event by path."""

    name: str
    sentence: str
    fields: tuple[FieldSpec, ...]
    examples: Mapping[str, str]


def event_entries() -> Iterator[EventEntry]:
    for name, model in sorted(EVENTS.items()):
        fields = tuple(spec for spec in fields_of_model(model) if spec.path.partition(".")[0] not in _IN_EVERY_EVENT)
        data = _golden_data(model.kind)
        yield EventEntry(
            name,
            _in_one_line(inspect.cleandoc(model.__doc__ or "")),
            fields,
            {each.path: _example(data, each) for each in fields},
        )


def _golden_data(kind: str) -> Any:
    """Empty for an event that Stet makes by itself, and that no file of the contracts shows."""
    try:
        return orjson.loads(golden(kind))["data"]
    except FileNotFoundError:
        return {}


def _example(data: Any, spec: FieldSpec) -> str:
    """Empty where the golden event lacks the field, or holds more than fits."""
    if FieldType.RECORD in (spec.type, spec.item):
        return ""
    found = _found(data, spec.path.split("."))
    written = "" if found is None else json.dumps(found, ensure_ascii=False)
    return written if len(written) <= _LONGEST_EXAMPLE else ""


def _found(data: Any, path: list[str]) -> Any:
    if isinstance(data, list):
        return [_found(each, path) for each in data] if path else data
    return _found(data.get(path[0]), path[1:]) if path and isinstance(data, dict) else data


@dataclass(frozen=True, slots=True)
class OperationEntry:
    """A write: the fields that the event of the rule must have, and the keys of ``with``."""

    name: str
    sentence: str
    fields: tuple[str, ...]
    needs: tuple[FieldSpec, ...]
    takes: tuple[FieldSpec, ...]
    only_in_form: bool


def operation_entries() -> Iterator[OperationEntry]:
    models = {model.operation: model for model in get_args(WriteInput)}
    for operation in WriteOperation:
        known, sentence = OPERATION_INPUTS.get(operation), first_sentence(models[operation])
        if known is None:
            yield OperationEntry(operation, sentence, (), (), (), only_in_form=True)
        else:
            needs, takes = tuple(known.needs.values()), tuple(known.takes.values())
            yield OperationEntry(operation, sentence, known.fields, needs, takes, only_in_form=False)


def first_sentence(documented: type) -> str:
    """The first paragraph of its docstring in one line; empty where it has none."""
    return _in_one_line(inspect.cleandoc(documented.__doc__ or "").partition("\n\n")[0])


def _in_one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


# ------------------------------------------------------------------ the keys of files


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """``takes`` says which values a key may have."""

    key: str
    required: bool
    takes: str
    sentence: str


@dataclass(frozen=True, slots=True)
class SectionEntry:
    title: str
    sentence: str
    keys: tuple[KeyEntry, ...]


def section_entries(kind: str) -> Iterator[SectionEntry]:
    """The mappings of a kind of file, the outermost first; the steps of a rule stand with the verbs."""
    elsewhere = {*step_schema.STEP_SECTIONS.values(), step_schema.VerblessStep, UnknownStep}  # the last two are faults
    for section in _sections(FILE_KINDS[kind], {}):
        if section not in elsewhere:
            yield section_entry(section)


def verb_entries() -> Iterator[tuple[str, SectionEntry]]:
    """Each verb with the keys of its step."""
    for verb, section in step_schema.STEP_SECTIONS.items():
        yield str(verb), section_entry(section)


def section_entry(section: type[Section]) -> SectionEntry:
    adapted = TypeAdapter(section).json_schema()
    known = adapted.get("$defs", {})
    properties, meanings = _properties(adapted, known), meanings_of(section)
    keys = (
        KeyEntry(
            key=field.alias or name,
            required=field.is_required(),
            takes=_takes(properties.get(field.alias or name, {}), known),
            sentence=" ".join(meanings.get(name, "").split()).replace("``", "`"),
        )
        for name, field in section.model_fields.items()
    )
    return SectionEntry(_title(section), first_sentence(section), tuple(keys))


def _title(section: type[Section]) -> str:
    """The label of the section; a step of a story is told from the others by its key."""
    title = section.label.replace("“{}”", "…").replace("{}", "…")
    return f"{title}: `{next(iter(section.known_keys()))}`" if title == "a step" else title


def _sections(annotation: Any, seen: dict[type[Section], None]) -> Iterable[type[Section]]:
    """Every section within the annotation, each once, in the order of the keys that lead to it."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if annotation not in seen:
            seen[annotation] = None
            for field in annotation.model_fields.values():
                _sections(field.annotation, seen)
            _sections(annotation.__annotations__.get("__pydantic_extra__"), seen)
    else:
        for inner in get_args(annotation):
            _sections(inner, seen)
    return seen


def _properties(schema: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of a mapping, also where a single value may stand for it or it contains itself."""
    if "$ref" in schema:
        return _properties(known[schema["$ref"].rpartition("/")[2]], known)
    for choice in schema.get("anyOf", ()):
        if found := _properties(choice, known):
            return found
    properties: Mapping[str, Any] = schema.get("properties", {})
    return properties


_PLAIN = {
    "boolean": "`true` or `false`",
    "string": "text",
    "integer": "number",
    "number": "number",
    "object": "mapping",
}


def _takes(schema: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _takes(known[schema["$ref"].rpartition("/")[2]], known)
    if words := schema.get("enum", [schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{word}`" for word in words)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(filter(None, (_takes(each, known) for each in schema[several]))))
    if schema.get("type") == "array":
        inner = _takes(schema.get("items", {}), known)
        return f"list of {inner}" if inner else "list"
    if isinstance(schema.get("type"), list):
        return "text"  # a word, whatever YAML takes it for
    return "date" if schema.get("format") == "date" else _PLAIN.get(str(schema.get("type")), "")


# ------------------------------------------------------------------ as Markdown

_REASONS: Mapping[ExclusionReason, str] = {
    ExclusionReason.OPTED_OUT: "They wrote STOP.",
    ExclusionReason.NO_CONSENT: "The file house.yaml has no basis for their role, and they have not opted in.",
    ExclusionReason.NO_ADDRESS: "Consonance has no number for them that WhatsApp knows.",
    ExclusionReason.UNREACHABLE: "The message could not be delivered, or waited too long (`send_within`).",
    ExclusionReason.UNKNOWN_ROLE: "Nobody has the role.",
    ExclusionReason.UNKNOWN_PERSON: "The event names somebody of whom Consonance has said nothing.",
    ExclusionReason.ERASED: "Their data was erased.",
    ExclusionReason.ABSENT: "They are away: `stands_in` of people.yaml or their own message says so.",
    ExclusionReason.WRONG_PERSON: "Who has the number wrote that it is not theirs.",
    ExclusionReason.CAPPED: "Their cap leaves no room within `send_within`.",
    ExclusionReason.WAITING: "Their cap leaves no room now: the message waits.",
    ExclusionReason.NO_DOCUMENT: "The event names no address of the document that goes with the message.",
    ExclusionReason.UNLESS: "The `unless` of the step holds for them.",
    ExclusionReason.NOT_STAFF: "A copy goes to staff alone, and they are in no team of people.yaml.",
}
"""The meaning of each reason, for authors."""


def reference_markdown() -> str:
    """The whole page after its first heading."""
    parts = (_events, _facts, _roles, _operations, _verbs, _times, _reasons, _files)
    return "\n".join(line for part in parts for line in part()) + "\n"


def event_lines(entry: EventEntry) -> Iterator[str]:
    yield from (f"### {entry.name}", "", *([entry.sentence, ""] if entry.sentence else []))
    yield from ("| field | type | values | example |", "|---|---|---|---|")
    for spec in entry.fields:
        example = f"`{entry.examples[spec.path]}`" if entry.examples[spec.path] else ""
        yield _row(f"`{spec.path}`", kind_of(spec), _values(spec), example)
    yield ""


def kind_of(spec: FieldSpec) -> str:
    kind = f"{spec.type} of {spec.item}" if spec.item else str(spec.type)
    return f"{kind}, may be absent" if spec.optional else kind


def operation_lines(entries: Iterable[OperationEntry]) -> Iterator[str]:
    yield from ("| operation | does | the event has | `with` needs | `with` may have |", "|---|---|---|---|---|")
    for entry in entries:
        event = "it is what a form records" if entry.only_in_form else ", ".join(f"`{name}`" for name in entry.fields)
        yield _row(f"`{entry.name}`", entry.sentence, event, _inputs(entry.needs), _inputs(entry.takes))


def _inputs(specs: Iterable[FieldSpec]) -> str:
    return "; ".join(f"`{s.path}`{': ' + _words(s.values) if s.values else ''}" for s in specs)


def _values(spec: FieldSpec) -> str:
    """The closed set of words of a field; that of roles is long, and is listed only once."""
    return "[a role](#roles)" if spec.values == _ROLES else _words(spec.values)


def _words(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _events() -> Iterator[str]:
    yield from ("## Events", "", "Each may start a rule (`on`) or end a chain (`until`).", "")
    for entry in event_entries():
        yield from event_lines(entry)


def _roles() -> Iterator[str]:
    yield from ("## Roles", "", "The roles that a person can have, as events and facts name them.", "")
    yield from (f"{_words(_ROLES)}.", "")


def _facts() -> Iterator[str]:
    yield from ("## Facts", "", "Known beside the event's own fields; `stet rules fields EVENT` says which for it.", "")
    yield from ("| fact | type | values | meaning |", "|---|---|---|---|")
    for fact in FACTS:
        yield _row(f"`{fact.spec.path}`", kind_of(fact.spec), _values(fact.spec), fact.spec.sentence)
    yield ""


def _operations() -> Iterator[str]:
    yield from ("## Operations", "", "What `record` may write in Consonance.", "")
    yield from (*operation_lines(operation_entries()), "")


def _verbs() -> Iterator[str]:
    yield from ("## Verbs", "", "A step has one verb, and at most one time.", "")
    for verb, entry in verb_entries():
        yield from _section_lines(verb, entry)


def _times() -> Iterator[str]:
    grammar = inspect.cleandoc((times.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])
    units = ", ".join(str(unit) for unit in TimeUnit)
    yield from ("## Times", "", "```", *grammar.splitlines(), "```", "", f"Units: {units}.", "")


def _reasons() -> Iterator[str]:
    yield from ("## Reasons for leaving somebody out", "", "| reason | meaning |", "|---|---|")
    for reason in ExclusionReason:
        yield _row(f"`{reason}`", _REASONS.get(reason, ""))
    yield ""


def _files() -> Iterator[str]:
    yield from ("## Keys of the files", "")
    for kind in FILE_KINDS:
        name = f"{kind}.yaml" if kind in {"people", "calendar", "house", "limits"} else f"NAME.{kind}.yaml"
        yield from (f"### {name}", "")
        for entry in section_entries(kind):
            yield from _section_lines(entry.title, entry, "####")


def _section_lines(title: str, entry: SectionEntry, heading: str = "###") -> Iterator[str]:
    yield from (f"{heading} {title}", "", *([entry.sentence, ""] if entry.sentence else []))
    if entry.keys:
        yield from ("| key | takes | meaning |", "|---|---|---|")
        for key in entry.keys:
            name = f"`{key.key}`" + (", required" if key.required else "")
            yield _row(name, key.takes, key.sentence)
        yield ""


# ------------------------------------------------------------------ JSON Schemas


def json_schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of file; what the models check beyond it, ``stet rules check`` says."""
    schema = _plain(TypeAdapter(FILE_KINDS[kind]).json_schema())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{kind} file of Stet",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_files() -> dict[str, str]:
    """The name and the text of each schema file."""
    return {
        f"{kind}.schema.json": f"{json.dumps(json_schema(kind), indent=1, ensure_ascii=False)}\n" for kind in FILE_KINDS
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write them below a folder of rules."""
    written = []
    for name, text in schema_files().items():
        path = folder / SCHEMA_FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def _plain(schema: Any) -> Any:
    """A value that fits two forms of a union is right, so one of them is enough; titles made of names say nothing."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        "anyOf" if key == "oneOf" else key: _plain(value)
        for key, value in schema.items()
        if key != "discriminator" and not (key == "title" and isinstance(value, str))
    }
