"""Forms: every field asked in every language, every option with a label that fits a button."""

from services.rules.check.fields import View
from services.rules.check.guards import present_if
from services.rules.check.scope import Scope
from services.rules.check.templates import TITLE_LIMIT, check_languages
from services.rules.rulebook import FieldWording, Form, FormField, Rule
from shared.events.writes import Operation

MOST_OPTIONS = 10


def check_form(scope: Scope, form: Form) -> None:
    check_languages(scope, form.languages, form.place, f"the form “{form.name}”")
    if form.record is not Operation.CREATE_ACQUISITION:
        place = scope.loaded.place(form.place.file, "record")
        scope.report.add(place, f"a form records “{Operation.CREATE_ACQUISITION}” and nothing else")
    for field in form.fields:
        _check_field(scope, form, field)
    for language, wordings in form.languages.items():
        _check_language(scope, form, language, dict(wordings))


def check_defaults(scope: Scope, rule: Rule, form: Form) -> None:
    """What a form is prefilled with, for the rule that collects it; a default may be absent, and is then asked for."""
    view = View(rule.events, scope.report, sure=present_if(rule.condition))
    for field in form.fields:
        if field.default is not None:
            view.find(field.default.name, field.default.place)


def _check_field(scope: Scope, form: Form, field: FormField) -> None:
    place = scope.loaded.place(form.place.file, "fields", field.name)
    if field.choose and field.document:
        scope.report.add(place, f"“{field.name}” is a choice or a document, not both")
    if field.max_mb is not None and not field.document:
        scope.report.add(place, f"“{field.name}” is no document and has no “max_mb”")
    if len(field.choose) > MOST_OPTIONS:
        scope.report.add(place, f"“{field.name}” has {len(field.choose)} options; a list has at most {MOST_OPTIONS}")


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
