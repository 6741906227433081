"""Checks of templates: the limits of Meta, the same content in every language, and every parameter known where the
template is used.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from babel import Locale

from services.rules.rulebook.attachments import check_attachment, find_amount
from services.rules.rulebook.built_in import BUILT_IN_TEMPLATES, EVERYWHERE, FIELD_REFUSED, IN_A_CHAIN, TYPED_FIELDS
from services.rules.rulebook.catalogue import FieldType
from services.rules.rulebook.codes import is_language, meant_language
from services.rules.rulebook.faults import nearest_word
from services.rules.rulebook.field_validation import FieldScope
from services.rules.rulebook.marketing import find_promotion, promotion_fault
from services.rules.rulebook.model import PARAMETER, Category, Location, Template, TemplateText
from services.rules.rulebook.rule_folder import FORM, stem
from services.rules.rulebook.template_uses import TemplateUse
from services.rules.rulebook.validation_context import ValidationContext
from services.rules.rulebook.yaml_lines import BEGINS_WITH_PARAMETER
from shared.clients.whatsapp_limits import BODY_LENGTH, BUTTON_TITLE_LENGTH, BUTTONS, TEMPLATE_NAME

_BRACES = re.compile(r"\$?\{+[^{}]*\}+|\{[a-z0-9_]+\{(?!\w)|\{[a-z0-9_]*|(?<!\w)\}\w{1,40}\}|\w{0,40}\}")
_FOREIGN = re.compile(r"\[(\w+)\]|<(\w+)>|%(\w+)%|\((\w+)\)")
"""Parameters as other tools write them; a word of the text in such signs is none."""
_LEADING_PARAMETER = re.compile(r"[\W_]*\{")  # punctuation is no word: Meta refuses “« {{title}} » …” as well
_TRAILING_PARAMETER = re.compile(r"\}[\W_]*\Z")
_SIDE_BY_SIDE = re.compile(r"\}\s*\{")


def check_template(context: ValidationContext, template: Template) -> None:
    if template.name == stem(template.location.file) and not TEMPLATE_NAME.fullmatch(template.name):
        context.report.add(context.loaded.location(template.location.file, "template"), _no_template_name(template))
    for language, text in template.languages.items():
        _check_text(context, template, language, text)
        if is_language(language) and (meant := meant_language(language)) is not None:
            where = context.loaded.key_location(template.location.file, "languages", language)
            context.report.unknown(where, f"“{language}” names no country", meant, (meant,))
    _check_known_anywhere(context, template)
    _check_languages_agree(context, template)
    _check_field_names(context, template)
    _check_fields_used(context, template)
    _check_defaults_of_fields(context, template)
    _check_example(context, template)
    _check_fallback(context, template)
    check_languages(context, template.languages, template.location, f"the template “{template.name}”")


def _no_template_name(template: Template) -> str:
    plain = re.sub(r"\W+", "_", template.name).lower()
    meant = f"; name it {plain}, and its file too" if TEMPLATE_NAME.fullmatch(plain) else ""
    return f"“{template.name}”: Meta takes small letters, digits and underscores only{meant}"


def check_languages(context: ValidationContext, languages: object, location: Location, what: str) -> None:
    """Every text exists in the publisher's language, the fallback for every person."""
    own = context.book.tenant.language
    if not isinstance(languages, dict) or not all(is_language(each) and not meant_language(each) for each in languages):
        return  # one of them is no language, and may be this one
    if own and languages and own not in languages and not context.without_house_language:
        meant = _hint_of_language(own, languages, context)
        context.report.add(location, f"{what} is not said in “{own}”, the language of the house{meant}")


def _hint_of_language(own: str, languages: Iterable[str], context: ValidationContext) -> str:
    """The end of the sentence, if one language stands there in place of the house's; empty if none can be told."""
    said = Counter(code for template in context.book.templates.values() for code in template.languages)
    odd = [code for code in languages if said[code] <= 1]
    if (of_country := next((code for code in languages if code.partition("_")[0] == own), None)) is not None:
        return f"; “{of_country}” is for people of that country alone: name it “{own}”, or say it in both"
    return f"; “{odd[0]}” is {Locale(odd[0].partition('_')[0]).get_display_name('en')}" if len(odd) == 1 else ""


