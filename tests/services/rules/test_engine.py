import threading
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from durable.engine import durable_rules_engine
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.matching.conditions import ConditionIndex, Value, holds
from services.rules.matching.durable_shadow import RuleMatcher
from services.rules.rulebook import Rule, Until, until_id
from services.rules.terms import ALWAYS, NOWHERE, AllOf, AnyOf, Compare, Condition, Field, NoneOf, Operator
from shared.contracts.ids import RuleId
from tests.services.rules.books import good_book

EVENT = "work.stage_changed"


def rule(name: str, condition: Condition, *until: Until, event: str = EVENT) -> Rule:
    return Rule(RuleId(name), "editorial", {}, (event,), (), NOWHERE, condition=condition, until=until)


def stage(name: str) -> Compare:
    return Compare("to_stage_key", Operator.IS, name)


def test_every_rule_that_holds_is_found() -> None:
    engine = RuleMatcher([rule("a", stage("typesetting")), rule("b", NoneOf(stage("published"))), rule("c", ALWAYS)])
    assert engine.judge(EVENT, {"to_stage_key": "typesetting"}) == {"a", "b", "c"}
    assert engine.judge(EVENT, {"to_stage_key": "published"}) == {"c"}
    assert engine.judge("work.blocked", {}) == set()
    assert engine.disagreements == 0


def test_the_engine_keeps_nothing_from_one_fact_to_the_next() -> None:
    stages = [f"stage-{number}" for number in range(20)]
    engine = RuleMatcher([rule(name, stage(name)) for name in stages])
    for name in stages:  # each a fact of its own, so each is put to the engine
        assert engine.match(EVENT, {"to_stage_key": name}) == {name}
    assert engine.match(EVENT, {"to_stage_key": "proposal"}) == set()


def test_the_same_numbers_are_put_to_the_engine_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    put = durable_rules_engine.assert_fact

    def note(handle: int, fact: str) -> object:
        asked.append(fact)
        return put(handle, fact)

    monkeypatch.setattr(durable_rules_engine, "assert_fact", note)
    engine = RuleMatcher([rule("a", stage("typesetting"))])
    for name in ("typesetting", "proposal", "published") * 3:
        assert engine.match(EVENT, {"to_stage_key": name}) == ({"a"} if name == "typesetting" else set())
    assert len(asked) == 2  # what no rule names is all the same to it


def test_no_thread_is_started() -> None:
    before = threading.active_count()
    RuleMatcher([rule("a", ALWAYS)]).judge(EVENT, {})
    assert threading.active_count() == before


def test_until_lines_are_judged_apart() -> None:
    until = Until(EVENT, Compare("new_terms_hash", Operator.IS, Field("chain.terms_hash")))
    engine = RuleMatcher([rule("a", ALWAYS, Until("work.unblocked"), until, event="work.blocked")])
    assert engine.judge_until(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "x"}) == {until_id(RuleId("a"), 1)}
    assert engine.judge_until(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "y"}) == set()
    assert engine.judge(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "x"}) == set()


def test_more_rules_than_a_ruleset_bears() -> None:
    rules = [rule(f"r{n}", AllOf((stage(f"s{n % 7}"), Compare(f"f{n}", Operator.AT_LEAST, n)))) for n in range(600)]
    engine = RuleMatcher(rules)
    found = engine.judge(EVENT, {"to_stage_key": "s3", "f3": 3, "f10": 9, "f598": 597})
    assert found == {"r3"}
    assert engine.disagreements == 0


def test_many_rules_that_read_alike() -> None:
    engine = RuleMatcher([rule(f"r{n}", ALWAYS) for n in range(400)])
    assert len(engine.judge(EVENT, {})) == 400
    assert engine.disagreements == 0


def test_a_disagreement_is_counted_and_the_reference_is_right() -> None:
    engine = RuleMatcher([rule("a", stage("typesetting"))])
    engine._starts._references = {EVENT: ConditionIndex([(RuleId("a"), ALWAYS)])}
    assert engine.judge(EVENT, {"to_stage_key": "proposal"}) == {"a"}
    assert engine.disagreements == 1


def test_the_rules_of_a_book_are_found() -> None:
    engine = RuleMatcher(good_book().rules.values())
    assert engine.judge("rights.approval_requested", {"kind": "permission"}) == {"permission"}
    assert engine.judge("rights.approval_requested", {"kind": "permission", "work.cancelled": True}) == set()


FIELDS = st.sampled_from(["a", "b.c", "d", "chain.a"])
TEXTS = st.sampled_from(["x", "y", "yes", "1", "True", "", "été"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([2**40, 2**63, 2.5, -0.5, 1.0, Decimal("2.5"), Decimal(1)])
DATES = st.dates(date(2027, 3, 1), date(2027, 3, 4))
INSTANTS = st.timedeltas(timedelta(0), timedelta(hours=3)).map(lambda past: datetime(2027, 3, 1, tzinfo=UTC) + past)
PLAIN = TEXTS | NUMBERS | st.booleans() | DATES | INSTANTS
VALUES = st.none() | PLAIN | st.lists(TEXTS, max_size=3).map(tuple)
ONE_SIDED = st.sampled_from([o for o in Operator if o not in (Operator.EXISTS, Operator.ONE_OF)])
COMPARISONS = (
    st.builds(Compare, FIELDS, ONE_SIDED, PLAIN | st.builds(Field, FIELDS))
    | st.builds(Compare, FIELDS, st.just(Operator.EXISTS), st.booleans())
    | st.builds(Compare, FIELDS, st.just(Operator.ONE_OF), st.lists(PLAIN, max_size=3).map(tuple))
)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: (
        st.builds(NoneOf, inner)
        | st.builds(AllOf, st.lists(inner, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(FIELDS, VALUES)


@settings(max_examples=400, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=16), st.lists(DOCUMENTS, min_size=1, max_size=12))
def test_the_engine_and_the_reference_agree(
    conditions: list[Condition], documents: list[Mapping[str, Value | None]]
) -> None:
    engine = RuleMatcher([rule(f"r{n}", condition) for n, condition in enumerate(conditions)])
    for document in documents:
        expected = {f"r{n}" for n, condition in enumerate(conditions) if holds(condition, document)}
        assert engine.match(EVENT, document) == expected
        assert engine.judge(EVENT, document) == expected
    assert engine.disagreements == 0


WIDE = [f"f{number}" for number in range(40)]
LARGE: dict[str, Condition] = {
    "many denials": AllOf(tuple(Compare(field, Operator.IS_NOT, "draft") for field in WIDE)),
    "many choices": AllOf(tuple(Compare(field, Operator.ONE_OF, ("proofs", "typesetting")) for field in WIDE)),
    "a long list": Compare("f0", Operator.ONE_OF, ("proofs", *(f"w{n}" for n in range(5000)))),
    "many alternatives": AnyOf(tuple(Compare("f0", Operator.IS, f"w{number}") for number in range(5000))),
    "the denial of a long list": NoneOf(Compare("f0", Operator.ONE_OF, tuple(f"w{n}" for n in range(5000)))),
}


@pytest.mark.parametrize("name", LARGE)
def test_no_condition_is_too_large_for_the_engine(name: str) -> None:
    began = time.process_time()
    engine = RuleMatcher([rule("large", LARGE[name]), rule("small", Compare("f0", Operator.IS, "proofs"))])
    for word in ("proofs", "draft", "w4999"):
        document: dict[str, Value | None] = {}
        document.update((field, word) for field in WIDE)
        engine.judge(EVENT, document)
    assert engine.disagreements == 0
    assert time.process_time() - began < 5
