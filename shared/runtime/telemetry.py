"""Logs: lines of an event name and fields, from this code and from libraries."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import orjson
import stamina.instrumentation
import structlog

from shared.runtime.connection_settings import LogFormat

_ROOT = Path(__file__).resolve().parents[2]


# ------------------------------------------------------------------ logs


Renderer = Callable[[Any, str, MutableMapping[str, Any]], str]


def get_logger(name: str | None = None) -> Any:
    return structlog.get_logger() if name is None else structlog.get_logger(logger=name)


def configure_logs(service: str, level: str, log_format: LogFormat = LogFormat.JSON) -> None:
    """Write one line for each event on stderr, from this code and from libraries."""
    write = _renderer(log_format)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_error_path,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    structlog.contextvars.bind_contextvars(service=service)
    stamina.instrumentation.set_on_retry_hooks(())  # its own hook would log the texts of errors
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries(service, write)], force=True)


def _json_line(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return orjson.dumps(event, default=str).decode()


def _renderer(log_format: LogFormat) -> Renderer:
    return structlog.dev.ConsoleRenderer(colors=False) if log_format is LogFormat.CONSOLE else _json_line


def _add_error_path(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
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


class _Libraries(logging.Handler):
    """Writes the log records of libraries in the same form."""

    def __init__(self, service: str, write: Renderer) -> None:
        super().__init__()
        self._service = service
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = {"event": "library.logged", "service": self._service, "level": record.levelname.lower()}
        line |= {"logger": record.name, "text": record.getMessage().partition("\n")[0]}
        if record.exc_info and record.exc_info[1] is not None:
            line |= {"error": type(record.exc_info[1]).__name__, "places": error_path(record.exc_info[1])}
        sys.stderr.write(f"{self._write(None, line['level'], line)}\n")


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
