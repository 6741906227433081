"""Templates: what Meta takes, every language alike, and every parameter known where it is said.

Limits: https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates
"""

import re

from services.rules.check.fields import View
from services.rules.check.house_words import EVERYWHERE, HOUSE_TEMPLATES
from services.rules.check.scope import Scope
from services.rules.check.uses import Use
from services.rules.conversation.rendering import BODY_LIMIT, PARAMETER
from services.rules.rulebook import Template, Wording
from services.rules.terms import Place

TITLE_LIMIT = 20
MOST_BUTTONS = 3
_NAME = re.compile(r"[a-z0-9_]+")
_BRACES = re.compile(r"\{[^{}]*\}|[{}]")
_SIDE_BY_SIDE = re.compile(r"\}\s*\{")


def check_template(scope: Scope, template: Template) -> None:
    if not _NAME.fullmatch(template.name or "unnamed"):
        scope.report.add(template.place, f"“{template.name}”: Meta takes small letters, digits and underscores only")
    for language, wording in template.languages.items():
        _check_wording(scope, template, language, wording)
    _check_alike(scope, template)
    _check_said(scope, template)
    check_languages(scope, template.languages, template.place, f"the template “{template.name}”")


def check_languages(scope: Scope, languages: object, place: Place, what: str) -> None:
    """Everybody can be written to in the house's language, so everything is said in it."""
    house = scope.book.tenant.language
    if house and isinstance(languages, dict) and house not in languages:
        scope.report.add(place, f"{what} is not said in “{house}”, the language of the house")


def _check_wording(scope: Scope, template: Template, language: str, wording: Wording) -> None:
    place = _place(scope, template, language, "body")
    for sentence in _body_faults(wording.body):
        scope.report.add(place, sentence)
    buttons = _place(scope, template, language, "buttons")
    if len(wording.buttons) > MOST_BUTTONS:
        scope.report.add(buttons, f"a message has at most {MOST_BUTTONS} buttons")
    if len(set(wording.buttons.values())) < len(wording.buttons):
        scope.report.add(buttons, "two buttons read the same")
    for answer, title in wording.buttons.items():
        if len(title) > TITLE_LIMIT:
            where = _place(scope, template, language, "buttons", answer)
            scope.report.add(where, f"“{title}” has {len(title)} characters; a button has at most {TITLE_LIMIT}")


def _body_faults(body: str) -> list[str]:
    if len(body) > BODY_LIMIT:
        return [f"the body has {len(body)} characters; Meta takes {BODY_LIMIT}"]
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


def _check_alike(scope: Scope, template: Template) -> None:
    """Languages have the same parameters and the same buttons as the first."""
    languages = iter(template.languages.items())
    first, model = next(languages, ("", Wording("", {})))
    for language, wording in languages:
        if odd := _parameters(wording) ^ _parameters(model):
            place = _place(scope, template, language, "body")
            scope.report.add(place, f"“{language}” and “{first}” differ in {_braced(odd)}")
        if list(wording.buttons) != list(model.buttons):
            place = _place(scope, template, language, "buttons")
            scope.report.add(place, f"“{language}” and “{first}” differ in their buttons, or in the order of them")


def _check_said(scope: Scope, template: Template) -> None:
    said = {name for wording in template.languages.values() for name in _parameters(wording)}
    for name in template.fields.keys() - said:
        scope.report.add(scope.loaded.key(template.place.file, "fields", name), f"“{name}” is said in no language")


def check_use(scope: Scope, use: Use) -> None:
    """A template where it is said: it exists, offers these buttons, and can name what it names."""
    if not use.template:
        return
    template = scope.book.templates.get(use.template)
    if template is None:
        if use.template not in scope.templates():
            names = scope.templates()
            scope.report.unknown(use.place, f"there is no template “{use.template}”", use.template, names)
        return
    _check_buttons(scope, use, template)
    _check_parameters(scope, use, template)
    view = View(use.events, scope.report, sure=use.sure)
    for name, path in template.fields.items():
        if view.find(path, _place(scope, template, name, root="fields")) is not None:
            view.lean_on(path, use.place, f"“{template.name}” says it")


def _check_buttons(scope: Scope, use: Use, template: Template) -> None:
    offered = next((tuple(wording.buttons) for wording in template.languages.values()), ())
    if set(offered) != set(use.buttons):
        has = f"has the buttons {', '.join(offered)}" if offered else "has no buttons"
        wants = f"it needs {', '.join(use.buttons)}" if use.buttons else "nothing answers to them"
        scope.report.add(use.place, f"“{template.name}” {has}; here {wants}")


def _check_parameters(scope: Scope, use: Use, template: Template) -> None:
    links = {f"link_{name}" for name in scope.book.tenant.links}
    known = EVERYWHERE | use.words | links | template.fields.keys()
    for language, wording in template.languages.items():
        for name in sorted(_parameters(wording) - known):
            if name in special_words(scope):
                scope.report.add(use.place, f"“{template.name}” says {{{name}}}, which is not known here")
            else:
                place = _place(scope, template, language, "body")
                said = f"{{{name}}} is no field of the template and no word of the house"
                scope.report.unknown(place, said, name, known)


def special_words(scope: Scope) -> frozenset[str]:
    """Words of some templates, known only where those are said."""
    asked = frozenset(field.name for form in scope.book.forms.values() for field in form.fields)
    return asked.union(*(house.words for house in HOUSE_TEMPLATES.values()))


def _parameters(wording: Wording) -> frozenset[str]:
    return frozenset(PARAMETER.findall(wording.body))


def _braced(names: frozenset[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))


def _place(scope: Scope, template: Template, *path: str, root: str = "languages") -> Place:
    return scope.loaded.place(template.place.file, root, *path)
