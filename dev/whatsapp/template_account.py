"""The templates of the business account as Meta keeps them: created, reviewed, edited, paused, moved and deleted.

Meta's rules (docs/reference/whatsapp.md and Meta's pages on templates): a review takes time and may reject with a
reason; an approved template takes one edit a day and ten in thirty days; a bad quality pauses it for three hours, then
for six, then disables it; Meta may move it to another category. Each change is posted to the webhook.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict

from dev.whatsapp.chance import Chance
from dev.whatsapp.graph_errors import GraphError
from dev.whatsapp.network import Schedule, WebhookQueue
from dev.whatsapp.resumable_uploads import ResumableUploads
from dev.whatsapp.templates import ButtonKind, RegisteredTemplate, TemplateButton, TemplateRegistry, TemplateStatus
from dev.whatsapp.webhook_payloads import AccountUpdate
from shared.clients.whatsapp_limits import BODY_LENGTH, TEMPLATE_NAME
from shared.contracts.values import JsonObject
from shared.runtime.clock import Clock

_EDITS_A_DAY, _EDITS_A_MONTH = 1, 10
_CREATIONS_AN_HOUR = 100
_PAUSES = (timedelta(hours=3), timedelta(hours=6))
_PAUSE_TITLES = ("FIRST_PAUSE", "SECOND_PAUSE")
_BUTTON_TEXT_LENGTH, _MOST_BUTTONS, _NAME_LENGTH = 25, 10, 512
_CATEGORIES = frozenset({"UTILITY", "MARKETING", "AUTHENTICATION"})
_EDITABLE = frozenset({TemplateStatus.APPROVED, TemplateStatus.REJECTED, TemplateStatus.PAUSED})
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_ENDS = re.compile(r"^[\W_]*\{\{|\}\}[\W_]*$")

# subcodes beside code 100
DUPLICATE, TOO_MANY_PARAMETERS, PARAMETER_AT_END, NO_EXAMPLE = 2388024, 2388293, 2388299, 2388043
NO_HEADER_EXAMPLE = 2388273

RATE_LIMITED = 80008
"""Meta's code for too many calls of the management API on one account."""


class ReviewOutcome(BaseModel):
    """The result of the next review of a template: by the control API; without one it is approved."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    language: str | None = None
    rejected: str | None = None  # Meta's reason, such as INVALID_FORMAT
    category: str | None = None  # the one that Meta finds right


class TemplateChange(BaseModel):
    """A change that Meta makes by itself, by the control API. A quality of RED pauses, and at last disables."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    language: str
    status: TemplateStatus | None = None
    reason: str | None = None
    category: str | None = None
    quality: str | None = None


@dataclass(slots=True)
class TemplateRecord:
    """The state of a template beside its definition; instants are business time."""

    id: str
    components: list[JsonObject]
    previous_category: str | None = None
    quality: str = "UNKNOWN"
    rejected: str | None = None
    pauses: int = 0
    edits: list[datetime] = field(default_factory=list)


