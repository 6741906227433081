"""A changed rule and its live chains: pinned, migrated or cancelled."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.rules.conversation.chain import Chain, ChainState, Ending, StepStatus
from services.rules.conversation.context import EndedChain, Reason
from services.rules.conversation.decider import Decider, Decision
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.built_in import add_built_in_rules
from services.rules.rulebook.model import OnChange, Rule, Rulebook
from services.rules.scenario.player import StoryPlayer
from shared.contracts.ids import Revision, RuleId
from shared.contracts.values import decode, encode
from tests.services.rules.stories import own_rulebook, story

PEOPLE = "812: {roles: [rights_holder], country: GB}\n40: {roles: [rights_manager], country: GB}"
ASKED = "{event: rights.approval_requested, with: {respond_by: 2027-04-30, rights_holder: 812}}"
RULE = RuleId("rights-approval")
NEW = Revision("a newer one")
Change = Callable[[Rule], Rule]


def with_rule(book: Rulebook, rule: Rule | None) -> Rulebook:
    others = {name: one for name, one in book.rules.items() if name != RULE}
    return replace(book, revision=NEW, rules=others if rule is None else {**others, RULE: rule})


def started(on_change: OnChange) -> tuple[StoryPlayer, Rulebook, Chain]:
    """A chain that has asked, under a rule with this ``on_change``."""
    book = own_rulebook()
    book = replace(book, rules={**book.rules, RULE: replace(book.rules[RULE], on_change=on_change)})
    one = story(PEOPLE, ASKED)
    player = StoryPlayer.of(one, book)
    for step in one.steps:
        assert player.play(step) == []
    (chain,) = player.simulation.facts.chains.values()
    return player, player.people.book, chain


def changed(player: StoryPlayer, old: Rulebook, new: Rulebook, chain: Chain) -> tuple[Decision, Chain]:
    book = add_built_in_rules(new)
    decider = Decider(
        rulebook=book,
        rulebook_at=lambda revision: old if revision == old.revision else book,
        matcher=RuleMatcher(book.rules.values()),
        zone_of=lambda person: person.zone,
        signing_keys=(b"key",),
    )
    decision = decider.decide_change(chain, player.simulation.facts, player.simulation.now)
    after = decision.changes.chains[chain.chain_id]
    assert decode(Chain, encode(after)) == after
    assert after.reviewed == NEW
    return decision, after


def without_reminder(rule: Rule) -> Rule:
    steps = [step for step in rule.steps if step.index != 1]
    return replace(rule, steps=tuple(replace(step, index=index) for index, step in enumerate(steps)))


def test_a_pinned_chain_keeps_its_steps() -> None:
    player, old, chain = started(OnChange.PIN)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert decision.reasons == (Reason.PINNED,)
    assert (after.revision, after.steps) == (chain.revision, chain.steps)


def test_a_migrated_chain_goes_on_by_the_new_steps_and_keeps_its_question() -> None:
    player, old, chain = started(OnChange.MIGRATE)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert decision.reasons == (Reason.MIGRATED,)
    assert decision.effects == ()
    assert (after.revision, len(after.steps)) == (NEW, len(chain.steps) - 1)
    assert [state.status for state in after.steps[:2]] == [StepStatus.DONE, StepStatus.PENDING]
    assert after.messages == chain.messages


def test_a_question_of_a_step_that_is_gone_is_closed_and_the_new_one_is_asked() -> None:
    def reworded(rule: Rule) -> Rule:
        first = replace(rule.steps[0], answers={"approve": rule.steps[0].answers["approve"]})
        return replace(rule, steps=(first, *rule.steps[1:]))

    player, old, chain = started(OnChange.MIGRATE)
    _, after = changed(player, old, with_rule(old, reworded(old.rules[RULE])), chain)
    assert after.messages[0].closed
    assert after.state is ChainState.RUNNING


def test_a_cancelled_chain_ends_only_if_its_rule_changed() -> None:
    player, old, chain = started(OnChange.CANCEL)
    decision, after = changed(player, old, with_rule(old, without_reminder(old.rules[RULE])), chain)
    assert (decision.reasons, after.ended) == ((Reason.CANCELLED,), Ending.CANCELLED)
    assert any(isinstance(effect, EndedChain) for effect in decision.effects)
    assert after.messages[0].closed
    decision, after = changed(player, old, with_rule(old, old.rules[RULE]), chain)
    assert (decision.reasons, after.state) == ((Reason.PINNED,), ChainState.RUNNING)


@pytest.mark.parametrize(
    ("on_change", "ended"), [(OnChange.PIN, None), (OnChange.MIGRATE, None), (OnChange.CANCEL, Ending.CANCELLED)]
)
def test_of_a_rule_that_is_gone_the_old_file_decides(on_change: OnChange, ended: Ending | None) -> None:
    player, old, chain = started(on_change)
    assert changed(player, old, with_rule(old, None), chain)[1].ended is ended