def _check_text(context: ValidationContext, template: Template, language: str, text: TemplateText) -> None:
    location = _location(context, template, language, "body")
    if (swallowed := _BUTTONS_WITHIN.search(text.body)) is not None:
        where = context.loaded.place_in_text(location, swallowed[0])
        context.report.add(where, "“buttons” stands within the text here; begin it in the column of “body”")
        return
    for found in _ill_formed(text.body) if len(text.body) <= BODY_LENGTH else ():
        context.report.add(context.loaded.place_in_text(location, found), _ill_formed_fault(found, template.fields))
    for sentence, words in _body_faults(text.body):
        hint = _hint_of_lost_text(template, language) if sentence in _AT_AN_EDGE else ""
        context.report.add(context.loaded.place_in_text(location, words) if words else location, sentence + hint)
    for found, name in _foreign_parameters(context, template, text):
        where = context.loaded.place_in_text(location, found)
        context.report.add(where, f"“{found}” is no parameter; write {{{name}}}")
    if any(sign in text.body for sign in _SIGNS_OF_COMMENTS):
        _refuse_comment(context, location)
    if template.category is Category.UTILITY and (phrase := find_promotion(text, language)):
        context.report.add(context.loaded.place_in_text(location, phrase), promotion_fault(phrase))
    _check_button_titles(context, template, language, text)


_SIGNS_OF_COMMENTS = ("#", "//", "/*", "<!--")
_COMMENT = re.compile(r"(?P<sign>#(?=\s+\D)|//(?=\s)|/\*|<!--)")
"""A comment for colleagues at the beginning of a line of a text; “#3”, “#reading” and addresses belong to the text."""


def _refuse_comment(context: ValidationContext, text: Location) -> None:
    for place, words in context.loaded.lines_of_text(text):
        if (found := _COMMENT.match(words)) is not None:
            sentence = (
                f"“{found['sign']}” begins no comment within a text, and this is sent with it; put it above “body”, "
                "behind “#”, or leave it out"
            )
            context.report.refuse(place, sentence, once=True)
            return


def _foreign_parameters(
    context: ValidationContext, template: Template, text: TemplateText
) -> Iterator[tuple[str, str]]:
    """Names of fields and words of the house between other signs than braces, with what was written."""
    for found in _FOREIGN.finditer(text.body):
        name = next(filter(None, found.groups()))
        if name in _words(context, template) and (found[0][0] != "(" or name not in parameters_of(text)):
            yield found[0], name


def _check_button_titles(context: ValidationContext, template: Template, language: str, text: TemplateText) -> None:
    buttons = _location(context, template, language, "buttons")
    if len(text.buttons) > BUTTONS:
        context.report.add(buttons, f"a message has at most {BUTTONS} buttons")
    if len(set(text.buttons.values())) < len(text.buttons):
        context.report.add(buttons, "two buttons read the same")
    for answer, title in text.buttons.items():
        where = _location(context, template, language, "buttons", answer)
        if len(title) > BUTTON_TITLE_LENGTH:
            context.report.add(
                where, f"“{title}” has {len(title)} characters; a button has at most {BUTTON_TITLE_LENGTH}"
            )
        elif "{" in title or "}" in title:
            context.report.add(where, f"“{title}” has a parameter; a button has the same words for all, so it has none")
        elif len(title.splitlines()) > 1:
            context.report.add(where, "a button has one line")
        elif (sign := _no_plain_character(title)) is not None:
            context.report.add(
                where, f"“{title}” has “{sign}” in it; Meta takes no emoji and no *, _, ~ or ` on a button"
            )


def _no_plain_character(title: str) -> str | None:
    """An emoji or a sign of formatting: Meta refuses “variables, newlines, emojis, or formatting characters”."""
    if (drawn := _DRAWN.search(title)) is not None:
        return drawn[0]
    return next((each for each in title if each in "*_~`" or unicodedata.category(each) in ("So", "Sk")), None)


_DRAWN = re.compile(".\ufe0f\u20e3?|.\u20e3")
"""A digit or a sign, such as an arrow, and what makes an emoji of it."""


_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{2,5}|#x[0-9a-fA-F]{2,4});")
"""A sign as a web page writes it, like ``&nbsp;``."""


