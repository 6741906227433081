"""Checks of templates and forms: the limits of Meta, the same content in every language, and every parameter known
where the template is used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.rules.rulebook.built_in import ANSWERED, BUILT_IN_TEMPLATES, EVERYWHERE, IN_A_CHAIN, SUMMARY, TAKE
from services.rules.rulebook.faults import FileFault
from services.rules.rulebook.field_validation import FieldScope, ValidationContext, present_if, present_unless
from services.rules.rulebook.model import (
    ACQUISITION_FIELDS,
    PARAMETER,
    AnswerAction,
    FieldText,
    Form,
    FormField,
    Location,
    Notification,
    Rule,
    Step,
    Template,
    TemplateText,
    Verb,
)
from shared.clients.whatsapp_limits import (
    BODY_LENGTH,
    BUTTON_TITLE_LENGTH,
    BUTTONS,
    DOCUMENT_MEGABYTES,
    LIST_ROWS,
    TEMPLATE_NAME,
)
from shared.contracts.writes import CreateAcquisition, WriteOperation


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """``sure`` fields are there although the events may lack them; ``words`` are those beside the house's own."""

    template: str
    location: Location
    events: tuple[str, ...] = ()
    sure: frozenset[str] = frozenset()
    buttons: tuple[str, ...] = ()
    words: frozenset[str] = IN_A_CHAIN


def uses_of(scope: ValidationContext, rule: Rule) -> Iterator[TemplateUse]:
    sure = present_if(rule.condition)
    for step in rule.steps:
        yield from _of_step(scope, rule, step, sure | present_unless(step.unless))
    for until in rule.until:
        if until.tell is not None:
            yield TemplateUse(until.tell.say, until.location, rule.events, sure)


def built_in_uses(scope: ValidationContext) -> Iterator[TemplateUse]:
    """What must be there though no rule says it."""
    for name, house in BUILT_IN_TEMPLATES.items():
        words = house.words | (IN_A_CHAIN if house.chain else frozenset())
        found = scope.book.templates.get(name)
        location = found.location if found else Location(f"{name}.template.yaml", 1, 1)
        yield TemplateUse(name, location, ("message.received",), frozenset({"text"}), house.buttons, words)


def form_uses(scope: ValidationContext, rule: Rule, form: Form, sure: frozenset[str]) -> Iterator[TemplateUse]:
    words = IN_A_CHAIN | {field.name for field in form.fields}
    plain = TemplateUse("", form.location, rule.events, sure, words=words)
    said = {"welcome": (form.welcome, ()), "confirm": (form.confirm, SUMMARY), "done": (form.done, ())}
    for key, (template, buttons) in said.items():
        location = scope.loaded.location(form.location.file, key)
        yield replace(plain, template=template, location=location, buttons=buttons)


def _of_step(scope: ValidationContext, rule: Rule, step: Step, sure: frozenset[str]) -> Iterator[TemplateUse]:
    location = scope.location(rule, "steps", step.index, "say")
    said = TemplateUse(step.say or "", location, rule.events, sure)
    yield from _by_verb(rule, step, said)
    for answer in step.answers.values():
        at = replace(said, location=scope.location(rule, "steps", step.index, "answers", answer.name, "say"))
        yield from _of_answer(answer, at)
    for name in begun_by(step):
        if (form := scope.book.forms.get(name)) is not None:
            yield from form_uses(scope, rule, form, sure)


def _by_verb(rule: Rule, step: Step, said: TemplateUse) -> Iterator[TemplateUse]:
    match step.verb:
        case Verb.TELL:
            yield said
        case Verb.ASK:
            yield replace(said, buttons=tuple(step.answers))
        case Verb.REMIND:
            yield replace(said, buttons=reminded(rule, step))
        case Verb.HAND_OVER:
            yield replace(said, template=step.say or "to_take", buttons=TAKE, words=_taking(step.say))
        case Verb.RECORD | Verb.GIVE_UP | Verb.COLLECT:
            yield from _of_tell(step.tell, said)


