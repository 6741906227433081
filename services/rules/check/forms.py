"""Forms: every field asked in every language, every option with a label that fits a button."""

import re
from collections.abc import Iterator

from services.rules.check.fields import View
from services.rules.check.guards import present_if
from services.rules.check.scope import Scope
from services.rules.check.templates import TITLE_LIMIT, check_languages
from services.rules.conversation.writes import ACQUISITION_FIELDS
from services.rules.language.faults import Fault
from services.rules.rulebook import FieldWording, Form, FormField, Rule
from shared.contracts.writes import CreateAcquisition, Operation

_SIZE_NOTE = "note: “max_mb” refuses a file whose size is known; WhatsApp seldom says it before the file is fetched"
MOST_OPTIONS = 10
MOST_MB = 100
"""Of a document, by WhatsApp: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media"""
_KIND = re.compile(r"[a-z0-9]{1,8}")
_TAKEN = frozenset(CreateAcquisition.__struct_fields__) - ACQUISITION_FIELDS


def check_form(scope: Scope, form: Form) -> None:
    check_languages(scope, form.languages, form.place, f"the form “{form.name}”")
    if form.record is not Operation.CREATE_ACQUISITION:
        place = scope.loaded.place(form.place.file, "record")
        scope.report.add(place, f"a form records “{Operation.CREATE_ACQUISITION}” and nothing else")
    _check_record(scope, form)
    for field in form.fields:
        _check_field(scope, form, field)
    for language, wordings in form.languages.items():
        _check_language(scope, form, language, dict(wordings))


def size_notes(scope: Scope) -> Iterator[Fault]:
    """``max_mb`` holds only as far as the size of a file is known, which the rule's author must know."""
    for form in scope.book.forms.values():
        for field in form.fields:
            if field.max_mb is not None:
                place = scope.loaded.key(form.place.file, "fields", field.name, "max_mb")
                yield Fault(place, _SIZE_NOTE)


def check_defaults(scope: Scope, rule: Rule, form: Form) -> None:
    """What a form is prefilled with, for the rule that collects it; a default may be absent, and is then asked for."""
    view = View(rule.events, scope.report, sure=present_if(rule.condition))
    for field in form.fields:
        if field.default is not None:
            view.find(field.default.name, field.default.place)


def _check_record(scope: Scope, form: Form) -> None:
    """What is asked reaches the record: it has a title, and no field by a name that the record uses itself."""
    place = scope.loaded.place(form.place.file, "fields")
    title = next((field for field in form.fields if field.name == "title"), None)
    if title is None or not title.required or title.document:
        scope.report.add(place, f"“{form.record}” needs a field “title” with “required: true”")
    files = [field for field in form.fields if field.document]
    for field in files[1:]:
        where = scope.loaded.key(form.place.file, "fields", field.name)
        scope.report.add(where, f"a form has one field for files, and it is “{files[0].name}”")
    for field in form.fields:
        if field.name in _TAKEN:
            where = scope.loaded.key(form.place.file, "fields", field.name)
            scope.report.add(where, f"the record has a “{field.name}” of its own; name the field otherwise")


def _check_field(scope: Scope, form: Form, field: FormField) -> None:
    place = scope.loaded.place(form.place.file, "fields", field.name)
    for sentence in (*_text_faults(field), *_file_faults(field)):
        scope.report.add(place, f"“{field.name}” {sentence}")


def _text_faults(field: FormField) -> Iterator[str]:
    if field.longest is not None and (field.choose or field.document):
        yield "is no text and has no “max”"
    if field.default is not None and (field.choose or field.document):
        yield "is no text and has no “default”"
    if len(field.choose) > MOST_OPTIONS:
        yield f"has {len(field.choose)} options; a list has at most {MOST_OPTIONS}"


def _file_faults(field: FormField) -> Iterator[str]:
    if field.choose and field.document:
        yield "is a choice or a document, not both"
    if field.max_mb is not None and not field.document:
        yield "is no document and has no “max_mb”"
    if field.max_mb is not None and field.max_mb > MOST_MB:
        yield f"takes up to {field.max_mb} MB; WhatsApp brings no file over {MOST_MB} MB"
    for kind in field.document:
        if kind and not _KIND.fullmatch(kind):
            yield f"takes “{kind}”, which is no kind of file; write its extension in small letters, like pdf"


def _check_language(scope: Scope, form: Form, language: str, wordings: dict[str, FieldWording]) -> None:
    place = scope.loaded.place(form.place.file, "languages", language)
    fields = {field.name: field for field in form.fields}
    for name in fields.keys() - wordings.keys():
        scope.report.add(place, f"“{language}” does not ask for “{name}”")
    for name, wording in wordings.items():
        where = scope.loaded.place(form.place.file, "languages", language, name)
        if name not in fields:
            scope.report.unknown(where, f"the form has no field “{name}”", name, fields)
            continue
        if set(wording.options) != set(fields[name].choose):
            said = ", ".join(fields[name].choose) or "none"
            scope.report.add(where, f"“{language}” labels other options than those of “{name}”: {said}")
        for label in wording.options.values():
            if len(label) > TITLE_LIMIT:
                scope.report.add(where, f"“{label}” has {len(label)} characters; a label has at most {TITLE_LIMIT}")
