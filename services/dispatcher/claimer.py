"""Claims the messages that may be sent now: a query finds them, the planner decides, a query commits the intents.

Only a committed intent may leave.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from services.dispatcher import metrics
from services.dispatcher.account_limits import Restriction
from services.dispatcher.account_store import ReportedLimits, TemplateCache
from services.dispatcher.budget import FREE_TEXT_CATEGORY, Budget, Sendable, country_of, template_category
from services.dispatcher.document_store import DocumentKey, DocumentStore, KnownDocument
from services.dispatcher.pauses import OperatorPauses
from services.dispatcher.payload import ContentDocument, MessageContent, UnsendableContent, build_body
from services.dispatcher.planner import (
    DropMessage,
    Postpone,
    QueuedMessage,
    SendContext,
    SendNow,
    SendPlan,
    goes_as_free_text,
    plan_send,
)
from services.dispatcher.rate_limits import RateUsage
from services.dispatcher.reasons import MessageReason
from services.dispatcher.store import (
    MANY_FOLLOWERS,
    DueMessage,
    LaneCapacity,
    MessageStore,
    RequestOrigin,
    UnreadableMessage,
)
from services.dispatcher.templates import (
    MARKETING,
    MARKETING_PAUSED_IN,
    TemplateKey,
    TemplateState,
    is_unwanted_marketing,
)
from services.dispatcher.throttles import SendTarget, Throttles
from services.dispatcher.unread_partitions import UnreadPartitions
from shared.contracts.messages import Lane, MessageForm, format_callback
from shared.runtime.failures import describe_failure
from shared.runtime.postgres import Connection
from shared.runtime.telemetry import get_logger

log = get_logger()
_KEPT_IN_MEMORY = frozenset(
    {MessageReason.NUMBER_RATE, MessageReason.NUMBER_THROTTLED}
)  # the whole line is skipped then
NORMAL_TO_BULK = 9
"""While both wait, so many normal messages go for one of bulk (the query find_due)."""

_POLL_SECONDS = 1.0
_TEMPLATE_TRIAL_WAIT = timedelta(seconds=1)  # until the outcome of the one trial message is known


TemplateOfLine = tuple[str, TemplateKey]
"""A template, and the line that it goes by: two accounts may have templates of one name."""


class Moment(Struct, frozen=True):
    """All clocks, read once for a round of work; ``monotonic``, in seconds, is never set back."""

    business: datetime
    machine: datetime
    monotonic: float


class SendIntent(Struct, frozen=True):
    """A committed attempt that may leave until ``lease_until`` (machine time), and until ``lease_ends``.

    That is the same instant in monotonic seconds: a clock that is set back makes no lease of this process longer.
    """

    message_id: str
    attempt: int
    target: SendTarget
    wording: MessageForm
    body: bytes
    lease_until: datetime
    lease_ends: float
    origin: RequestOrigin
    lane: Lane = Lane.NORMAL


@dataclass(slots=True)
class ClaimedBatch:
    """The decisions of one round. ``busy`` are the people, ``templates`` the templates of sends in flight.

    ``held`` messages were found and belong to people of unread partitions, or wait behind earlier messages from now on.
    ``documents`` are those that are settled.
    """

    documents: Mapping[DocumentKey, KnownDocument] = field(default_factory=dict)
    intents: dict[str, SendIntent] = field(default_factory=dict)
    waits: list[tuple[str, datetime, str, str]] = field(default_factory=list)
    drops: list[tuple[str, MessageReason]] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    templates: set[TemplateOfLine] = field(default_factory=set)
    held: int = 0


@dataclass(slots=True)
class FollowerCheck:
    """Decides when due messages that wait behind earlier ones of their chats are held, so that claims do not read them
    again and again.
    """

    _looked_at: float = 0.0
    _held: int = 0

    def is_due(self, due: Sequence[DueMessage | UnreadableMessage], at_most: int) -> bool:
        """True after a claim that passed many of them, and as many as it found; after a search that held some; and once
        a second while claims find too few. Where they are fewer than half, a search would hold none (hold_followers).
        """
        if self._held or _passed(due) >= max(MANY_FOLLOWERS, len(due)):
            return True
        return len(due) < at_most and time.monotonic() - self._looked_at >= _POLL_SECONDS

    def record(self, held: int) -> None:
        self._looked_at, self._held = time.monotonic(), held


def _passed(due: Iterable[DueMessage | UnreadableMessage]) -> int:
    """How many due messages a claim passed, before the last one that it found in each lane."""
    places, found = dict[tuple[str, Lane], int](), 0
    for one in due:
        if isinstance(one, DueMessage):
            lane = (one.message.line, one.message.lane)
            places[lane], found = max(one.place, places.get(lane, 0)), found + 1
    return sum(places.values()) - found


@dataclass(frozen=True, slots=True)
class Claimer:
    """``lines`` are the configured ones; ``lease`` is how long a send may take until its response."""

    store: MessageStore
    usage: RateUsage
    throttles: Throttles
    unread: UnreadPartitions
    lines: Collection[str]
    lease: timedelta
    pauses: OperatorPauses
    templates: TemplateCache
    reported_limits: ReportedLimits
    documents: DocumentStore
    budget: Budget
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Line → WhatsApp business account, where settings name it."""
    followers: FollowerCheck = field(default_factory=FollowerCheck)
    bulk_turns: Counter[str] = field(default_factory=Counter)
    """Per line, how many normal messages have gone since the last one of bulk; ``NORMAL_TO_BULK`` at most."""
    unconfirmed: list[SendIntent] = field(default_factory=list)
    """Intents whose commit was asked for, and not answered."""

    def capacities(self, in_flight: Mapping[str, int], at_most: int, moment: Moment) -> list[LaneCapacity]:
        """How many messages of each lane to fetch: none of a throttled or paused line, one while it is probed."""
        if self.unread.is_everything_unread:
            return []
        return [
            LaneCapacity(
                line,
                lane,
                capacity,
                self.bulk_turns[line] if lane is Lane.BULK else 0,
                self.templates.accounts.get(line),
            )
            for line in self.lines
            for lane in Lane
            if (capacity := self._capacity(line, lane, in_flight.get(line, 0), at_most, moment)) > 0
        ]

    async def claim(
        self,
        connection: Connection,
        capacities: Sequence[LaneCapacity],
        at_most: int,
        in_flight: tuple[Collection[str], Collection[TemplateOfLine]],
        moment: Moment,
    ) -> ClaimedBatch:
        """One message of a person at a time, so that none overtakes an earlier one.

        ``in_flight`` are the people and the templates of sends without an outcome.
        """
        people, templates = in_flight
        unread = [*self.unread.refresh()]
        passed = [*people, *unread]
        due = await self.store.find_due(connection, capacities, passed, (moment.business, moment.machine), at_most)
        keys = {key for one in due if isinstance(one, DueMessage) and (key := _document_of(one)) is not None}
        documents = await self.documents.find(connection, keys, moment.machine)
        batch = ClaimedBatch(documents, busy=set(people), templates=set(templates))
        self._plan_all(due, batch, moment)
        if self.followers.is_due(due, at_most):
            batch.held += await self._hold_followers(connection, capacities, unread, moment)
        if batch.waits:
            await self.store.postpone(connection, batch.waits)
        if batch.intents:
            await self._begin(connection, batch, moment)
        return batch

    def is_disabled(self, line: str, now: datetime) -> bool:
        """WhatsApp has disabled the account of the line, which sends nothing until it is reinstated."""
        return self._restricted_until(Restriction.ACCOUNT_DISABLED, line, now) is not None

    async def _hold_followers(
        self, connection: Connection, capacities: Sequence[LaneCapacity], unread: Collection[str], moment: Moment
    ) -> int:
        instants = (moment.business, moment.machine)
        held = await self.store.hold_followers(connection, capacities, unread, instants)
        self.followers.record(held)
        return held

    def _capacity(self, line: str, lane: Lane, in_flight: int, at_most: int, moment: Moment) -> int:
        if self.pauses.names.has_line(line):
            return 0
        if self.is_disabled(line, moment.business):
            return 0
        if self.throttles.is_stopped(line, moment.machine) or self.throttles.number_until(line, moment.business):
            return 0
        if self.throttles.is_probing(line):
            return 0 if in_flight else 1
        return self.usage.capacity(line, moment.business, at_most, lane)

    def _plan_all(self, due: Iterable[DueMessage | UnreadableMessage], batch: ClaimedBatch, moment: Moment) -> None:
        for one in due:
            if isinstance(one, UnreadableMessage):
                _drop_unreadable(batch, one.message_id, one.error)
            elif self.unread.is_unread(one.message.person_id):
                batch.held += 1
            elif one.message.person_id not in batch.busy:
                try:
                    self._plan(one, batch, moment)
                except Exception as error:  # noqa: BLE001 -- one message must not keep the others
                    _drop_unreadable(batch, one.message.message_id, error)

    def _plan(self, due: DueMessage, batch: ClaimedBatch, moment: Moment) -> None:
        due = _with_document(due, batch.documents, moment.business)
        due = self._with_usable_template(due, batch.templates, moment.business)
        message = due.message
        context = self._context(due, batch, moment.business)
        match self._decide(message, context, moment.business):
            case SendNow() as send:
                self._add_intent(due, send, batch, moment)
                batch.busy.add(message.person_id)
            case Postpone(until, reason) if reason not in _KEPT_IN_MEMORY:
                batch.waits.append((message.message_id, until, reason.value, due.row_version))
            case Postpone():
                batch.busy.add(message.person_id)
            case DropMessage(reason):
                batch.drops.append((message.message_id, reason))

    def _decide(self, message: QueuedMessage, context: SendContext, now: datetime) -> SendPlan:
        """The portfolio is asked last, since asking reserves an instant: only a message that waits for nothing else
        gets one.
        """
        limits = self.usage.limits
        plan = plan_send(message, context, limits, now)
        if limits.lifted or not isinstance(plan, SendNow) or plan.wording is not MessageForm.TEMPLATE:
            return plan
        free_at = self.usage.portfolio.free_at(message.person_id, message.lane, now)
        return plan if free_at <= now else plan_send(message, replace(context, portfolio_free_at=free_at), limits, now)

    def _add_intent(self, due: DueMessage, send: SendNow, batch: ClaimedBatch, moment: Moment) -> None:
        message = due.message
        attempt = message.attempts + 1
        try:
            callback = format_callback(message.message_id, attempt, send.address.person_id, send.address.version)
            body = build_body(message.content, send.wording, send.address, callback)
        except UnsendableContent as refused:
            batch.drops.append((message.message_id, refused.message_reason))
            return
        self.usage.reserve(message.line, message.person_id, moment.business)
        template = _template_of(due) if send.wording is MessageForm.TEMPLATE else None
        target = SendTarget(message.line, message.person_id, template)
        if template:
            batch.templates.add((message.line, template))
            self.usage.portfolio.reserve(message.person_id, moment.business)
        if self.budget.is_set:
            sendable = self._sendable(due, send.wording)
            self.budget.reserve(message.message_id, attempt, sendable, moment.business)
        batch.intents[message.message_id] = SendIntent(
            message.message_id, attempt, target, send.wording, body, moment.machine + self.lease,
            moment.monotonic + self.lease.total_seconds(), due.origin, message.lane,
        )  # fmt: skip
        self._count_turn(message.line, message.lane)

    def _count_turn(self, line: str, lane: Lane) -> None:
        if lane is Lane.BULK:
            self.bulk_turns[line] = max(0, self.bulk_turns[line] - NORMAL_TO_BULK)
        elif lane is Lane.NORMAL:
            self.bulk_turns[line] = min(self.bulk_turns[line] + 1, NORMAL_TO_BULK)

    async def _begin(self, connection: Connection, batch: ClaimedBatch, moment: Moment) -> None:
        """A message that was withdrawn since it was fetched is not begun, and not sent."""
        wordings = {intent.message_id: (intent.wording, intent.target.template) for intent in batch.intents.values()}
        lease = moment.machine + self.lease
        self.unconfirmed.extend(batch.intents.values())
        begun = await self.store.begin_attempts(connection, wordings, moment.business, moment.machine, lease)
        self.unconfirmed.clear()
        for message_id, intent in list(batch.intents.items()):
            if begun.get(message_id) != intent.attempt:
                self.usage.release(intent.target.line)
                self.usage.portfolio.settle(intent.target.person_id, counts=False)
                self.budget.release(message_id)
                del batch.intents[message_id]

    def _context(self, due: DueMessage, batch: ClaimedBatch, now: datetime) -> SendContext:
        line, person_id, key = due.message.line, due.message.person_id, _document_of(due)
        found = batch.documents.get(key) if key is not None else None
        budget_until = self._budget_until(due, now)
        is_marketing = self._is_marketing(due)
        return SendContext(
            person_known=due.person_known,
            address=due.address,
            window_opened_at=due.window_opened_at,
            template=self._template_state(due),
            is_marketing_paused=is_marketing and _is_marketing_paused(due),
            marketing_limited_until=self.throttles.marketing_until(person_id) if is_marketing else None,
            template_throttled_until=self._template_throttled_until(due, batch.templates, now),
            is_template_paused_by_operator=self.pauses.names.has_template(_template_of(due)),
            document_awaited_until=_document_awaited_until(due, now),
            document_refusal=found.refusal if found is not None else None,
            template_restricted_until=self._restricted_until(Restriction.BUSINESS_INITIATED, line, now),
            free_text_restricted_until=self._restricted_until(Restriction.CUSTOMER_INITIATED, line, now),
            budget_until=budget_until,
            number_throttled_until=self.throttles.number_until(line, now),
            pair_throttled_until=self.throttles.pair_until(line, person_id),
            number_sends=self.usage.number(line, now),
            pair_sends=self.usage.pair(line, person_id),
        )

    def _budget_until(self, due: DueMessage, now: datetime) -> datetime | None:
        if not self.budget.is_set:
            return None
        form = MessageForm.FREE_TEXT if self._goes_as_free_text(due, now) else MessageForm.TEMPLATE
        return self.budget.hold_until(self._sendable(due, form), now)

    def _goes_as_free_text(self, due: DueMessage, now: datetime) -> bool:
        return goes_as_free_text(due.message, due.window_opened_at, self.usage.limits, now)

    def _sendable(self, due: DueMessage, form: MessageForm) -> Sendable:
        message, address = due.message, due.address
        category = self._category(due) if form is MessageForm.TEMPLATE else FREE_TEXT_CATEGORY
        country = country_of(address.phone, address.bsuid) if address else ""
        return Sendable(country, category, message.lane, message.mandatory)

    def _category(self, due: DueMessage) -> str:
        """The category of the message's template as Meta has it, else as its file has it."""
        call = due.message.content.template
        if call is None:
            return FREE_TEXT_CATEGORY
        known = self.templates.of(due.message.line).templates.get((call["name"], call["language"]))
        return template_category(call, due.category or (known.category if known else None))

    def _is_marketing(self, due: DueMessage) -> bool:
        return self._category(due) == MARKETING.lower()

    def _template_state(self, due: DueMessage) -> TemplateState:
        """The state by the leader's copy, and by the row read with the message: it is newer, with fewer columns."""
        call = due.message.content.template
        if call is None:
            return TemplateState.USABLE
        known, consent = self.templates.of(due.message.line), bool(call.get("marketing_consent"))
        state = known.state(call, marketing_consent=consent, newest_category=due.category)
        if state is TemplateState.USABLE:
            state = due.template
        if state is not TemplateState.USABLE and known.state(call, marketing_consent=consent) is TemplateState.USABLE:
            self.templates.read_and_release()
        return state

    def _with_usable_template(
        self, due: DueMessage, in_flight: Collection[TemplateOfLine], now: datetime
    ) -> DueMessage:
        """The message, with its fallback in place of a template that WhatsApp would not take now. An operator's pause
        holds both.
        """
        call = due.message.content.template
        fallback = call.get("fallback") if call else None
        if call is None or fallback is None or self.pauses.names.has_template(_template_of(due)):
            return due
        if not _may_go_as(fallback, due.message.content.document):
            return due
        fallback = {**fallback, "marketing_consent": call.get("marketing_consent", False)}
        content = replace(due.message.content, template=fallback)
        other = replace(_with_other_template(due, content), template=TemplateState.USABLE, category=None)
        is_better = self._is_held(due, in_flight, now) and not self._is_held(other, in_flight, now)
        return other if is_better and not self.pauses.names.has_template(_template_of(other)) else due

    def _is_held(self, due: DueMessage, in_flight: Collection[TemplateOfLine], now: datetime) -> bool:
        if self._template_state(due) is not TemplateState.USABLE:
            return True
        untils = [self._template_throttled_until(due, in_flight, now)]
        if self._is_marketing(due):
            if _is_marketing_paused(due):
                return True
            untils.append(self.throttles.marketing_until(due.message.person_id))
        return any(until is not None and until > now for until in untils)

    def _template_throttled_until(
        self, due: DueMessage, in_flight: Collection[TemplateOfLine], now: datetime
    ) -> datetime | None:
        """A template whose wait is over is tried with one message first. Pacing does not hold critical messages."""
        line, template = due.message.line, _template_of(due)
        until = self.throttles.template_until(line, template, is_critical=due.message.lane is Lane.CRITICAL)
        if until is None or until > now:
            return until
        account = self.accounts.get(line)
        is_tried = any(one == template and self.accounts.get(of_line) == account for of_line, one in in_flight)
        return now + _TEMPLATE_TRIAL_WAIT if is_tried else until

    def _restricted_until(self, restriction: Restriction, line: str, now: datetime) -> datetime | None:
        current = self.reported_limits.current
        return current.until(restriction, self.accounts.get(line), now) if current.restrictions else None