class TemplateAccount:
    """``review`` is how long a review takes (business time)."""

    def __init__(
        self,
        registry: TemplateRegistry,
        clock: Clock,
        chance: Chance,
        schedule: Schedule,
        wire: WebhookQueue,
        review: timedelta,
    ) -> None:
        self.registry = registry
        self.uploads = ResumableUploads(chance)
        self.review = review
        self.outcomes: list[ReviewOutcome] = []
        self._clock = clock
        self._chance = chance
        self._schedule = schedule
        self._wire = wire
        self._records: dict[tuple[str, str], TemplateRecord] = {}
        self._created: list[datetime] = []
        self._updates = count()

    def listed(self) -> list[JsonObject]:
        """Every template as the list of the account shows it, by name and language."""
        return [self._entry(template) for template in self.registry.all()]

    def create(self, body: object) -> JsonObject:
        """Raises GraphError where Meta would refuse it."""
        now = self._clock.now()
        self._created = [at for at in self._created if at > now - timedelta(hours=1)]
        if len(self._created) >= _CREATIONS_AN_HOUR:
            raise GraphError(RATE_LIMITED, "too many templates were created within an hour")
        template, components = _read(body, self.uploads)
        if self.registry.get(template.name, template.language) is not None:
            raise GraphError(100, "Content in this language already exists", subcode=DUPLICATE)
        self._created.append(now)
        self.registry.add(template)
        record = self._record(template)
        record.components = components
        self._begin_review(template)
        return {"id": record.id, "status": "PENDING", "category": template.category.upper()}

    def edit(self, template_id: str, body: object) -> JsonObject:
        """Raises GraphError where Meta would refuse the edit, or counts too many."""
        template, record = self._found(template_id)
        if not isinstance(body, dict) or not body.keys() & {"components", "category"}:
            raise GraphError(100, "an edit has components or a category")
        if template.status not in _EDITABLE:
            raise GraphError(100, f"a template that is {template.status} cannot be edited")
        if template.status is TemplateStatus.APPROVED:
            self._count_edit(record, body)
        whole = {
            "name": template.name,
            "language": template.language,
            "category": template.category.upper(),
            "parameter_format": "POSITIONAL" if template.parameters and template.positional else "NAMED",
            "components": record.components,
            **body,
        }
        edited, record.components = _read(whole, self.uploads)
        self.registry.add(edited)
        record.rejected = None
        self._begin_review(edited)
        return {"success": True}

    def delete(self, name: str) -> JsonObject:
        """Delete a template in every language. Raises GraphError where none has the name."""
        found = [template for template in self.registry.all() if template.name == name]
        if not found:
            raise GraphError(100, f"there is no template {name}")
        for template in found:
            self.registry.remove(template)
            self._post_status(template, "DELETED", None)
            self._records.pop((template.name, template.language), None)
        return {"success": True}

    def unpause(self, template_id: str) -> JsonObject:
        template, _ = self._found(template_id)
        if template.status is not TemplateStatus.PAUSED:
            raise GraphError(100, "this template is not paused")
        self._set_status(template, TemplateStatus.APPROVED, None, {"title": "UNPAUSE"})
        return {"success": True}

    def change(self, change: TemplateChange) -> None:
        """Raises GraphError where there is no such template."""
        template = self.registry.get(change.name, change.language)
        if template is None:
            raise GraphError(100, f"there is no template {change.name} in {change.language}")
        if change.quality is not None:
            self._set_quality(template, change.quality)
        if change.category is not None:
            self._set_category(template, change.category)
        if change.status is not None:
            self._set_status(self._current(template), change.status, change.reason, None)

    # ------------------------------------------------------------------ internals

    def _count_edit(self, record: TemplateRecord, body: Mapping[str, Any]) -> None:
        if "category" in body:
            raise GraphError(100, "the category of an approved template cannot be edited")
        now = self._clock.now()
        record.edits = [at for at in record.edits if at > now - timedelta(days=30)]
        today = [at for at in record.edits if at > now - timedelta(days=1)]
        if len(today) >= _EDITS_A_DAY or len(record.edits) >= _EDITS_A_MONTH:
            raise GraphError(
                100, "an approved template can be edited once in 24 hours and ten times in 30 days", subcode=2388025
            )
        record.edits.append(now)

    def _begin_review(self, template: RegisteredTemplate) -> None:
        self.registry.add(template.model_copy(update={"status": TemplateStatus.PENDING}))
        self._schedule.add(self._clock.now() + self.review, lambda: self._end_review(template))

    def _end_review(self, template: RegisteredTemplate) -> None:
        current = self.registry.get(template.name, template.language)
        if current is None or current.status is not TemplateStatus.PENDING:
            return
        outcome = next((each for each in self.outcomes if _concerns(each, template)), None)
        if outcome is not None:
            self.outcomes.remove(outcome)
        if outcome is not None and outcome.category is not None:
            self._set_category(current, outcome.category)
        status = TemplateStatus.REJECTED if outcome is not None and outcome.rejected else TemplateStatus.APPROVED
        self._set_status(self._current(current), status, outcome.rejected if outcome else None, None)

    def _set_quality(self, template: RegisteredTemplate, quality: str) -> None:
        record = self._record(template)
        before, record.quality = record.quality, quality
        self._post(
            "message_template_quality_update", template, previous_quality_score=before, new_quality_score=quality
        )
        if quality != "RED" or template.status is not TemplateStatus.APPROVED:
            return
        if record.pauses < len(_PAUSES):
            wait, title = _PAUSES[record.pauses], _PAUSE_TITLES[record.pauses]
            record.pauses += 1
            details = {"title": title, "description": f"it is paused for {wait}"}
            self._set_status(template, TemplateStatus.PAUSED, None, details)
            self._schedule.add(self._clock.now() + wait, lambda: self._end_pause(template))
        else:
            self._set_status(template, TemplateStatus.DISABLED, None, {"title": "DISABLED"})

    def _end_pause(self, template: RegisteredTemplate) -> None:
        current = self.registry.get(template.name, template.language)
        if current is not None and current.status is TemplateStatus.PAUSED:
            self._set_status(current, TemplateStatus.APPROVED, None, {"title": "UNPAUSE"})

    def _set_category(self, template: RegisteredTemplate, category: str) -> None:
        before, after = template.category.upper(), category.upper()
        if before == after:
            return
        self._record(template).previous_category = before
        self.registry.add(template.model_copy(update={"category": category.lower()}))
        self._post("template_category_update", template, previous_category=before, new_category=after)

    def _set_status(
        self, template: RegisteredTemplate, status: TemplateStatus, reason: str | None, details: JsonObject | None
    ) -> None:
        self._record(template).rejected = reason if status is TemplateStatus.REJECTED else None
        self.registry.add(template.model_copy(update={"status": status}))
        self._post_status(template, status.value, reason, details)

    def _post_status(
        self, template: RegisteredTemplate, event: str, reason: str | None, details: JsonObject | None = None
    ) -> None:
        more = {"other_info": details} if details else {}
        self._post("message_template_status_update", template, event=event, reason=reason or "NONE", **more)

    def _post(self, subject: str, template: RegisteredTemplate, **more: Any) -> None:
        value = {
            **more,
            "message_template_id": int(self._record(template).id),  # a JSON number
            "message_template_name": template.name,
            "message_template_language": template.language,
        }
        name = f"template-{next(self._updates)}"
        self._wire.put(AccountUpdate(name, subject, value, self._clock.now()))

    def _current(self, template: RegisteredTemplate) -> RegisteredTemplate:
        return self.registry.get(template.name, template.language) or template

    def _found(self, template_id: str) -> tuple[RegisteredTemplate, TemplateRecord]:
        for template in self.registry.all():
            record = self._record(template)
            if record.id == template_id:
                return template, record
        raise GraphError(100, f"object {template_id} does not exist or may not be used", subcode=33)

    def _record(self, template: RegisteredTemplate) -> TemplateRecord:
        key = (template.name, template.language)
        if key not in self._records:
            self._records[key] = TemplateRecord(self._chance.whole(16, "template", *key), _components(template))
        return self._records[key]

    def _entry(self, template: RegisteredTemplate) -> JsonObject:
        record = self._record(template)
        positional = bool(template.parameters) and template.positional
        return {
            "name": template.name,
            "parameter_format": "POSITIONAL" if positional else "NAMED",
            "components": record.components,
            "language": template.language,
            "status": template.status.value,
            "category": template.category.upper(),
            **({"previous_category": record.previous_category} if record.previous_category else {}),
            "quality_score": {"score": record.quality},
            "rejected_reason": record.rejected or "NONE",
            "id": record.id,
        }


