"""Faults on request, and how often each still applies."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from dev.consonance.control_inputs import WorkEdit


class RequestFaultKind(StrEnum):
    OK_WITH_ERRORS = "ok_with_errors"
    LATENCY = "latency"
    WRITE_THEN_TIMEOUT = "write_then_timeout"
    HTTP_503 = "http_503"
    REVOKED_KEY = "revoked_key"
    EDIT_BEFORE_WRITE = "edit_before_write"


class ErrorPlace(StrEnum):
    """The place of the error in an answer with status 200: beside the data, or in the mutation's payload. Nothing is
    written either way.
    """

    GRAPHQL = "graphql"
    PAYLOAD = "payload"


class RequestFault(BaseModel):
    """``operation`` is a root field or the document's operation name; without it any request will do. ``count`` null:
    until the faults are cleared. ``seconds`` are machine time. The last three are of ``edit_before_write``.
    """

    model_config = ConfigDict(extra="forbid")

    kind: RequestFaultKind
    count: int | None = 1
    operation: str | None = None
    seconds: float = 2.0
    place: ErrorPlace = ErrorPlace.GRAPHQL
    message: str = "is not possible at the moment"
    work: int | None = None
    field: str | None = None
    value: Any = None

    @model_validator(mode="after")
    def _check_edit(self) -> "RequestFault":
        if self.kind is RequestFaultKind.EDIT_BEFORE_WRITE and (self.work is None or self.field is None):
            raise ValueError("edit_before_write needs work and field")
        self.edit()
        return self

    def edit(self) -> dict[str, Any]:
        """The fields that ``edit_before_write`` changes."""
        return {} if self.field is None else WorkEdit.model_validate({self.field: self.value}).given_fields()


class RequestFaults:
    def __init__(self) -> None:
        self._waiting: list[RequestFault] = []

    def add(self, fault: RequestFault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        self._waiting.clear()

    def waiting(self) -> list[RequestFault]:
        return list(self._waiting)

    def take(self, kind: RequestFaultKind, fits: Callable[[RequestFault], bool]) -> RequestFault | None:
        """The oldest of this kind that fits, one fewer of which is left."""
        found = next((one for one in self._waiting if one.kind is kind and fits(one)), None)
        if found is not None and found.count is not None:
            found.count -= 1
            if found.count <= 0:
                self._waiting.remove(found)
        return found
