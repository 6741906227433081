"""Conditions over the person a message goes to: judged for each, when a step begins and when a held message goes.

The stories of ``language/recipient`` show each verb; here is what holds for any such condition, and who else knows it.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.rules.analysis.explain import why_not_by_chain
from services.rules.analysis.graph import graph_of, mermaid
from services.rules.matching import second_engine
from services.rules.matching.conditions import holds
from services.rules.matching.matcher import RuleMatcher
from services.rules.rulebook.model import AllOf, AnyOf, Compare, Condition, NoneOf, Operator, Rule, Rulebook
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.coverage import CoverageKind, StoryCoverage
from services.rules.scenario.folder_check import check_files
from services.rules.scenario.player import StoryPlayer, run_story
from services.rules.scenario.story_file import EffectKind, Story, read_stories
from shared.contracts.ids import ContactId, RuleId
from tests.services.rules.rulebooks import good_files

FOLDER = Path(__file__).parents[1] / "language" / "recipient"
RULE = RuleId("proofs-by-post")
COUNTRIES, LANGUAGES, ROLES = ("GB", "FR", "US"), ("en", "fr", "de"), ("author", "agent")
STORY = """\
- it: goes so
  start: {start}
  people:
    801: {{roles: [author], country: GB, zone: Europe/London}}
    802: {{roles: [agent], country: FR, language: de, zone: Europe/London}}
    803: {{roles: [author], country: US, language: fr, zone: Europe/London}}
    804: {{roles: [agent], zone: Europe/London}}
  play:
    - event: work.stage_changed