def _body_faults(body: str) -> Iterator[tuple[str, str]]:
    """The faults of a body, and the words that are at fault; empty where it is the whole body, or its beginning."""
    if len(body) > BODY_LENGTH:
        yield f"the body has {len(body)} characters; Meta takes {BODY_LENGTH}", ""
        return
    if (mistyped := _MISTYPED_BLOCK.match(body)) is not None:
        yield f"the body begins with “{mistyped[1]}”; where it stands on the lines below, write body: >-", ""
    if _LEADING_PARAMETER.match(body):
        yield BEGINS_WITH_PARAMETER, ""
    if (trailing := _TRAILING_PARAMETER.search(body)) is not None:
        yield _ENDS_WITH_PARAMETER, body[body.rfind("{", 0, trailing.start()) :]
    if (amount := find_amount(body)) is not None:
        yield f"“{amount}” is an amount or a bank detail, and those never go into a chat", amount
    if (entity := _ENTITY.search(body)) is not None:
        yield f"“{entity[0]}” is shown as it stands here; type the sign that is meant", entity[0]
    if (beside := _SIDE_BY_SIDE.search(body)) is not None:
        sentence = "two parameters stand side by side; Meta wants a word between them"
        yield sentence, body[body.rfind("{", 0, beside.start()) : beside.end()]
    yield from _link_faults(body)


def _link_faults(body: str) -> Iterator[tuple[str, str]]:
    """Meta's reviewers reject shortened links, since they hide where they lead.

    https://developers.facebook.com/docs/whatsapp/message-templates/guidelines
    """
    if (link := _SHORTENED.search(body)) is not None:
        sentence = f"“{link[0]}” is a shortened link, which Meta rejects; say the whole address, on a site of your own"
        yield sentence, link[0]


_SHORTENED = re.compile(
    r"(?<![\w.@/-])(?:https?://)?(?:www\.)?(?:bit\.ly|tinyurl\.com|goo\.gl|t\.co|ow\.ly|is\.gd|buff\.ly|cutt\.ly"
    r"|rebrand\.ly|t\.ly|shorturl\.at|rb\.gy|lnkd\.in|tiny\.cc)\b(?![\w-]*\.\w)(?:/(?:[\w./?=&%#~-]*[\w/])?)?",
    re.IGNORECASE,
)


_ENDS_WITH_PARAMETER = "the body ends with a parameter; Meta wants a word after it"
_AT_AN_EDGE = frozenset({BEGINS_WITH_PARAMETER, _ENDS_WITH_PARAMETER})
_MISTYPED_BLOCK = re.compile(r"([-=_~]+>|>[-_]+)\s")


def _lost_parameters(template: Template, language: str) -> frozenset[str]:
    """The parameters that a language lacks where its text begins or ends with one: the line before or behind it is
    missing, and they with it. Empty where it says one that the others do not.
    """
    body = template.languages[language].body
    if not (_LEADING_PARAMETER.match(body) or _TRAILING_PARAMETER.search(body)):
        return frozenset()
    own = parameters_of(template.languages[language])
    others = [parameters_of(text) for code, text in template.languages.items() if code != language and text.body]
    lost = frozenset.intersection(*others) - own if others else frozenset()
    return lost if all(other - own == lost and own <= other for other in others) else frozenset()


def _hint_of_lost_text(template: Template, language: str) -> str:
    """The end of the sentence where a part of the text is missing that another language has."""
    lost = _lost_parameters(template, language)
    other = next((code for code in template.languages if code != language), "")
    return f", and “{other}” also says {_braced(lost)}: a line of the text is missing" if lost else ""


def _ill_formed(body: str) -> list[str]:
    return [found for found in _BRACES.findall(body) if not PARAMETER.fullmatch(found)]


def _ill_formed_fault(found: str, fields: Mapping[str, str]) -> str:
    path = found.strip("${} ")
    if found[0] == "{" and "." in path and "}" in found:
        name = next((name for name, each in fields.items() if each == path), None)
        how = f"write {{{name}}}" if name else f"name it under “fields”, like {path.replace('.', '_')}: {path}"
        return f"“{found}” is no parameter: a text does not name fields themselves; {how}"
    if found[0] == "{" and found[-1] != "}" and len(found) > 1:
        return f"the brace of “{found}” is not closed; write {{{path}}}"
    if found[0] != "{" and len(found) > 1 and "{" not in found:
        return f"the brace of “{found}” is not opened; write {{{path}}}"
    meant = "{" + re.sub(r"\W+", "_", found.strip("${} ")).lower() + "}"
    if len(found) > 1 and PARAMETER.fullmatch(meant):
        return f"“{found}” is no parameter; write {meant}"
    return f"“{found}” is no parameter; one looks like {{title}}"


