"""Checks of forms: questions and labels in every language, the kinds of values, and the record that a form makes."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from services.rules.rulebook.built_in import TYPED_FIELDS
from services.rules.rulebook.catalogue import EVENTS, MESSAGE_RECEIVED, resolve
from services.rules.rulebook.codes import is_language
from services.rules.rulebook.faults import TYPOGRAPHIC_QUOTES, FileFault, nearest_word
from services.rules.rulebook.field_validation import FieldScope, present_if
from services.rules.rulebook.model import (
    ACQUISITION_FIELDS,
    FieldKind,
    FieldText,
    Form,
    FormField,
    Location,
    Rule,
    Step,
)
from services.rules.rulebook.template_validation import check_languages
from services.rules.rulebook.validation_context import ValidationContext
from shared.clients.file_types import KEPT_EXTENSIONS
from shared.clients.whatsapp_limits import BODY_LENGTH, BUTTON_TITLE_LENGTH, DOCUMENT_MEGABYTES, LIST_ROWS, TEXT_LENGTH
from shared.contracts.writes import CreateAcquisition, WriteOperation

_SIZE_NOTE = "“max_mb” is judged when the size is known; WhatsApp seldom says it before the file is fetched"
_OPTION = re.compile(r"[a-z0-9][a-z0-9_]*")
_KIND = re.compile(r"[a-z0-9]{1,8}")
_TAKEN = frozenset(CreateAcquisition.__struct_fields__) - ACQUISITION_FIELDS


def check_form(context: ValidationContext, form: Form) -> None:
    check_languages(context, form.languages, form.location, f"the form “{form.name}”")
    if form.record is not WriteOperation.CREATE_ACQUISITION:
        location = context.loaded.location(form.location.file, "record")
        context.report.add(location, f"a form records “{WriteOperation.CREATE_ACQUISITION}” and nothing else")
    _check_record(context, form)
    for field in form.fields:
        _check_field(context, form, field)
    for language, texts in form.languages.items():
        _check_language(context, form, language, dict(texts))


def size_notes(context: ValidationContext) -> Iterator[FileFault]:
    """A warning for the author: ``max_mb`` has an effect only where the size of a file is known."""
    for form in context.book.forms.values():
        for field in form.fields:
            if field.max_mb is not None:
                location = context.loaded.key_location(form.location.file, "fields", field.name, "max_mb")
                yield FileFault(location, _SIZE_NOTE)


def check_defaults(context: ValidationContext, rule: Rule, step: Step, form: Form) -> None:
    """The defaults of a form are fields of the rule that collects it. An absent default is asked for."""
    is_of_step = step.form == form.name
    is_known = rule.events and EVENTS.keys() >= set(rule.events)
    if not is_known or (is_of_step and MESSAGE_RECEIVED not in rule.events):
        return  # that the event is missing or not known, or that a form begins with a message, is reported
    defaults = [field.default for field in form.fields if field.default is not None]
    of_messages = [each.name for each in defaults if resolve((MESSAGE_RECEIVED,), each.name) is not None]
    lacking = [name for name in of_messages if resolve(rule.events, name) is None]
    if lacking and MESSAGE_RECEIVED not in rule.events:
        names, events = ", ".join(f"“{name}”" for name in lacking), " and ".join(rule.events)
        sentence = f"the form “{form.name}” has defaults of a person’s message ({names}), and {events} is none"
        context.report.add(step.location, f"{sentence}; let an answer begin a form without them")
        return
    scope = FieldScope(rule.events, context.report, present=present_if(rule.condition))
    for default in defaults:
        scope.find(default.name, default.location)


def _check_record(context: ValidationContext, form: Form) -> None:
    """The record can take the form: it has a title, and no field with a name that the record uses itself."""
    location = context.loaded.location(form.location.file, "fields")
    title = next((field for field in form.fields if field.name == "title"), None)
    is_read = context.loaded.is_mapping(form.location.file, "fields")
    title_at = context.loaded.location(form.location.file, "fields", "title")
    if context.report.has_fault_on(title_at) or (title is None and _is_asked_for(form, "title")):
        is_read = False
    if is_read and (title is None or not title.required or title.document):
        at = location if title is None else title_at
        context.report.add(at, f"“{form.record}” needs a field “title” with “required: true”")
    files = [field for field in form.fields if field.document]
    for field in files[1:]:
        where = context.loaded.key_location(form.location.file, "fields", field.name)
        context.report.add(where, f"a form has one field for files, and it is “{files[0].name}”")
    for field in form.fields:
        if field.name in _TAKEN:
            where = context.loaded.key_location(form.location.file, "fields", field.name)
            context.report.add(where, f"the record has a “{field.name}” of its own; name the field otherwise")


def _is_asked_for(form: Form, name: str) -> bool:
    """Whether a language asks for it: that there is no such field is reported there."""
    return any(name in texts for texts in form.languages.values())


def _check_field(context: ValidationContext, form: Form, field: FormField) -> None:
    faults = (*_kind_faults(field), *_text_faults(field), *_choice_faults(field), *_file_faults(field))
    for sentence, path in faults:
        location = context.loaded.location(form.location.file, "fields", field.name, *path)
        context.report.add(location, f"“{field.name}” {sentence}")
    if field.longest is not None and field.longest > TEXT_LENGTH and field.kind is FieldKind.TEXT:
        location = context.loaded.location(form.location.file, "fields", field.name, "max")
        sentence = f"takes up to {field.longest} characters; a text from WhatsApp has at most {TEXT_LENGTH}"
        context.report.refuse(location, f"“{field.name}” {sentence}")


_Fault = tuple[str, tuple[str | int, ...]]
"""A sentence without its subject, and the path to the place within the field."""


def _kind_faults(field: FormField) -> Iterator[_Fault]:
    if field.kind is FieldKind.CHOICE and not field.choose:
        yield "is a choice and offers nothing; say “choose: [one, other]”", ()
    if field.kind is FieldKind.DOCUMENT and not field.document:
        yield "is a document of no kind; say “document: [pdf]”", ()
    for options, kind in ((field.choose, FieldKind.CHOICE), (field.document, FieldKind.DOCUMENT)):
        if options and not (field.choose and field.document) and field.kind is not kind:
            yield f"is a {kind}, and has the type “{field.kind}”", ("type",)
    if field.longest is not None and field.kind in TYPED_FIELDS:
        yield f"has the type “{field.kind}” and no “max”: its length is checked with it", ("max",)


def _text_faults(field: FormField) -> Iterator[_Fault]:
    if field.longest is not None and (field.choose or field.document):
        yield "is no text and has no “max”", ("max",)
    if field.default is not None and (field.choose or field.document):
        yield "is no text and has no “default”", ("default",)


def _in_plain_letters(word: str) -> str:
    """``Erzählung`` as ``Erzaehlung``, ``poésie`` as ``poesie``."""
    spelled = word.translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"})
    return "".join(each for each in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(each))


def _choice_faults(field: FormField) -> Iterator[_Fault]:
    for index, option in enumerate(field.choose):
        if option and not _OPTION.fullmatch(option):
            plain = option.strip(TYPOGRAPHIC_QUOTES + " ")
            name = re.sub(r"\W+", "_", _in_plain_letters(plain)).lower()
            how = "; typographic quotes count as letters" if plain != option.strip() else ""
            meant = f"like {name}; languages say it{how}"
            yield f"has an option “{option}”: its name has small letters, digits and _, {meant}", ("choose", index)
    twice = next((n for n, option in enumerate(field.choose) if option in field.choose[:n]), None)
    if twice is not None:
        yield "names an option twice", ("choose", twice)
    elif len(field.choose) == 1 and _OPTION.fullmatch(field.choose[0]):
        yield "offers one option, and nothing to choose", ("choose", 0)
    if len(field.choose) > LIST_ROWS:
        yield f"has {len(field.choose)} options; a list has at most {LIST_ROWS}", ("choose",)


def _file_faults(field: FormField) -> Iterator[_Fault]:
    if field.choose and field.document:
        yield "is a choice or a document, not both", ()
    if field.max_mb is not None and not field.document:
        yield "is no document and has no “max_mb”", ("max_mb",)
    if field.max_mb is not None and field.max_mb > DOCUMENT_MEGABYTES:
        sentence = f"takes up to {field.max_mb} MB; WhatsApp brings no file over {DOCUMENT_MEGABYTES} MB"
        yield sentence, ("max_mb",)
    for index, kind in enumerate(field.document):
        if kind and not _KIND.fullmatch(kind):
            meant = (
                f"write {plain}" if (plain := _extension(kind)) else "write its extension in small letters, like pdf"
            )
            yield f"takes “{kind}”, which is no kind of file; {meant}", ("document", index)
        elif kind and kind not in KEPT_EXTENSIONS:
            sentence = f"takes “{kind}”, and such files are never kept; there are {', '.join(KEPT_EXTENSIONS)}"
            yield sentence, ("document", index)


_PROGRAMS = {"word": "docx", "excel": "xlsx", "powerpoint": "pptx", "image": "jpg", "photo": "jpg", "text": "txt"}
"""Files as people call them, and an extension of each."""


def _extension(kind: str) -> str | None:
    """``.PDF`` and ``application/pdf`` as pdf; None where no kind that is kept can be told."""
    plain = kind.casefold().rpartition("/")[2].strip(" .*")
    plain = _PROGRAMS.get(plain, plain)
    return plain if plain in KEPT_EXTENSIONS else None


def _renamed(odd: Sequence[str], missing: Sequence[str], meant: set[str | None]) -> str | None:
    """The missing name, where exactly one name is missing and one other stands there, and neither is misspelt: the name
    was changed in one place only.
    """
    return missing[0] if len(odd) == len(missing) == 1 and meant.isdisjoint(missing) else None


def _check_language(context: ValidationContext, form: Form, language: str, texts: dict[str, FieldText]) -> None:
    location = context.loaded.location(form.location.file, "languages", language)
    fields, texts = _comparable(context, form, language, texts)
    misspelt = {nearest_word(name, fields) for name in texts.keys() - fields.keys()}
    missing = [name for name in fields if name not in texts and name not in misspelt]
    renamed = _renamed([name for name in texts if name not in fields], missing, misspelt)
    if missing and not renamed:
        named = ", ".join(f"“{name}”" for name in missing)
        context.report.add(location, f"“{language}” does not ask for {named}")
    for name, text in texts.items():
        where = context.loaded.location(form.location.file, "languages", language, name)
        if name not in fields and form.location.file in context.report.repeating:
            continue
        if name not in fields and renamed:
            context.report.repeated(
                where, f"the form has no field “{name}”, and “{renamed}” is not asked for; name both alike"
            )
            continue
        if name not in fields:
            context.report.unknown(where, f"the form has no field “{name}”", name, fields)
            continue
        asks = ("ask",) if context.loaded.has_mapping(form.location.file, "languages", language, name) else ()
        _check_length(context, context.loaded.location(form.location.file, "languages", language, name, *asks), text)
        _check_labels(context, form, fields[name], language, text)
        for option, label in text.options.items():
            if len(label) > BUTTON_TITLE_LENGTH:
                at = context.loaded.location(form.location.file, "languages", language, name, option)
                sentence = f"“{label}” has {len(label)} characters; a label has at most {BUTTON_TITLE_LENGTH}"
                context.report.add(at, sentence)


def _check_length(context: ValidationContext, where: Location, text: FieldText) -> None:
    """A question is a message with a button wherever it offers options, or to stop."""
    if len(text.ask) > BODY_LENGTH:
        sentence = f"this question has {len(text.ask)} characters; a message with a button has at most {BODY_LENGTH}"
        context.report.refuse(where, sentence)


def _comparable(
    context: ValidationContext, form: Form, language: str, texts: dict[str, FieldText]
) -> tuple[dict[str, FormField], dict[str, FieldText]]:
    """The fields and the questions of a language, without those that may be missing since others could not be read."""
    fields, file = {field.name: field for field in form.fields}, form.location.file
    if not texts or not is_language(language) or not context.loaded.has_mapping(file, "fields"):
        return {}, {}
    if context.report.is_misread(file):
        texts = {name: text for name, text in texts.items() if name in fields}
        return {name: field for name, field in fields.items() if name in texts}, texts
    return fields, texts


def _check_labels(context: ValidationContext, form: Form, field: FormField, language: str, text: FieldText) -> None:
    """Each option has a label."""
    where = context.loaded.location(form.location.file, "languages", language, field.name)
    is_faulty = context.report.has_fault_on(context.loaded.key_location(form.location.file, "fields", field.name))
    if is_faulty or context.report.has_fault_on(where) or next(_choice_faults(field), None) is not None:
        return  # the options or their labels could not be read, or are wrong
    if text.options and not field.choose:
        sentence = f"“{field.name}” is no choice, and its question has labels; say “choose: […]” among the fields"
        context.report.repeated(where, f"{sentence}, or take the labels away")
        return
    missing = [option for option in dict.fromkeys(field.choose) if option not in text.options]
    odd = [option for option in text.options if option not in field.choose]
    if renamed := _renamed(odd, missing, {nearest_word(option, missing) for option in odd}):
        at = context.loaded.key_location(form.location.file, "languages", language, field.name, odd[0])
        sentence = f"“{field.name}” has no option “{odd[0]}”, and “{renamed}” has no label; name both alike"
        context.report.repeated(at, sentence)
        return
    for option in odd:
        meant = nearest_word(option, missing)
        missing = [each for each in missing if each != meant]
        at = context.loaded.key_location(form.location.file, "languages", language, field.name, option)
        context.report.unknown(at, f"“{field.name}” has no option “{option}”", option, field.choose)
    for option in missing:
        context.report.repeated(where, f"“{language}” has no label for “{option}”")
