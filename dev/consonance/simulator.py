"""The state of one running simulator, and the function through which every mutation changes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from graphql import GraphQLError

from dev.consonance.edits import edit_work
from dev.consonance.faults import RequestFault, RequestFaultKind, RequestFaults
from dev.consonance.mutation_results import FieldRefused, MutationLog, MutationOutcome, RecordMissing, refusal_as_json
from dev.consonance.mutations import Mutation
from dev.consonance.publisher import PublisherRecords
from dev.consonance.pushes import EventPush, EventPushes, cloud_event, expand
from dev.consonance.schema import Profile
from dev.consonance.seed_data import add_extra_records, seeded_publisher
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsonanceOptions:
    key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    webhook_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    profile: Profile = Profile.EXTENDED
    development_clock: Path | None = None
    seed: int = 7
    tenant: str = "penrose"
    extra_records: Path | None = None


class ConsonanceSimulator:
    """``work_count`` rises with every request and every change; ``answering`` counts requests not yet answered."""

    def __init__(self, options: ConsonanceOptions) -> None:
        self.options = options
        self.clock: Clock = (
            SystemClock() if options.development_clock is None else DevelopmentClock(options.development_clock)
        )
        self.pushes = EventPushes(options.webhook_url, options.webhook_secret)
        self.faults = RequestFaults()
        self.work_count = 0
        self.answering = 0
        self.publisher: PublisherRecords
        self.mutation_log: MutationLog
        self.reset()

    def reset(self) -> None:
        self.publisher = seeded_publisher(self.options.seed)
        if self.options.extra_records is not None:
            add_extra_records(self.publisher, self.options.extra_records)
        self.mutation_log = MutationLog()
        self.faults.clear()
        self.pushes.forget()

    def now(self) -> datetime:
        return self.clock.now()

    def today(self) -> date:
        return self.now().date()

    def event(self, name: str, subject: str | None, data: Mapping[str, Any], id_: str | None = None) -> dict[str, Any]:
        filled = expand(self.publisher, dict(data))
        return cloud_event(name, subject, filled, id_=id_, tenant=self.options.tenant, now=self.now())

    def push(self, name: str, subject: str | None, data: Mapping[str, Any], id_: str | None = None) -> EventPush:
        return self.pushes.send(self.event(name, subject, data, id_))

    def edit_before_write(self, fault: RequestFault) -> None:
        """Edit the work as another user, before a write."""
        edit_work(self.publisher, fault.work or 0, fault.edit(), self.today())


@dataclass(frozen=True)
class MutationContext:
    """One GraphQL request: the resolvers' context. ``refusal``: every mutation in it is to fail in its payload."""

    simulator: ConsonanceSimulator
    refusal: RequestFault | None = None

    @property
    def publisher(self) -> PublisherRecords:
        return self.simulator.publisher

    def mutate(self, mutation: Mutation, given: Mapping[str, Any] | None) -> dict[str, Any]:
        if given is None:
            raise GraphQLError("Argument 'input' is needed here")
        echo = {"client_mutation_id": given.get("client_mutation_id")}
        try:
            written = self._apply(mutation, given)
        except FieldRefused as refusal:
            self._note(mutation, given, MutationOutcome.REFUSED)
            return {**echo, mutation.result: None, "errors": refusal_as_json(refusal, mutation.shape)}
        except RecordMissing as missing:
            self._note(mutation, given, MutationOutcome.REFUSED)
            raise GraphQLError(str(missing)) from None
        self._note(mutation, given, MutationOutcome.APPLIED if written.changed else MutationOutcome.UNCHANGED)
        return {**echo, mutation.result: written.record, **written.more, "errors": []}

    def _apply(self, mutation: Mutation, given: Mapping[str, Any]) -> Any:
        if self.refusal is not None:
            raise FieldRefused("base", self.refusal.message)
        touched = self._touched(mutation.name, given)
        edit = self.simulator.faults.take(
            RequestFaultKind.EDIT_BEFORE_WRITE, lambda fault: fault.operation is None and fault.work == touched
        )
        if edit is not None:
            self.simulator.edit_before_write(edit)
        return mutation.apply(self.publisher, given, self.simulator.today())

    def _touched(self, name: str, given: Mapping[str, Any]) -> int | None:
        """The work a documented mutation writes to."""
        if name == "updateWork":
            return int(given["id"])
        if name == "updateProduct" and given["id"] in self.publisher.products:
            return self.publisher.products[given["id"]].work_id
        return given.get("work_id")

    def _note(self, mutation: Mutation, given: Mapping[str, Any], outcome: MutationOutcome) -> None:
        self.simulator.work_count += 1
        self.simulator.mutation_log.note(mutation.name, given, outcome, self.simulator.now())