def _check_languages_agree(context: ValidationContext, template: Template) -> None:
    """Languages have the same parameters and the same buttons as the first."""
    first, model = next(iter(template.languages.items()), ("", TemplateText("", {})))
    texts = {code: text for code, text in template.languages.items() if code != first and text.body and model.body}
    others = [code for code, text in texts.items() if _says_other_parameters(text, model)]
    if others and not _has_foreign_parameters(context, template):
        for language, other in _odd_ones(template, others, parameters_of):
            if not _lost_parameters(template, language) and not _lost_parameters(template, other):
                _report_other_parameters(context, template, language, other)
    others = [
        code
        for code, text in texts.items()
        if list(text.buttons) != list(model.buttons)
        and max(len(text.buttons), len(model.buttons)) <= BUTTONS  # else there are too many, which is reported
        and all(_reads_buttons(context, template, each) for each in (first, code))
    ]
    for language, other in _odd_ones(template, others, lambda text: tuple(text.buttons)):
        differ = _other_buttons(template.languages[language], template.languages[other])
        location = _location(context, template, language, "buttons")
        context.report.add(location, f"“{language}” and “{other}” {differ}", needs=("buttons",))


def _says_other_parameters(text: TemplateText, model: TemplateText) -> bool:
    """Whether it says others, as far as both could be read."""
    return parameters_of(text) != parameters_of(model) and not _ill_formed(text.body) and not _ill_formed(model.body)


def _odd_ones(
    template: Template, differing: Sequence[str], said: Callable[[TemplateText], object]
) -> Iterator[tuple[str, str]]:
    """Each language that differs from another one, and that one: the first alone, where all others say the same."""
    first, *others = template.languages or ("",)
    if len(differing) > 1 and differing == others and len({said(template.languages[code]) for code in others}) == 1:
        yield first, others[0]
    else:
        yield from ((language, first) for language in differing)


def _report_other_parameters(context: ValidationContext, template: Template, language: str, other: str) -> None:
    own, others = (parameters_of(template.languages[code]) for code in (language, other))
    sentence = _other_parameters(language, own, other, others)
    context.report.add(_location(context, template, language, "body"), sentence)


def _other_parameters(language: str, own: frozenset[str], first: str, others: frozenset[str]) -> str:
    """How the parameters of a language differ from those of the first."""
    if own and not others - own:
        return f"“{language}” says {_braced(own - others)}, and “{first}” does not; say it in both or in neither"
    if not own - others:
        return f"“{language}” does not say {_braced(others - own)}, which “{first}” says"
    return f"“{language}” says {_braced(own - others)} where “{first}” says {_braced(others - own)}"


def _other_buttons(text: TemplateText, model: TemplateText) -> str:
    """How the buttons of a language differ from those of the first."""
    own, others = (
        ", ".join(f"“{name}”" for name in one.buttons if name not in other.buttons)
        for one, other in ((text, model), (model, text))
    )
    if not own and not others:
        return "have their buttons in different orders"
    return f"differ in their buttons: {f'{own} and {others}' if own and others else f'one has no {own or others}'}"


def _has_foreign_parameters(context: ValidationContext, template: Template) -> bool:
    """Whether a parameter of the template is unknown or written in other signs, which is reported."""
    texts = template.languages.values()
    foreign = (True for text in texts for _ in _foreign_parameters(context, template, text))
    return any(foreign) or bool(_unknown_parameters(context, template))