_OPTIONAL_WAIT = timedelta(minutes=15)  # for a document without which the message may go
_DOCUMENT_WAIT = timedelta(hours=1)  # a document that WhatsApp has releases its messages earlier


def _document_awaited_until(due: DueMessage, now: datetime) -> datetime | None:
    """None for a message whose document is there, or that has none."""
    document = due.message.content.document
    if document is None or document.media_id is not None:
        return None
    return due.message.requested_at + _OPTIONAL_WAIT if document.optional else now + _DOCUMENT_WAIT


def _document_of(due: DueMessage) -> DocumentKey | None:
    document = due.message.content.document
    return None if document is None else (due.message.line, document.document_id)


def _with_document(due: DueMessage, known: Mapping[DocumentKey, KnownDocument], now: datetime) -> DueMessage:
    """The message with the id of its document at WhatsApp, where WhatsApp has it. An optional document is left out
    where it cannot be had, or takes too long.
    """
    content, key = due.message.content, _document_of(due)
    if content.document is None or key is None:
        return due
    found = known.get(key)
    if found is not None and found.media_id is not None:
        document = replace(content.document, media_id=found.media_id, mime=found.mime)
        return _with_content(due, replace(content, document=document))
    is_given_up = found is not None or now >= due.message.requested_at + _OPTIONAL_WAIT
    return _without_document(due) if content.document.optional and is_given_up else due