def _of_tell(tell: Notification | None, said: TemplateUse) -> Iterator[TemplateUse]:
    if tell is not None:
        yield replace(said, template=tell.say)


def _of_answer(answer: AnswerAction, said: TemplateUse) -> Iterator[TemplateUse]:
    yield from _of_tell(answer.tell, said)
    if answer.hand_over is not None:
        say = answer.hand_over.say
        yield replace(said, template=say or "to_take", buttons=TAKE, words=IN_A_CHAIN | ANSWERED)


def _taking(say: str | None) -> frozenset[str]:
    return IN_A_CHAIN if say else IN_A_CHAIN | ANSWERED


def begun_by(step: Step) -> Iterator[str]:
    """Forms begun by the step itself or by an answer to it."""
    yield from (name for name in (step.form, *(answer.form for answer in step.answers.values())) if name)


def reminded(rule: Rule, step: Step) -> tuple[str, ...]:
    """The answers of the question a reminder repeats: the last one asked before it; none where a form is collected."""
    before = [each for each in rule.steps if each.index < step.index and each.verb in (Verb.ASK, Verb.COLLECT)]
    return tuple(before[-1].answers) if before else ()


_BRACES = re.compile(r"\{[^{}]*\}|[{}]")
_SIDE_BY_SIDE = re.compile(r"\}\s*\{")


def check_template(scope: ValidationContext, template: Template) -> None:
    if not TEMPLATE_NAME.fullmatch(template.name or "unnamed"):
        scope.report.add(template.location, f"“{template.name}”: Meta takes small letters, digits and underscores only")
    for language, wording in template.languages.items():
        _check_wording(scope, template, language, wording)
    _check_alike(scope, template)
    _check_said(scope, template)
    check_languages(scope, template.languages, template.location, f"the template “{template.name}”")


def check_languages(scope: ValidationContext, languages: object, location: Location, what: str) -> None:
    """Everybody can be written to in the house's language, so everything is said in it."""
    house = scope.book.tenant.language
    if house and isinstance(languages, dict) and house not in languages:
        scope.report.add(location, f"{what} is not said in “{house}”, the language of the house")


def _check_wording(scope: ValidationContext, template: Template, language: str, wording: TemplateText) -> None:
    location = _location(scope, template, language, "body")
    for sentence in _body_faults(wording.body):
        scope.report.add(location, sentence)
    buttons = _location(scope, template, language, "buttons")
    if len(wording.buttons) > BUTTONS:
        scope.report.add(buttons, f"a message has at most {BUTTONS} buttons")
    if len(set(wording.buttons.values())) < len(wording.buttons):
        scope.report.add(buttons, "two buttons read the same")
    for answer, title in wording.buttons.items():
        if len(title) > BUTTON_TITLE_LENGTH:
            where = _location(scope, template, language, "buttons", answer)
            scope.report.add(
                where, f"“{title}” has {len(title)} characters; a button has at most {BUTTON_TITLE_LENGTH}"
            )


def _body_faults(body: str) -> list[str]:
    if len(body) > BODY_LENGTH:
        return [f"the body has {len(body)} characters; Meta takes {BODY_LENGTH}"]
    faults = [f"“{found}” is no parameter; one looks like {{title}}" for found in _ill_formed(body)]
    if body.startswith("{"):
        faults.append("the body begins with a parameter; Meta wants a word before it")
    if body.endswith("}"):
        faults.append("the body ends with a parameter; Meta wants a word after it")
    if _SIDE_BY_SIDE.search(body):
        faults.append("two parameters stand side by side; Meta wants a word between them")
    return faults


def _ill_formed(body: str) -> list[str]:
    return [found for found in _BRACES.findall(body) if not PARAMETER.fullmatch(found)]