def _check_known_anywhere(context: ValidationContext, template: Template) -> None:
    """Parameters that nothing could fill in, also in a template that no rule uses yet."""
    if not context.loaded.is_mapping(template.location.file, "fields"):
        return
    unknown = _unknown_parameters(context, template) - {each.casefold() for each in template.fields}
    if _lacks_fields(context, template, unknown):
        said = f"{_braced(unknown)} are no words of the house, and the template has no “fields” that say what they are"
        where = _location(context, template, next(iter(template.languages)), "body")
        context.report.add(context.loaded.place_in_text(where, f"{{{min(unknown)}}}"), said, needs=("fields",))
        return
    for language, text in template.languages.items() if unknown else ():
        for name in sorted(parameters_of(text) & unknown):
            location = _location(context, template, language, "body")
            location = context.loaded.place_in_text(location, f"{{{name}}}")
            sentence = f"{{{name}}} is no field of the template and no word of the house"
            words = _words(context, template)
            lacking = _missing_parameter(template, text) if nearest_word(name, words) is None else None
            meant, right = (lacking, (lacking,)) if lacking else (name, words)
            context.report.unknown(location, sentence, meant, right)


def _lacks_fields(context: ValidationContext, template: Template, unknown: frozenset[str]) -> bool:
    """Whether the section is missing: several parameters are unknown, and none is a misspelt word of the house."""
    if len(unknown) <= 1 or context.loaded.has(template.location.file, "fields"):
        return False
    return all(nearest_word(name, _words(context, template)) is None for name in unknown)


def _missing_parameter(template: Template, text: TemplateText) -> str | None:
    """The one parameter of the other languages that this one lacks; None where there is none, or several."""
    others = [parameters_of(each) for each in template.languages.values() if each is not text]
    lacking = frozenset.intersection(*map(frozenset, others)) - parameters_of(text) if others else frozenset()
    return next(iter(lacking)) if len(lacking) == 1 else None


def _words(context: ValidationContext, template: Template) -> frozenset[str]:
    """The template's fields, and the words that the service fills in for every template of a rule."""
    links = (f"link_{name}" for name in context.book.tenant.links)
    return (EVERYWHERE | IN_A_CHAIN).union(template.fields, links)


def _text_parameters(template: Template) -> frozenset[str]:
    """The parameters of all its texts."""
    return frozenset(name for text in template.languages.values() for name in parameters_of(text))


def _unknown_parameters(context: ValidationContext, template: Template) -> frozenset[str]:
    """Those that no use of the template could fill in; none where a form, whose fields may be meant, is at fault."""
    unfilled = _text_parameters(template) - _words(context, template)
    if template.location.file in context.report.repeating or context.report.is_misread(template.location.file):
        return frozenset()
    if unfilled:
        unfilled -= context.report.misplaced_keys(template.location.file)
    if unfilled:
        faulty = context.loaded.faulty | context.loaded.broken
        lacks_form = context.lacks_form or any(file.endswith(FORM) for file in faulty)
        unfilled = frozenset() if lacks_form else unfilled - _restricted_words(context)
    if context.reads_whole("house.yaml"):
        return unfilled
    return frozenset(name for name in unfilled if not name.startswith("link_"))


_BUTTONS_WITHIN = re.compile(r"buttons ?:? ?(?=\{\w+: )")
"""The key and its value as a part of the text above them: they are indented like it, or lack the colon."""


def _reads_buttons(context: ValidationContext, template: Template, language: str) -> bool:
    text = template.languages.get(language)
    if text is not None and _BUTTONS_WITHIN.search(text.body):
        return False
    return context.loaded.is_mapping(template.location.file, "languages", language, "buttons")


def _check_field_names(context: ValidationContext, template: Template) -> None:
    """``title`` may be taken from a field; the other words that the service fills in are its own."""
    for name in template.fields:
        if name in (EVERYWHERE | IN_A_CHAIN) - {"title"} or name.startswith("link_"):
            where = context.loaded.key_location(template.location.file, "fields", name)
            context.report.add(where, f"“{name}” is a word of the house, filled in anyway; name the field otherwise")


