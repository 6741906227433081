import threading
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rules.matching import second_engine
from services.rules.matching.conditions import ConditionIndex, FieldValue, holds
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.model import (
    ALWAYS,
    NOWHERE,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Field,
    NoneOf,
    Operator,
    Rule,
    Until,
    until_id,
)
from shared.contracts.ids import RuleId
from tests.cpu_time import at_most
from tests.services.rules.rulebooks import good_book

EVENT = "work.stage_changed"


def rule(name: str, condition: Condition, *until: Until, event: str = EVENT) -> Rule:
    return Rule(RuleId(name), "editorial", {}, (event,), (), NOWHERE, condition=condition, until=until)


def stage(name: str) -> Compare:
    return Compare("to_stage_key", Operator.IS, name)


def match_second_engine(matcher: RuleMatcher, values: Mapping[str, FieldValue | None]) -> frozenset[RuleId]:
    """The answer of durable-rules alone."""
    engine = matcher._starts.second_engine
    if engine is None:
        pytest.skip("durable-rules cannot be imported here")
    return engine.match(EVENT, values)


def test_every_rule_that_holds_is_found() -> None:
    matcher = RuleMatcher([rule("a", stage("typesetting")), rule("b", NoneOf(stage("published"))), rule("c", ALWAYS)])
    assert matcher.match_rules(EVENT, {"to_stage_key": "typesetting"}) == {"a", "b", "c"}
    assert matcher.match_rules(EVENT, {"to_stage_key": "published"}) == {"c"}
    assert matcher.match_rules("work.blocked", {}) == set()
    assert matcher.disagreements == 0


def test_durable_rules_keeps_nothing_from_one_fact_to_the_next() -> None:
    stages = [f"stage-{number}" for number in range(20)]
    matcher = RuleMatcher([rule(name, stage(name)) for name in stages])
    for name in stages:  # each a fact of its own, so each is put to the matcher
        assert match_second_engine(matcher, {"to_stage_key": name}) == {name}
    assert match_second_engine(matcher, {"to_stage_key": "proposal"}) == set()


def test_the_same_fact_is_matched_by_durable_rules_once(monkeypatch: pytest.MonkeyPatch) -> None:
    durable_rules_engine = pytest.importorskip("durable.engine").durable_rules_engine
    asked: list[str] = []
    put = durable_rules_engine.assert_fact

    def note(handle: int, fact: str) -> object:
        asked.append(fact)
        return put(handle, fact)

    monkeypatch.setattr(durable_rules_engine, "assert_fact", note)
    matcher = RuleMatcher([rule("a", stage("typesetting"))])
    for name in ("typesetting", "proposal", "published") * 3:
        assert match_second_engine(matcher, {"to_stage_key": name}) == ({"a"} if name == "typesetting" else set())
    assert len(asked) == 2  # what no rule names is all the same to it


def test_no_thread_is_started() -> None:
    before = threading.active_count()
    RuleMatcher([rule("a", ALWAYS)]).match_rules(EVENT, {})
    assert threading.active_count() == before


def test_until_lines_are_judged_apart() -> None:
    until = Until(EVENT, Compare("new_terms_hash", Operator.IS, Field("chain.terms_hash")))
    matcher = RuleMatcher([rule("a", ALWAYS, Until("work.unblocked"), until, event="work.blocked")])
    assert matcher.match_until(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "x"}) == {until_id(RuleId("a"), 1)}
    assert matcher.match_until(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "y"}) == set()
    assert matcher.match_rules(EVENT, {"new_terms_hash": "x", "chain.terms_hash": "x"}) == set()


def test_more_rules_than_a_ruleset_bears() -> None:
    rules = [rule(f"r{n}", AllOf((stage(f"s{n % 7}"), Compare(f"f{n}", Operator.AT_LEAST, n)))) for n in range(600)]
    matcher = RuleMatcher(rules)
    found = matcher.match_rules(EVENT, {"to_stage_key": "s3", "f3": 3, "f10": 9, "f598": 597})
    assert found == {"r3"}
    assert matcher.disagreements == 0


def test_many_rules_that_read_alike() -> None:
    matcher = RuleMatcher([rule(f"r{n}", ALWAYS) for n in range(400)])
    assert len(matcher.match_rules(EVENT, {})) == 400
    assert matcher.disagreements == 0


@pytest.mark.skipif(not second_engine.IS_AVAILABLE, reason="durable-rules cannot be imported here")
def test_a_disagreement_is_counted_and_the_evaluator_decides() -> None:
    matcher = RuleMatcher([rule("a", stage("typesetting"))])
    matcher._starts._indexes = {EVENT: ConditionIndex([(RuleId("a"), ALWAYS)])}
    assert matcher.match_rules(EVENT, {"to_stage_key": "proposal"}) == {"a"}
    assert matcher.disagreements == 1


def test_the_evaluator_decides_alone_where_durable_rules_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_engine, "IS_AVAILABLE", False)
    matcher = RuleMatcher([rule("a", stage("typesetting")), rule("b", NoneOf(stage("published")))])
    assert matcher._starts.second_engine is None
    assert matcher.match_rules(EVENT, {"to_stage_key": "typesetting"}) == {"a", "b"}
    assert matcher.match_rules(EVENT, {"to_stage_key": "published"}) == set()
    assert matcher.disagreements == 0


def test_the_rules_of_a_book_are_found() -> None:
    matcher = RuleMatcher(good_book().rules.values())
    assert matcher.match_rules("rights.approval_requested", {"kind": "permission"}) == {"permission"}
    assert matcher.match_rules("rights.approval_requested", {"kind": "permission", "work.cancelled": True}) == set()


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


@settings(max_examples=400)
@given(st.lists(CONDITIONS, min_size=1, max_size=16), st.lists(DOCUMENTS, min_size=1, max_size=12))
def test_the_evaluator_and_durable_rules_agree(
    conditions: list[Condition], documents: list[Mapping[str, FieldValue | None]]
) -> None:
    matcher = RuleMatcher([rule(f"r{n}", condition) for n, condition in enumerate(conditions)])
    for document in documents:
        expected = {f"r{n}" for n, condition in enumerate(conditions) if holds(condition, document)}
        assert match_second_engine(matcher, document) == expected
        assert matcher.match_rules(EVENT, document) == expected
    assert matcher.disagreements == 0


WIDE = [f"f{number}" for number in range(40)]
LARGE: dict[str, Condition] = {
    "many denials": AllOf(tuple(Compare(field, Operator.IS_NOT, "draft") for field in WIDE)),
    "many choices": AllOf(tuple(Compare(field, Operator.ONE_OF, ("proofs", "typesetting")) for field in WIDE)),
    "a long list": Compare("f0", Operator.ONE_OF, ("proofs", *(f"w{n}" for n in range(5000)))),
    "many alternatives": AnyOf(tuple(Compare("f0", Operator.IS, f"w{number}") for number in range(5000))),
    "the denial of a long list": NoneOf(Compare("f0", Operator.ONE_OF, tuple(f"w{n}" for n in range(5000)))),
}


@pytest.mark.parametrize("name", LARGE)
def test_no_condition_is_too_large_for_durable_rules(name: str) -> None:
    with at_most(5):
        matcher = RuleMatcher([rule("large", LARGE[name]), rule("small", Compare("f0", Operator.IS, "proofs"))])
        for word in ("proofs", "draft", "w4999"):
            document: dict[str, FieldValue | None] = {}
            document.update((field, word) for field in WIDE)
            matcher.match_rules(EVENT, document)
        assert matcher.disagreements == 0