def _check_alike(scope: ValidationContext, template: Template) -> None:
    """Languages have the same parameters and the same buttons as the first."""
    languages = iter(template.languages.items())
    first, model = next(languages, ("", TemplateText("", {})))
    for language, wording in languages:
        if odd := _parameters(wording) ^ _parameters(model):
            location = _location(scope, template, language, "body")
            scope.report.add(location, f"“{language}” and “{first}” differ in {_braced(odd)}")
        if list(wording.buttons) != list(model.buttons):
            location = _location(scope, template, language, "buttons")
            scope.report.add(location, f"“{language}” and “{first}” differ in their buttons, or in the order of them")


def _check_said(scope: ValidationContext, template: Template) -> None:
    said = {name for wording in template.languages.values() for name in _parameters(wording)}
    for name in template.fields.keys() - said:
        scope.report.add(scope.loaded.key(template.location.file, "fields", name), f"“{name}” is said in no language")


def check_use(scope: ValidationContext, use: TemplateUse) -> None:
    """A template where it is said: it exists, offers these buttons, and can name what it names."""
    if not use.template:
        return
    template = scope.book.templates.get(use.template)
    if template is None:
        if use.template not in scope.templates():
            names = scope.templates()
            scope.report.unknown(use.location, f"there is no template “{use.template}”", use.template, names)
        return
    _check_buttons(scope, use, template)
    _check_parameters(scope, use, template)
    view = FieldScope(use.events, scope.report, sure=use.sure)
    for name, path in template.fields.items():
        if view.find(path, _location(scope, template, name, root="fields")) is not None:
            view.lean_on(path, use.location, f"“{template.name}” says it")


def _check_buttons(scope: ValidationContext, use: TemplateUse, template: Template) -> None:
    offered = next((tuple(wording.buttons) for wording in template.languages.values()), ())
    if set(offered) != set(use.buttons):
        has = f"has the buttons {', '.join(offered)}" if offered else "has no buttons"
        wants = f"it needs {', '.join(use.buttons)}" if use.buttons else "nothing answers to them"
        scope.report.add(use.location, f"“{template.name}” {has}; here {wants}")


def _check_parameters(scope: ValidationContext, use: TemplateUse, template: Template) -> None:
    links = {f"link_{name}" for name in scope.book.tenant.links}
    known = EVERYWHERE | use.words | links | template.fields.keys()
    for language, wording in template.languages.items():
        for name in sorted(_parameters(wording) - known):
            if name in special_words(scope):
                scope.report.add(use.location, f"“{template.name}” says {{{name}}}, which is not known here")
            else:
                location = _location(scope, template, language, "body")
                said = f"{{{name}}} is no field of the template and no word of the house"
                scope.report.unknown(location, said, name, known)


def special_words(scope: ValidationContext) -> frozenset[str]:
    """Words of some templates, known only where those are said."""
    asked = frozenset(field.name for form in scope.book.forms.values() for field in form.fields)
    return asked.union(*(house.words for house in BUILT_IN_TEMPLATES.values()))


def _parameters(wording: TemplateText) -> frozenset[str]:
    return frozenset(PARAMETER.findall(wording.body))


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _location(scope: ValidationContext, template: Template, *path: str, root: str = "languages") -> Location:
    return scope.loaded.location(template.location.file, root, *path)


_SIZE_NOTE = "note: “max_mb” refuses a file whose size is known; WhatsApp seldom says it before the file is fetched"
_KIND = re.compile(r"[a-z0-9]{1,8}")
_TAKEN = frozenset(CreateAcquisition.__struct_fields__) - ACQUISITION_FIELDS


def check_form(scope: ValidationContext, form: Form) -> None:
    check_languages(scope, form.languages, form.location, f"the form “{form.name}”")
    if form.record is not WriteOperation.CREATE_ACQUISITION:
        location = scope.loaded.location(form.location.file, "record")
        scope.report.add(location, f"a form records “{WriteOperation.CREATE_ACQUISITION}” and nothing else")
    _check_record(scope, form)
    for field in form.fields:
        _check_field(scope, form, field)
    for language, wordings in form.languages.items():
        _check_language(scope, form, language, dict(wordings))