def _concerns(outcome: ReviewOutcome, template: RegisteredTemplate) -> bool:
    return outcome.name == template.name and outcome.language in {None, template.language}


def _components(template: RegisteredTemplate) -> list[JsonObject]:
    """The components of a template that was registered through the control API."""
    if template.body is None:
        return []
    body: JsonObject = {"type": "BODY", "text": re.sub(r"\{\{?\s*(\w+)\s*\}?\}", r"{{\1}}", template.body)}
    if template.parameters and not template.positional:
        named = [{"param_name": name, "example": name} for name in template.parameters]
        body["example"] = {"body_text_named_params": named}
    buttons = [{"type": button.type.value.upper(), "text": button.text} for button in template.buttons]
    header = [{"type": "HEADER", "format": template.header.upper()}] if template.header else []
    return [*header, body, *([{"type": "BUTTONS", "buttons": buttons}] if buttons else [])]


def _read(body: object, uploads: ResumableUploads) -> tuple[RegisteredTemplate, list[JsonObject]]:
    """A template to create; raises GraphError for what Meta refuses at once."""
    if not isinstance(body, dict):
        raise GraphError(100, "the body is not a JSON object")
    name, language, category = (str(body.get(key) or "") for key in ("name", "language", "category"))
    if not TEMPLATE_NAME.fullmatch(name) or len(name) > _NAME_LENGTH:
        raise GraphError(100, "name: small letters, digits and underscores, at most 512")
    if not re.fullmatch(r"[a-z]{2,3}(_[A-Z]{2,3})?", language):
        raise GraphError(100, f"language: {language} is not supported")
    if category.upper() not in _CATEGORIES:
        raise GraphError(100, "category: one of AUTHENTICATION, MARKETING, UTILITY")
    components = body.get("components")
    if not isinstance(components, list) or not all(isinstance(each, dict) for each in components):
        raise GraphError(100, "components: a list of objects")
    text, parameters = _read_body(components, named=str(body.get("parameter_format", "")).upper() == "NAMED")
    template = RegisteredTemplate(
        name=name,
        language=language,
        category=category.lower(),
        body=text,
        parameters=parameters,
        buttons=_read_buttons(components),
        header=_read_header(components, uploads),
        status=TemplateStatus.PENDING,
    )
    return template, components


