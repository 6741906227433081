"""Faults on request: each waits for the sends that it matches, applies to a number of them, and is gone."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SendFaultKind(StrEnum):
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    TIMEOUT_BEFORE = "timeout_before"
    HTTP_500 = "http_500"
    HTTP_503 = "http_503"
    ERROR_CODE = "error_code"
    HANG = "hang"
    REFUSE_CONNECTION = "refuse_connection"


class Match(BaseModel):
    """``to`` is a number, a BSUID or a person's id; ``line`` a name or a phone number id."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    to: str | None = None
    line: str | None = None


class SendFault(BaseModel):
    """``seconds`` of machine time: how long a timeout holds the connection, or a hang the work."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: SendFaultKind
    count: int = Field(default=1, ge=1)
    code: int | None = None
    seconds: float = Field(default=120.0, gt=0)
    match: Match = Match()

    @model_validator(mode="after")
    def _code_where_needed(self) -> "SendFault":
        if (self.kind is SendFaultKind.ERROR_CODE) != (self.code is not None):
            raise ValueError("code goes with error_code, and only with it")
        return self


class SendFaults:
    def __init__(self) -> None:
        self._waiting: list[tuple[SendFault, int]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, fault: SendFault) -> None:
        self._waiting.append((fault, fault.count))

    def take(self, addresses: set[str], line: set[str]) -> SendFault | None:
        """The oldest fault that matches one of the addresses and one of the names of the line."""
        for place, (fault, left) in enumerate(self._waiting):
            if fault.match.to in {None, *addresses} and fault.match.line in {None, *line}:
                if left > 1:
                    self._waiting[place] = (fault, left - 1)
                else:
                    del self._waiting[place]
                return fault
        return None