def _without_document(due: DueMessage) -> DueMessage:
    """A template with a document's header cannot go then; its fallback has none."""
    content = due.message.content
    call, fallback = content.template, (content.template or {}).get("fallback")
    if call is not None and call.get("header"):
        call = {**fallback, "marketing_consent": call.get("marketing_consent", False)} if fallback else None
        other = replace(content, document=None, template=call)
        return replace(_with_other_template(due, other), template=TemplateState.USABLE, category=None)
    return _with_content(due, replace(content, document=None))


def _with_other_template(due: DueMessage, content: MessageContent) -> DueMessage:
    """The text inside the window is that of the message's own template, so an unwanted offer stays one."""
    template_only = due.message.template_only or is_unwanted_marketing(due.message.content.template)
    return replace(due, message=replace(due.message, content=content, template_only=template_only))


def _with_content(due: DueMessage, content: MessageContent) -> DueMessage:
    return replace(due, message=replace(due.message, content=content))


def _may_go_as(fallback: Mapping[str, object], document: ContentDocument | None) -> bool:
    """Whether a fallback takes the message's document, or the message may go without it."""
    return document is None or document.optional or bool(fallback.get("header"))


def _drop_unreadable(batch: ClaimedBatch, message_id: str, error: Exception) -> None:
    metrics.SET_ASIDE.labels("claim", MessageReason.UNREADABLE.value).inc()
    log.error("message.rejected", message_id=message_id, sentence=describe_failure(error))
    batch.drops.append((message_id, MessageReason.UNREADABLE))


def _is_marketing_paused(due: DueMessage) -> bool:
    """Whether Meta delivers no marketing templates to the country of the person's number, or of their BSUID."""
    address = due.address
    return address is not None and country_of(address.phone, address.bsuid) in MARKETING_PAUSED_IN


def _template_of(due: DueMessage) -> tuple[str, str] | None:
    call = due.message.content.template
    return (call["name"], call["language"]) if call else None