"""
AT_DAY, AT_NIGHT, MORNING = "2027-03-03T15:00:00Z", "2027-03-03T23:00:00Z", "wait until: 2027-03-04T12:00:00Z"
VALUES = {
    801: ("GB", "en", "author"),
    802: ("FR", "de", "agent"),
    803: ("US", "fr", "author"),
    804: (None, "en", "agent"),
}
"""Country, language and role of the people of the story; without a language of their own, that of country or house."""


@lru_cache(maxsize=1)
def rulebook() -> Rulebook:
    return check_files(good_files() | read_folder(FOLDER), tested=False).rulebook


def read_story(text: str) -> Story:
    stories, faults = read_stories({f"{RULE}.test.yaml": text})
    assert not faults, faults
    return stories[0]


def player_of(unless: Condition | None, start: str, more: str = "") -> StoryPlayer:
    """The story with the first step of the rule alone, played so far; both engines match its events."""
    book = rulebook()
    rule = book.rules[RULE]
    rule = replace(rule, steps=(replace(rule.steps[0], unless=unless),))
    story = read_story(STORY.format(start=start) + "".join(f"    - {line}\n" for line in more.splitlines()))
    player = StoryPlayer.of(story, replace(book, rules={RULE: rule}))
    for step in story.steps:
        player.play(step)
    return player


def told_and_left_out(player: StoryPlayer) -> tuple[set[object], set[object]]:
    effects = player.observed()
    left_out: set[object] = {effect.person for effect in effects if effect.kind is EffectKind.LEFT_OUT}
    assert {effect.reason for effect in effects if effect.kind is EffectKind.LEFT_OUT} <= {"unless"}
    return {effect.person for effect in effects if effect.kind is EffectKind.TELL}, left_out


def spared(condition: Condition, people: dict[int, tuple[str | None, str, str]]) -> set[object]:
    """The people for whom the condition holds, by the values written here and not by those that rules look up."""
    names = ("recipient.country", "recipient.language", "recipient.role")
    return {person for person, values in people.items() if holds(condition, dict(zip(names, values, strict=True)))}


def comparisons() -> st.SearchStrategy[Condition]:
    def of(name: str, words: tuple[str, ...]) -> st.SearchStrategy[Condition]:
        one = st.sampled_from(words)
        return st.one_of(
            one.map(lambda word: Compare(name, Operator.IS, word)),
            one.map(lambda word: Compare(name, Operator.IS_NOT, word)),
            st.lists(one, min_size=1, max_size=2).map(lambda some: Compare(name, Operator.ONE_OF, tuple(some))),
            st.booleans().map(lambda exists: Compare(name, Operator.EXISTS, exists)),
        )

    named = {"recipient.country": COUNTRIES, "recipient.language": LANGUAGES, "recipient.role": ROLES}
    return st.one_of(*(of(name, words) for name, words in named.items()))


def joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return st.one_of(some.map(AllOf), some.map(AnyOf), parts.map(NoneOf))


CONDITIONS = st.recursive(comparisons(), joined, max_leaves=5)


# ------------------------------------------------------------------ who is written to


@given(CONDITIONS)
def test_exactly_those_for_whom_the_condition_holds_are_left_out(condition: Condition) -> None:
    out = spared(condition, dict(VALUES))
    player = player_of(condition, AT_DAY)
    assert told_and_left_out(player) == (set(VALUES) - out, out)


@given(CONDITIONS, st.permutations(COUNTRIES), st.permutations(LANGUAGES))
def test_a_held_message_goes_by_the_values_of_the_morning(
    condition: Condition, countries: list[str], languages: list[str]
) -> None:
    """People move and change their language in the night; who was left out in the evening stays so."""
    player = player_of(condition, AT_NIGHT)
    told, before = told_and_left_out(player)
    assert (told, before) == (set(), spared(condition, dict(VALUES)))
    moved = {
        number: (countries[index % 3], languages[index % 3], role)
        for index, (number, (_, _, role)) in enumerate(VALUES.items())
    }
    facts = player.simulation.facts
    for number, (country, language, _) in moved.items():
        person = player.people.people[ContactId(number)]
        facts.people[person.person_id] = person.replace(country=country, language=language)
    player.play(read_story(STORY.format(start=AT_NIGHT) + f"    - {MORNING}\n").steps[-1])
    held = {number: values for number, values in moved.items() if number not in before}
    after = spared(condition, dict(held))
    assert told_and_left_out(player) == (set(held) - after, after)


def test_the_reason_and_the_person_are_kept_with_the_step() -> None:
    player = player_of(Compare("recipient.country", Operator.IS, "FR"), AT_DAY)
    (chain,) = player.simulation.facts.chains.values()
    person = player.people.people[ContactId(802)].person_id
    assert chain.steps[0].left_out == {person: "unless"}
    assert not chain.steps[0].unreached


# ------------------------------------------------------------------ who else knows it


def fields_of_second_engine(rule: Rule) -> set[str]:
    """The fields that durable-rules gets of an event; none where it cannot be imported."""
    matcher = RuleMatcher([rule])
    engines = [each.second_engine for each in (matcher._starts, matcher._untils) if each.second_engine is not None]
    shards = [shard for engine in engines for some in engine._shards.values() for shard in some]
    return {name for shard in shards for name, _ in shard.projection._read}


@given(CONDITIONS)
def test_the_second_engine_is_not_asked_about_a_recipient_and_agrees_on_the_rest(condition: Condition) -> None:
    """It answers for a whole rule, by its ``if`` and ``until``: the evaluator alone judges each person."""
    rule = rulebook().rules[RULE]
    began = replace(rule, condition=Compare("work.cancelled", Operator.IS_NOT, operand=True))
    step = replace(rule.steps[0], unless=condition)
    given_to_it = fields_of_second_engine(replace(began, steps=(step,)))
    assert given_to_it == ({"work.cancelled"} if second_engine.IS_AVAILABLE else set())
    player = player_of(condition, AT_DAY)
    assert player.simulation.decider.matcher.disagreements == 0
    assert [chain.rule for chain in player.simulation.facts.chains.values()] == [RULE]


def test_why_not_names_the_condition_also_of_a_message_that_was_held() -> None:
    late = AllOf(
        (Compare("recipient.country", Operator.IS, "FR"), Compare("work.cancelled", Operator.IS, operand=True))
    )
    player = player_of(late, AT_NIGHT, "facts: {work.cancelled: true}\n" + MORNING)
    (chain,) = player.simulation.facts.chains.values()
    person = player.people.people[ContactId(802)].person_id
    found = why_not_by_chain(chain, rulebook().rules[RULE], person)
    assert not found.got
    assert list(found.sentences) == [
        "They were left out of step 1: the “unless” of the step holds for this person (unless).",
        "The condition belongs to the step at proofs-by-post.rule.yaml:7.",
    ]


def test_stories_cover_both_branches_of_the_condition_and_the_reason() -> None:
    story = read_story(STORY.format(start=AT_DAY))
    coverage = StoryCoverage.of(rulebook(), [RULE])
    run_story(story, rulebook(), coverage)
    covered = {item.name for item in coverage.result.covered if item.kind in {CoverageKind.BRANCH, CoverageKind.REASON}}
    assert {f"{RULE}: step 1, tell: unless is {branch}" for branch in ("true", "false")} < covered
    assert "unless" in covered


def test_the_picture_says_that_a_step_is_not_for_everybody() -> None:
    drawn = mermaid(graph_of(rulebook().rules[RULE]))
    assert '"tell author, agent (proofs_by_post), not to those for whom recipient.country is one of [US, CA]"' in drawn
