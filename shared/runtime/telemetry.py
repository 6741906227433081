"""Logs: lines of an event name and fields, from this code and from libraries."""

import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import orjson
import stamina.instrumentation
import structlog
from opentelemetry import trace
from structlog.typing import Processor

from shared.runtime.build import VERSION
from shared.runtime.connection_settings import LogFormat

_ROOT = Path(__file__).resolve().parents[2]
_LONG_NUMBER = re.compile(r"\+?\d{8,}")  # in a library's text it may be a phone number
_REPEAT_SECONDS = 10.0
_MOST_TEXTS = 256  # of libraries, remembered to recognize repetitions

LogEvent = MutableMapping[str, Any]


# ------------------------------------------------------------------ logs


Renderer = Callable[[Any, str, LogEvent], str]


def get_logger() -> Any:
    return structlog.get_logger()


def configure_logs(
    service: str, level: str, log_format: LogFormat = LogFormat.JSON, instance: str | None = None
) -> None:
    """Write one line for each event on stderr, from this code and from libraries.

    Each has the service, its version and its ``instance``: by default the host's name, in Kubernetes that of the pod.
    """
    identity = {"service": service, "version": VERSION, "instance": instance or socket.gethostname()}
    finish: tuple[Processor, ...] = (
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_add_identity, identity),
        _add_trace,
        _add_error_path,
        _renderer(log_format),
    )
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    stamina.instrumentation.set_on_retry_hooks(())  # its own hook would log the texts of errors
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryLogs(finish, sys.stderr)], force=True)


def configure_command_logs() -> None:
    """Write warnings and errors for a person, on stderr: on stdout is what a command prints.

    The stream is looked up for each line, and nothing but the processors is changed, so tests may capture both.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _drop_information,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_error_path,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    stamina.instrumentation.set_on_retry_hooks(())  # its own hook would log the texts of errors


def _drop_information(_: Any, method: str, event: LogEvent) -> LogEvent:
    """Raises DropEvent for a line that only tells what goes on."""
    if method in {"debug", "info"}:
        raise structlog.DropEvent
    return event


def _json_line(_: Any, __: str, event: LogEvent) -> str:
    return orjson.dumps(event, default=str).decode()


def _renderer(log_format: LogFormat) -> Renderer:
    return structlog.dev.ConsoleRenderer(colors=False) if log_format is LogFormat.CONSOLE else _json_line


def _add_identity(identity: Mapping[str, str], _: Any, __: str, event: LogEvent) -> LogEvent:
    event.update(identity)
    return event


def _add_trace(_: Any, __: str, event: LogEvent) -> LogEvent:
    """The ids of the span that is open now; nothing where no span is recorded."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = trace.format_trace_id(span.trace_id)
        event["span_id"] = trace.format_span_id(span.span_id)
    return event


def _add_error_path(_: Any, __: str, event: LogEvent) -> LogEvent:
    """Log an error as its type and its path through this repository: its own text may quote personal data."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["places"] = error_path(error)
        if sentence := getattr(error, "sentence", None):
            event["sentence"] = sentence
    return event


class _LibraryLogs(logging.Handler):
    """Writes the log records of libraries in the same form: the first line of the text, without long numbers.

    A text is written once in ten seconds: a client of Kafka logs each of twenty attempts a second while the broker is
    away. The next line with that text counts in ``repeated`` how often it was left out.
    """

    def __init__(self, finish: Sequence[Processor], file: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._finish = finish
        self._file = file
        self._clock = clock
        self._written: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        level, error = record.levelname.lower(), record.exc_info[1] if record.exc_info else None
        text = _LONG_NUMBER.sub("…", record.getMessage().partition("\n")[0])
        repeated = self._repetitions((record.name, text))
        if repeated is None:
            return
        line: Any = {"event": "library.logged", "level": level, "logger": record.name, "text": text, "exc_info": error}
        if repeated:
            line["repeated"] = repeated
        for process in self._finish:
            line = process(None, level, line)
        self._file.write(f"{line}\n")

    def _repetitions(self, text: tuple[str, str]) -> int | None:
        """How often this text was left out since it was last written; None where it is left out again."""
        now = self._clock()
        written_at, left_out = self._written.pop(text, (now - _REPEAT_SECONDS, 0))
        if now - written_at < _REPEAT_SECONDS:
            self._written[text] = written_at, left_out + 1
            return None
        self._written[text] = now, 0
        if len(self._written) > _MOST_TEXTS:
            del self._written[next(iter(self._written))]
        return left_out


# ------------------------------------------------------------------ error locations


def error_location(error: BaseException) -> str:
    """File and line of the innermost frame of this repository that the error passed."""
    return (error_path(error) or ["an unknown place"])[-1]


def error_path(error: BaseException) -> list[str]:
    """File and line of each frame of this repository that the error passed, outermost first.

    Logs show it in place of the error's text, which may quote personal data.
    """
    found = []
    trace = error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
            found.append(f"{path.relative_to(_ROOT)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return found
