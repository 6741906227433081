"""Lists every setting as the code declares it: on the terminal, and as docs/operations/settings.md."""

import json
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import HttpUrl, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from ops.command_line import Format, OutputFormat, Service, print_rows
from ops.evidence.signing import EvidenceSettings
from ops.templates import TemplateSettings
from ops.topics import TopicSettings
from services.dispatcher.settings import DispatcherSettings
from services.ingest.settings import NEEDED_TO_POLL, NEEDED_TO_RECEIVE, IngestSettings
from services.rules.settings import RulesSettings
from services.writeback.settings import WritebackSettings
from shared.runtime.connection_settings import KafkaSettings, PostgresSettings, SecretUrlSettings, TelemetrySettings
from shared.runtime.setting_names import PREFIX
from shared.runtime.settings import ServiceSettings

_ALL = "all services"
_SECTIONS: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    ("Kafka", _ALL, KafkaSettings),
    ("PostgreSQL", _ALL, PostgresSettings),
    ("Log and traces", _ALL, TelemetrySettings),
    ("Plain HTTP", _ALL, SecretUrlSettings),
    ("Process", _ALL, ServiceSettings),
    ("Ingest", Service.INGEST, IngestSettings),
    ("Rules", Service.RULES, RulesSettings),
    ("Dispatcher", Service.DISPATCHER, DispatcherSettings),
    ("Writeback", Service.WRITEBACK, WritebackSettings),
    ("Commands", "stet topics", TopicSettings),
    ("Templates", "stet templates", TemplateSettings),
    ("Evidence", "stet evidence", EvidenceSettings),
)
"""Title, who reads them, and the class that declares them; a field counts for the first section that has it."""

_REQUIRED = "required"
_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    Decimal: "number",
    bool: "0 or 1",
    Path: "path",
    HttpUrl: "URL",
    SecretStr: "text",
}

_CONTAINERS = {tuple: "JSON list", frozenset: "JSON list", dict: "JSON object"}

_PAGE = """\
# Settings

Every setting is a variable, or a file of the same name in the folder that `STET_SECRETS_DIR` names. What is missing,
wrong, misspelt or does not fit together stops the start with exit code 2 and an error that names it. Settings are read
once, at the start: [connections.md](connections.md) says what follows for a secret that changes, and how the settings
of brokers, database and collector go together.

This page is printed by `stet settings --page` from the declarations in the code; a test compares the two. A setting
marked *secret* belongs in a Secret, all others in a ConfigMap.
"""

_SECRETS_DIR = "The folder of a projected volume, with a file for each secret, named like its setting."


@dataclass(frozen=True, slots=True)
class Setting:
    """``example`` and ``default`` as they are written in the environment; ``default`` may be ``required``."""

    name: str
    section: str
    service: str
    type: str
    default: str
    meaning: str
    is_secret: bool
    example: str


def all_settings() -> list[Setting]:
    """Every setting, by section in the order of its declaration."""
    shared = set(ServiceSettings.model_fields)
    found = []
    for title, service, model in _SECTIONS:
        is_own = issubclass(model, ServiceSettings) and model is not ServiceSettings
        inherited = shared if is_own or model is TopicSettings else _declared_above(model)
        fields = [item for item in model.model_fields.items() if item[0] not in inherited]
        found += [_setting(name, field, title, service) for name, field in fields]
    return found


def _declared_above(model: type[BaseSettings]) -> set[str]:
    return {name for base in model.__bases__ for name in getattr(base, "model_fields", ())}


def _setting(name: str, field: FieldInfo, section: str, service: str) -> Setting:
    examples = field.examples or [""]
    return Setting(
        name=PREFIX + name.upper(),
        section=section,
        service=service,
        type=_type_of(field.annotation),
        default=_default_of(name, field, service),
        meaning=field.description or "",
        is_secret="SecretStr" in str(field.annotation),
        example=str(examples[0]),
    )


def _type_of(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType, Annotated}:
        return _type_of(next(one for one in arguments if one is not type(None)))
    if origin in _CONTAINERS:
        return _CONTAINERS[origin]
    words = arguments if origin is Literal else _words_of(annotation)
    if words:
        return "one of " + ", ".join(f"`{word}`" for word in words)
    return _WORDS.get(annotation) or _WORDS[annotation.__supertype__]  # a NewType


def _words_of(annotation: Any) -> tuple[str, ...]:
    return tuple(annotation) if isinstance(annotation, type) and issubclass(annotation, StrEnum) else ()


def _default_of(name: str, field: FieldInfo, service: str) -> str:
    if service == Service.INGEST and name in NEEDED_TO_RECEIVE + NEEDED_TO_POLL:
        role = "poll" if name in NEEDED_TO_POLL else "web"
        return f"{_REQUIRED} for STET_INGEST_ROLE=all and {role}"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return _REQUIRED
    if default is None or default in ("", {}, ()):
        return ""
    if isinstance(default, frozenset | tuple):
        return json.dumps(sorted(default) if isinstance(default, frozenset) else default)
    if isinstance(default, bool):
        return str(int(default))
    return "" if isinstance(default, Path) else str(default)


# ------------------------------------------------------------------ output


def settings_command(
    service: Annotated[Service | None, typer.Option("--service", help="Only what this service reads.")] = None,
    output: Format = OutputFormat.TEXT,
    page: Annotated[bool, typer.Option("--page", help="Print docs/operations/settings.md.")] = False,
) -> None:
    """List every setting: who reads it, its type, its default and its meaning."""
    if page:
        typer.echo(settings_page(), nl=False)
        return
    chosen = [one for one in all_settings() if service is None or one.service in {service, _ALL}]
    columns = {"name": "setting", "service": "for", "type": "type", "default": "default", "meaning": "meaning"}
    print_rows([asdict(one) for one in chosen], columns, output, empty="no settings")


def settings_page() -> str:
    """The Markdown of docs/operations/settings.md."""
    return "\n".join([_PAGE, *_tables()])


def _tables() -> Iterator[str]:
    settings = all_settings()
    for title, service, _ in _SECTIONS:
        yield f"## {title}\n"
        yield f"Read by {service}.\n" if service == _ALL else f"Read by `{service}`.\n"
        yield "| setting | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from (_row(one) for one in settings if one.section == title)
        yield ""
    yield "## Elsewhere\n"
    yield "| setting | type | meaning |"
    yield "|---|---|---|"
    yield f"| `STET_SECRETS_DIR` | path | {_SECRETS_DIR} |\n"


def _row(setting: Setting) -> str:
    kind = f"{setting.type}, *secret*" if setting.is_secret else setting.type
    default = setting.default
    if default.startswith(_REQUIRED):
        word, _, rest = default.partition(" for ")
        default = f"**{word}**" + (f" for `{rest.replace(' and ', '` and `')}`" if rest else "")
    elif default:
        default = f"`{default}`"
    example = f" For example `{setting.example}`." if setting.example else ""
    return f"| `{setting.name}` | {kind} | {default} | {setting.meaning}{example} |"