def _check_fields_used(context: ValidationContext, template: Template) -> None:
    unused = template.fields.keys() - _text_parameters(template)
    if not unused or not all(text.body for text in template.languages.values()) or not template.languages:
        return  # or the texts could not be read
    texts = template.languages.values()
    unused -= {name for text in texts for _, name in _foreign_parameters(context, template, text)}
    unknown = _unknown_parameters(context, template)
    meant = {nearest_word(name.casefold(), unused) for name in unknown}
    by_case = {name.casefold(): name for name in _text_parameters(template)}
    for name in unused:
        where = context.loaded.key_location(template.location.file, "fields", name)
        if name.casefold() in by_case:
            sentence = (
                f"“{name}” is said in no language, but “{by_case[name.casefold()]}” is; use small letters in both"
            )
            context.report.add(where, sentence)
        elif name not in meant:
            unbound = _text_parameters(template) - template.fields.keys() - EVERYWHERE
            context.report.unknown(where, f"“{name}” is said in no language", name, unbound)


def _check_defaults_of_fields(context: ValidationContext, template: Template) -> None:
    """A default is said in every language of the template, so that none of them shows a gap."""
    for name, texts in template.defaults.items():
        location = _location(context, template, name, "default", root="fields")
        for language in template.languages.keys() - texts.keys():
            context.report.add(location, f"the default of “{name}” is not said in “{language}”")
        for language in texts.keys() - template.languages.keys():
            if context.loaded.has(location.file, language):
                continue  # the language stands outside of “languages”, which is reported
            where = _location(context, template, name, "default", language, root="fields")
            context.report.add(where, f"the template has no language “{language}”, so this is never said")
        for language, text in texts.items():
            if PARAMETER.search(text):
                where = _location(context, template, name, "default", language, root="fields")
                context.report.add(where, "a default is a plain text and has no parameters")


def _check_example(context: ValidationContext, template: Template) -> None:
    """Whether there is such a file is seen where it is uploaded: the checks read the rule files alone."""
    if template.example is None:
        return
    location = context.loaded.location(template.location.file, "example")
    if template.header is None:
        context.report.add(location, "an example is for a document: the template needs “header: document”")
    if _EXAMPLE.fullmatch(template.example) is None:
        sentence = "an example is a PDF in the folder of the template or below it, like samples/statement.pdf"
        context.report.add(location, sentence)


_EXAMPLE = re.compile(r"(?!/)(?!(.*/)?\.\.(/|$))[^\\]+\.pdf")


def _check_fallback(context: ValidationContext, template: Template) -> None:
    """The fallback takes the template's place word for word: its buttons stand in the same places, in each language."""
    if template.fallback is None:
        return
    location = context.loaded.location(template.location.file, "fallback")
    other = context.book.templates.get(template.fallback)
    if other is None:
        names = context.templates
        if template.fallback and template.fallback not in names:
            context.report.unknown(location, f"there is no template “{template.fallback}”", template.fallback, names)
        return
    if other.name == template.name:
        context.report.add(location, "a template is no fallback of itself")
    for language, text in template.languages.items():
        if language not in other.languages:
            context.report.add(location, f"“{other.name}” is not said in “{language}”")
        elif list(other.languages[language].buttons) != list(text.buttons):
            context.report.add(location, f"“{other.name}” has other buttons in “{language}”, or another order of them")


_OF_THE_HOUSE = BUILT_IN_TEMPLATES.keys() | frozenset(TYPED_FIELDS.values())
_NEARLY = 0.8
_WORDS_OF_NO_NAME = 2
"""A text of more words is no misspelt name."""


def check_use(context: ValidationContext, use: TemplateUse) -> None:
    """The template exists, offers these buttons, and names only fields that are present."""
    if not use.template:
        return
    template = context.book.templates.get(use.template)
    if template is None:
        _report_missing(context, use)
        return
    if template.fallback and template.fallback in context.book.templates and template.fallback != template.name:
        check_fields_known(context, replace(use, template=template.fallback), context.book.templates[template.fallback])
    if not _has_buttons(context, use, template):
        return  # another template is meant, whose fields are other ones
    check_attachment(context, use, template)
    check_fields_known(context, use, template)


def _report_missing(context: ValidationContext, use: TemplateUse) -> None:
    if use.template in BUILT_IN_TEMPLATES and context.lacks_built_in:
        return  # all of them are missing, which is one fault
    if use.template in context.templates:
        return  # it could not be read, which is reported
    names, sentence = context.templates, f"there is no template “{use.template}”"
    if use.template in _OF_THE_HOUSE:
        names = frozenset(get_close_matches(use.template, names - _OF_THE_HOUSE, 1, _NEARLY))
        sentence += ", which Stet says by itself; the rules that come with it have one, in rules/house"
    elif len(use.template.split()) > _WORDS_OF_NO_NAME:
        sentence += "; “say” has the name of one, and its words stand in its own file"
    context.report.unknown(use.location, sentence, use.template, names)


