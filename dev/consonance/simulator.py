"""All that one running simulator knows, and the one way into its records for a mutation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from graphql import GraphQLError

from dev.consonance import edits
from dev.consonance.catalogue import publisher
from dev.consonance.complaints import Complaint, Missing, spell
from dev.consonance.crowd import add_crowd
from dev.consonance.faults import Fault, FaultKind, Faults
from dev.consonance.house import House
from dev.consonance.journal import Fate, Journal
from dev.consonance.mutations import Mutation
from dev.consonance.options import Options
from dev.consonance.pushes import Push, Pushes, cloud_event
from dev.consonance.references import expand
from shared.runtime.clock import Clock, DevelopmentClock, SystemClock


class Simulator:
    """``worked`` rises with every request and every change; ``answering`` counts requests not yet answered."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock: Clock = (
            SystemClock() if options.development_clock is None else DevelopmentClock(options.development_clock)
        )
        self.pushes = Pushes(options.webhook_url, options.webhook_secret)
        self.faults = Faults()
        self.worked = 0
        self.answering = 0
        self.house: House
        self.journal: Journal
        self.reset()

    def reset(self) -> None:
        self.house = publisher(self.options.seed)
        if self.options.crowd is not None:
            add_crowd(self.house, self.options.crowd)
        self.journal = Journal()
        self.faults.clear()
        self.pushes.forget()

    def now(self) -> datetime:
        return self.clock.now()

    def today(self) -> date:
        return self.now().date()

    def event(self, name: str, subject: str | None, data: Mapping[str, Any], id_: str | None = None) -> dict[str, Any]:
        filled = expand(self.house, dict(data))
        return cloud_event(name, subject, filled, id_=id_, tenant=self.options.tenant, now=self.now())

    def push(self, name: str, subject: str | None, data: Mapping[str, Any], id_: str | None = None) -> Push:
        return self.pushes.send(self.event(name, subject, data, id_))

    def interfere(self, fault: Fault) -> None:
        """Somebody else edits the work, just now."""
        edits.edit_work(self.house, fault.work or 0, fault.edit(), self.today())


@dataclass(frozen=True)
class Session:
    """One GraphQL request: the resolvers' context. ``refusal``: every mutation in it is to fail in its payload."""

    simulator: Simulator
    refusal: Fault | None = None

    @property
    def house(self) -> House:
        return self.simulator.house

    def mutate(self, mutation: Mutation, given: Mapping[str, Any] | None) -> dict[str, Any]:
        if given is None:
            raise GraphQLError("Argument 'input' is needed here")
        echo = {"client_mutation_id": given.get("client_mutation_id")}
        try:
            written = self._apply(mutation, given)
        except Complaint as complaint:
            self._note(mutation, given, Fate.REFUSED)
            return {**echo, mutation.result: None, "errors": spell(complaint, mutation.shape)}
        except Missing as missing:
            self._note(mutation, given, Fate.REFUSED)
            raise GraphQLError(str(missing)) from None
        self._note(mutation, given, Fate.APPLIED if written.changed else Fate.UNCHANGED)
        return {**echo, mutation.result: written.record, **written.more, "errors": []}

    def _apply(self, mutation: Mutation, given: Mapping[str, Any]) -> Any:
        if self.refusal is not None:
            raise Complaint("base", self.refusal.message)
        touched = self._touched(mutation.name, given)
        edit = self.simulator.faults.take(
            FaultKind.EDIT_BEFORE_WRITE, lambda fault: fault.operation is None and fault.work == touched
        )
        if edit is not None:
            self.simulator.interfere(edit)
        return mutation.apply(self.house, given, self.simulator.today())

    def _touched(self, name: str, given: Mapping[str, Any]) -> int | None:
        """The work a documented mutation writes to."""
        if name == "updateWork":
            return int(given["id"])
        if name == "updateProduct" and given["id"] in self.house.products:
            return self.house.products[given["id"]].work_id
        return given.get("work_id")

    def _note(self, mutation: Mutation, given: Mapping[str, Any], fate: Fate) -> None:
        self.simulator.worked += 1
        self.simulator.journal.note(mutation.name, given, fate, self.simulator.now())
