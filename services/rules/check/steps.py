"""Steps in their order: what each leans on must come before it, and the last must end something."""

from services.rules.check.conditions import check_condition
from services.rules.check.fields import View
from services.rules.check.guards import present_if, present_unless
from services.rules.check.records import check_record
from services.rules.check.scope import Scope
from services.rules.check.templates import MOST_BUTTONS
from services.rules.check.who import check_who
from services.rules.fieldtypes import FieldType
from services.rules.rulebook import Answer, Quorum, Record, Rule, Step, Verb
from services.rules.terms import At, Field, Place
from shared.clients.working_calendar import TimeUnit

_LAST = frozenset({Verb.GIVE_UP, Verb.HAND_OVER, Verb.TELL, Verb.RECORD})
_ASKING = frozenset({Verb.ASK, Verb.COLLECT})
_DAYS = frozenset({TimeUnit.DAYS, TimeUnit.WORKING_DAYS})


def check_steps(scope: Scope, rule: Rule) -> None:
    for step in rule.steps:
        _check_step(scope, rule, step)
    if rule.steps and rule.steps[-1].verb not in _LAST:
        last = rule.steps[-1]
        scope.report.add(last.place, f"the last step is “{last.verb}”; a rule ends with {', '.join(sorted(_LAST))}")


def _check_step(scope: Scope, rule: Rule, step: Step) -> None:
    before = [each for each in rule.steps if each.index < step.index]
    if any(each.verb is Verb.GIVE_UP for each in before):
        scope.report.add(step.place, "nothing comes after “give_up”")
    if step.verb is Verb.REMIND and not any(each.verb in _ASKING for each in before):
        scope.report.add(step.place, "there is nothing to remind of: no question and no form comes before")
    view = View(rule.events, scope.report, sure=present_if(rule.condition) | present_unless(step.unless))
    check_condition(step.unless, view)
    _check_people(scope, rule, step)
    _check_time(scope, rule, step, view)
    _check_form(scope, step.form, scope.place(rule, "steps", step.index, "form"))
    _check_answers(scope, rule, step, view)
    if step.record is not None:
        _check_record(scope, rule, step.record, view, ("steps", step.index))


def _check_people(scope: Scope, rule: Rule, step: Step) -> None:
    if step.verb not in (Verb.RECORD, Verb.GIVE_UP):
        check_who(scope, rule, step.who, "steps", step.index, step.verb)
    if step.tell is not None:
        check_who(scope, rule, step.tell.who, "steps", step.index, "tell")


def _check_time(scope: Scope, rule: Rule, step: Step, view: View) -> None:
    if not isinstance(step.timing, At):
        return
    place = scope.place(rule, "steps", step.index, "at")
    found = view.lean_on(step.timing.field, place, "a step is timed by it")
    if found is None:
        return
    if found.type not in (FieldType.DATE, FieldType.INSTANT):
        scope.report.add(place, f"“{found.path}” is no date and no instant")
    elif found.type is FieldType.DATE and step.timing.span and step.timing.span.unit not in _DAYS:
        scope.report.add(place, f"“{found.path}” is a date; count days or working days from it")


def _check_form(scope: Scope, form: str | None, place: Place) -> None:
    if form and form not in scope.forms():
        scope.report.unknown(place, f"there is no form “{form}”", form, scope.forms())


def _check_answers(scope: Scope, rule: Rule, step: Step, view: View) -> None:
    place = scope.place(rule, "steps", step.index, "answers")
    if step.verb is Verb.ASK and not step.answers:
        scope.report.add(place, "a question has at least one answer")
    if len(step.answers) > MOST_BUTTONS:
        scope.report.add(place, f"a question has at most {MOST_BUTTONS} answers, one for each button")
    for answer in step.answers.values():
        _check_answer(scope, rule, answer, view, ("steps", step.index, "answers", answer.name))


def _check_answer(scope: Scope, rule: Rule, answer: Answer, view: View, path: tuple[str | int, ...]) -> None:
    if answer.tell is not None:
        check_who(scope, rule, answer.tell.who, *path, "tell", answered=True)
    if answer.hand_over is not None:
        check_who(scope, rule, answer.hand_over.who, *path, "hand_over", answered=True)
    if answer.record is not None:
        _check_record(scope, rule, answer.record, view, path)
    if isinstance(answer.quorum, Field):
        check_choice(answer.quorum, tuple(Quorum), view)
    _check_form(scope, answer.form, scope.place(rule, *path, "form"))


def check_choice(named: Field, words: tuple[str, ...], view: View) -> None:
    """A field that stands for one of these words can be nothing else."""
    found = view.lean_on(named.name, named.place, "the rule leans on it")
    if found is not None and not (found.values and set(found.values) <= set(words)):
        view.report.add(named.place, f"“{found.path}” is not one of {', '.join(words)}")


def _check_record(scope: Scope, rule: Rule, record: Record, view: View, path: tuple[str | int, ...]) -> None:
    check_record(scope, rule, record, view, path)
    check_condition(record.unless, view)
    if record.then is not None:
        _check_record(scope, rule, record.then, view, (*path, "then"))