def check_fields_known(context: ValidationContext, use: TemplateUse, template: Template) -> None:
    """Every parameter of the template is known, and every field present, where it is used."""
    _check_parameters(context, use, template)
    scope = FieldScope(use.events, context.report, present=use.present)
    said = _text_parameters(template)
    for name, path in template.fields.items():
        where = _location(context, template, name, root="fields")
        if said and name not in said:
            continue  # which is reported, and another field is meant
        found = scope.find(path, where)
        if found is not None and found.type in (FieldType.RECORD, FieldType.PARTY):
            context.report.repeated(where, f"“{path}” is a {found.type}, and a text says one thing; name a field of it")
        elif found is not None and not context.loaded.has(template.location.file, "fields", name, "default"):
            scope.require(path, use.location, f"“{template.name}” says it")


def _has_buttons(context: ValidationContext, use: TemplateUse, template: Template) -> bool:
    """Whether it offers what the rule has answers to; True where either could not be read, which is reported."""
    code, offered = next(((code, tuple(text.buttons)) for code, text in template.languages.items()), ("", ()))
    if not template.languages or len(offered) > BUTTONS or not _reads_buttons(context, template, code) or use.is_unread:
        return True
    if len(use.buttons) > BUTTONS or not context.loaded.is_mapping(template.location.file, "languages", code):
        return True
    if use.location.file in context.report.repeating:
        return True
    if context.report.is_misread(use.location.file) or _languages_differ(template):
        return True
    if (is_same := set(offered) - set(use.may_offer) == set(use.buttons)) or _is_misspelt(context, use, offered):
        return is_same
    has = f"has the buttons {', '.join(offered)}" if offered else "has no buttons"
    wants = f"it needs {', '.join(use.buttons)}" if use.buttons else "nothing answers to them"
    context.report.caused(use.location, f"“{template.name}” {has}; here {wants}", f"{has}; {wants}")
    return False


def _languages_differ(template: Template) -> bool:
    return len({tuple(text.buttons) for text in template.languages.values() if text.body}) > 1


def _is_misspelt(context: ValidationContext, use: TemplateUse, offered: tuple[str, ...]) -> bool:
    """One answer is nearly one button: it is said where the answer is, once for all uses of the template."""
    odd = [answer for answer in use.buttons if answer not in offered]
    left = [button for button in offered if button not in use.buttons]
    if len(odd) != 1 or len(left) != 1 or not use.asked_at or nearest_word(odd[0], left) is None:
        return False
    sentence = f"the template has no button “{odd[0]}”"
    where = context.loaded.key_location(use.location.file, *use.asked_at, "answers", odd[0])
    context.report.unknown(where, sentence, odd[0], left)
    return True


def _check_parameters(context: ValidationContext, use: TemplateUse, template: Template) -> None:
    links = {f"link_{name}" for name in context.book.tenant.links}
    known = EVERYWHERE | use.words | links | template.fields.keys()
    if not context.loaded.is_mapping(template.location.file, "fields"):
        return
    if not template.fields and "fields" in context.report.misplaced_keys(template.location.file):
        return
    for text in template.languages.values():
        unused = template.fields.keys() - _text_parameters(template)
        for name in sorted((parameters_of(text) - known) & _restricted_words(context)):
            if nearest_word(name, unused) is not None:
                continue  # a field of the template is meant, and misspelt
            context.report.add(use.location, f"“{template.name}” says {{{name}}}, which is not known here")


def _restricted_words(context: ValidationContext) -> frozenset[str]:
    """Parameters that the service fills in for some templates only."""
    return context.form_words | _WORDS_OF_SOME


_WORDS_OF_SOME = FIELD_REFUSED.words.union(*(each.words for each in BUILT_IN_TEMPLATES.values()))


def parameters_of(text: TemplateText) -> frozenset[str]:
    return frozenset(PARAMETER.findall(text.body))


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _location(context: ValidationContext, template: Template, *path: str, root: str = "languages") -> Location:
    return context.loaded.location(template.location.file, root, *path)