def _read_header(components: list[JsonObject], uploads: ResumableUploads) -> str | None:
    """A header of a file needs an example: the handle of a resumable upload."""
    headers = [each for each in components if str(each.get("type")).upper() == "HEADER"]
    if not headers:
        return None
    if str(headers[0].get("format")).upper() != "DOCUMENT":
        raise GraphError(100, "headers other than DOCUMENT are not simulated")
    example = headers[0].get("example")
    handles = example.get("header_handle") if isinstance(example, dict) else None
    if not isinstance(handles, list) or not handles or not uploads.has(handles[0]):
        raise GraphError(100, "a header of a document needs an example: header_handle", subcode=NO_HEADER_EXAMPLE)
    return "document"


def _read_body(components: list[JsonObject], *, named: bool) -> tuple[str, tuple[str, ...]]:
    bodies = [each for each in components if str(each.get("type")).upper() == "BODY"]
    text = bodies[0].get("text") if len(bodies) == 1 else None
    if not isinstance(text, str) or not 0 < len(text) <= BODY_LENGTH:
        raise GraphError(100, f"one BODY component with a text of at most {BODY_LENGTH} characters is needed")
    places = tuple(dict.fromkeys(_PLACE.findall(text)))
    if _ENDS.search(text.strip()):
        raise GraphError(100, "variables can't be at the start or end of the template", subcode=PARAMETER_AT_END)
    if len(_PLACE.sub(" ", text).split()) < 2 * len(places):
        raise GraphError(100, "too many variables for the length of the text", subcode=TOO_MANY_PARAMETERS)
    if named and (places and set(_examples(bodies[0])) != set(places)):
        raise GraphError(100, "each named parameter needs an example", subcode=NO_EXAMPLE)
    if not named and any(not place.isdecimal() for place in places):
        raise GraphError(100, "parameter_format: names need NAMED")
    return text, places


def _examples(body: JsonObject) -> list[str]:
    example = body.get("example")
    given = example.get("body_text_named_params") if isinstance(example, dict) else None
    return [str(each.get("param_name")) for each in given or [] if isinstance(each, dict) and each.get("example")]


def _read_buttons(components: list[JsonObject]) -> tuple[TemplateButton, ...]:
    buttons = [b for each in components if str(each.get("type")).upper() == "BUTTONS" for b in each.get("buttons", [])]
    if len(buttons) > _MOST_BUTTONS:
        raise GraphError(100, f"a template has at most {_MOST_BUTTONS} buttons")
    for button in buttons:
        if not 0 < len(str(button.get("text", ""))) <= _BUTTON_TEXT_LENGTH:
            raise GraphError(100, f"the text of a button has 1 to {_BUTTON_TEXT_LENGTH} characters")
    return tuple(
        TemplateButton(type=ButtonKind(str(button["type"]).lower()), text=button["text"], url=button.get("url"))
        for button in buttons
    )
