"""Logs: one form for our lines and those of libraries; events of two words; fields of known kinds, none personal."""

import ast
import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from shared.runtime.build import VERSION
from shared.runtime.telemetry import _json_line, _LibraryLogs, configure_logs, get_logger

ROOT = Path(__file__).parents[2]
LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "exception"})
NAMED_ELSEWHERE = frozenset({"_record_outcome", "RateLimitedLog", "FailureLog"})
"""Functions that take the name of an event and log it later."""

EVENT = re.compile(r"[a-z_]+\.([a-z_]+)")
IRREGULAR = frozenset({"spent", "found", "held", "lost", "unread", "set_aside"})

FIELDS = frozenset(
    {
        # what it is about: ids, names from the code, places in topics
        "chain_id", "message_id", "write_id", "file_id", "document_id",
        "record", "line", "topic", "partition", "partitions", "offset", "first",
        "entity", "operation", "scope", "dependency", "setting", "location", "sender", "task", "loop", "step", "name",
        "event_name", "phone_number_id", "tenant", "python", "templates", "everything", "hop", "subject",
        "revision", "commit", "about", "trial",
        # why: words of closed sets, and sentences of our own, which hold no value
        "reason", "cause", "state", "outcome", "error", "error_class", "code", "fault", "faults", "errors", "sentence",
        "detail", "where", "hint", "exc_info", "added", "missed",
        # how many, how long, since when
        "passes", "files",
        "attempt", "attempts", "failures", "times", "seconds", "next_in", "since", "until", "begun", "bytes", "records",
        "messages", "events", "chains", "lines", "results", "read_to", "found", "recently_accepted",
        "people", "throughput", "restrictions", "per_second",
    }
)  # fmt: skip
"""The fields of log lines. None holds a number, a name or a text of a person, a body or a secret: keep it so."""

BY_LIBRARIES = {"event", "level", "timestamp", "service", "version", "instance", "logger", "text"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("services", "shared", "ops"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def logged() -> Iterator[tuple[str, ast.Call]]:
    """Calls like ``log.warning(…)`` and ``self._log.error(…)``."""
    for place, call in calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS:
            owner = call.func.value
            if (owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")) in {"log", "_log"}:
                yield place, call


def event_names() -> Iterator[tuple[str, str]]:
    named = (found for found in calls() if _called(found[1]) in NAMED_ELSEWHERE)
    for place, call in (*logged(), *named):
        if call.args and isinstance(call.args[0], ast.Constant):
            yield place, str(call.args[0].value)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def is_event_name(name: str) -> bool:
    match = EVENT.fullmatch(name)
    return match is not None and (match[1].endswith("ed") or match[1] in IRREGULAR)


def test_an_event_is_a_noun_and_a_past_participle() -> None:
    found = list(event_names())
    assert len(found) > 60
    assert [(place, name) for place, name in found if not is_event_name(name)] == []


def test_a_line_has_only_fields_of_known_kinds() -> None:
    repeated = ((place, call) for place, call in calls() if _called(call) == "warn")  # by a FailureLog
    fields = [(place, word.arg) for place, call in (*logged(), *repeated) for word in call.keywords if word.arg]
    assert [(place, name) for place, name in fields if name not in FIELDS] == []
    assert FIELDS - {name for _, name in fields} <= {"phone_number_id"}, "a field that nothing logs goes"


def test_a_line_without_an_event_name_is_found() -> None:
    assert [is_event_name(name) for name in ("Could not send", "message.sending", "a.b.sent", "message.dropped")] == [
        False, False, False, True,
    ]  # fmt: skip


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written)
    configure_logs("rules", "info", instance="rules-0")
    yield written
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def last(written: io.StringIO) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(written.getvalue().splitlines()[-1])
    return found


def test_every_line_names_the_service_its_version_and_its_instance(lines: io.StringIO) -> None:
    get_logger().info("batch.retried", attempt=2)
    line = last(lines)
    assert (line["service"], line["version"], line["instance"]) == ("rules", VERSION, "rules-0")
    assert (line["event"], line["level"], line["attempt"]) == ("batch.retried", "info", 2)
    assert "trace_id" not in line


def test_a_line_inside_a_span_leads_to_the_trace(lines: io.StringIO) -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("stet").start_as_current_span("work") as span:
        get_logger().info("batch.retried")
        logging.getLogger("aiokafka").warning("a library")
    context = span.get_span_context()
    for line in map(orjson.loads, lines.getvalue().splitlines()):
        assert (line["trace_id"], line["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")


def test_a_line_of_a_library_has_the_same_form(lines: io.StringIO) -> None:
    logging.getLogger("aiokafka").warning("a broker is away\nand a second line")
    line = last(lines)
    assert line.keys() == BY_LIBRARIES
    assert (line["event"], line["logger"], line["text"]) == ("library.logged", "aiokafka", "a broker is away")


def raise_error(text: str) -> None:
    raise ValueError(text)


def test_a_text_that_a_library_repeats_is_written_once_in_ten_seconds() -> None:
    out, now = io.StringIO(), [0.0]
    libraries = _LibraryLogs([lambda _, __, event: dict(event), _json_line], out, lambda: now[0])
    for _ in range(50):
        libraries.handle(library_record("a broker is away"))
    libraries.handle(library_record("another text"))
    now[0] = 10.0
    libraries.handle(library_record("a broker is away"))
    found = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["text"], line.get("repeated")) for line in found] == [
        ("a broker is away", None), ("another text", None), ("a broker is away", 49),
    ]  # fmt: skip


def test_only_the_newest_texts_of_libraries_are_remembered() -> None:
    libraries = _LibraryLogs([_json_line], io.StringIO(), lambda: 0.0)
    for number in range(1000):
        libraries.handle(library_record(f"text {number}"))
    assert len(libraries._written) <= 256


def library_record(text: str) -> logging.LogRecord:
    return logging.LogRecord("aiokafka", logging.WARNING, "", 0, text, None, None)


def test_a_librarys_error_is_its_type_and_a_phone_number_is_left_out(lines: io.StringIO) -> None:
    try:
        raise_error("of +447700900123")
    except ValueError:
        logging.getLogger("aiohttp").exception("cannot send to +447700900123 of 1 person")
    line = last(lines)
    assert (line["error"], line["text"]) == ("ValueError", "cannot send to … of 1 person")
    assert "7700900123" not in lines.getvalue()


def test_an_error_is_logged_by_its_type_and_place(lines: io.StringIO) -> None:
    try:
        raise_error("the secret is hunter2")
    except ValueError:
        get_logger().exception("request.failed")
    line = last(lines)
    assert line["error"] == "ValueError"
    assert line["places"][0].startswith("tests/shared/test_logs.py:")
    assert "hunter2" not in lines.getvalue()