def size_notes(scope: ValidationContext) -> Iterator[FileFault]:
    """``max_mb`` holds only as far as the size of a file is known, which the rule's author must know."""
    for form in scope.book.forms.values():
        for field in form.fields:
            if field.max_mb is not None:
                location = scope.loaded.key(form.location.file, "fields", field.name, "max_mb")
                yield FileFault(location, _SIZE_NOTE)


def check_defaults(scope: ValidationContext, rule: Rule, form: Form) -> None:
    """What a form is prefilled with, for the rule that collects it; a default may be absent, and is then asked for."""
    view = FieldScope(rule.events, scope.report, sure=present_if(rule.condition))
    for field in form.fields:
        if field.default is not None:
            view.find(field.default.name, field.default.location)


def _check_record(scope: ValidationContext, form: Form) -> None:
    """What is asked reaches the record: it has a title, and no field by a name that the record uses itself."""
    location = scope.loaded.location(form.location.file, "fields")
    title = next((field for field in form.fields if field.name == "title"), None)
    if title is None or not title.required or title.document:
        scope.report.add(location, f"“{form.record}” needs a field “title” with “required: true”")
    files = [field for field in form.fields if field.document]
    for field in files[1:]:
        where = scope.loaded.key(form.location.file, "fields", field.name)
        scope.report.add(where, f"a form has one field for files, and it is “{files[0].name}”")
    for field in form.fields:
        if field.name in _TAKEN:
            where = scope.loaded.key(form.location.file, "fields", field.name)
            scope.report.add(where, f"the record has a “{field.name}” of its own; name the field otherwise")


def _check_field(scope: ValidationContext, form: Form, field: FormField) -> None:
    location = scope.loaded.location(form.location.file, "fields", field.name)
    for sentence in (*_text_faults(field), *_file_faults(field)):
        scope.report.add(location, f"“{field.name}” {sentence}")


def _text_faults(field: FormField) -> Iterator[str]:
    if field.longest is not None and (field.choose or field.document):
        yield "is no text and has no “max”"
    if field.default is not None and (field.choose or field.document):
        yield "is no text and has no “default”"
    if len(field.choose) > LIST_ROWS:
        yield f"has {len(field.choose)} options; a list has at most {LIST_ROWS}"


def _file_faults(field: FormField) -> Iterator[str]:
    if field.choose and field.document:
        yield "is a choice or a document, not both"
    if field.max_mb is not None and not field.document:
        yield "is no document and has no “max_mb”"
    if field.max_mb is not None and field.max_mb > DOCUMENT_MEGABYTES:
        yield f"takes up to {field.max_mb} MB; WhatsApp brings no file over {DOCUMENT_MEGABYTES} MB"
    for kind in field.document:
        if kind and not _KIND.fullmatch(kind):
            yield f"takes “{kind}”, which is no kind of file; write its extension in small letters, like pdf"


def _check_language(scope: ValidationContext, form: Form, language: str, wordings: dict[str, FieldText]) -> None:
    location = scope.loaded.location(form.location.file, "languages", language)
    fields = {field.name: field for field in form.fields}
    for name in fields.keys() - wordings.keys():
        scope.report.add(location, f"“{language}” does not ask for “{name}”")
    for name, wording in wordings.items():
        where = scope.loaded.location(form.location.file, "languages", language, name)
        if name not in fields:
            scope.report.unknown(where, f"the form has no field “{name}”", name, fields)
            continue
        if set(wording.options) != set(fields[name].choose):
            said = ", ".join(fields[name].choose) or "none"
            scope.report.add(where, f"“{language}” labels other options than those of “{name}”: {said}")
        for label in wording.options.values():
            if len(label) > BUTTON_TITLE_LENGTH:
                scope.report.add(
                    where, f"“{label}” has {len(label)} characters; a label has at most {BUTTON_TITLE_LENGTH}"
                )
