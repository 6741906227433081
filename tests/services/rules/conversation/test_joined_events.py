"""Events that join a chain: one message for all of them, a record of each, and a chain beside it afterwards."""

from collections import Counter

from services.rules.conversation.chain import MOST_JOINED, Chain, ChainState
from services.rules.conversation.facts import Facts
from services.rules.rulebook.loader import load
from services.rules.rulebook.rule_folder import read_folder
from services.rules.scenario.player import StoryPlayer
from shared.contracts.values import decode, encode
from shared.contracts.writes import RecordAcknowledgement, RequestWrite
from tests.services.rules.stories import FOLDER, own_rulebook, story, story_faults

PAYEE = "801: {roles: [author], country: GB}\n61: {roles: [finance], country: GB}"


def ready(number: int) -> str:
    return f"{{event: royalty.statement_ready, with: {{statement_id: ST-{number}, payee: 801}}}}"


def played(*moves: str) -> StoryPlayer:
    one = story(PAYEE, *moves, rule="royalty-statement")
    player = StoryPlayer.of(one, own_rulebook())
    for step in one.steps:
        assert player.play(step) == []
    return player


def statement_chains(facts: Facts) -> list[Chain]:
    return [chain for chain in facts.chains.values() if chain.rule == "royalty-statement"]


def test_a_joining_event_is_recorded_in_its_decision_and_in_the_chain() -> None:
    player = played(ready(1), ready(2))
    (chain,) = statement_chains(player.facts.facts)
    assert [each.name for each in chain.joined] == ["royalty.statement_ready"]
    assert decode(Chain, encode(chain)) == chain
    assert not chain.admits_another


def test_a_chain_leaves_its_place_once_its_message_has_gone() -> None:
    player = played(ready(1), "wait: 1 minute", "expect: [{ask: 801}]", ready(2))
    first, second = statement_chains(player.facts.facts)
    assert (first.state, first.admits_another, second.admits_another) == (ChainState.RUNNING, True, False)


def test_a_corrected_event_takes_the_place_of_the_earlier_one() -> None:
    player = played(ready(1), ready(2), ready(2), ready(1))
    (chain,) = statement_chains(player.facts.facts)
    assert len(chain.joined) == 1


def test_a_chain_gathers_a_bounded_number_of_events() -> None:
    (chain,) = statement_chains(played(ready(1), ready(2)).facts.facts)
    assert chain.gathers
    assert not chain.replace(joined=chain.joined * MOST_JOINED).gathers


def test_each_different_value_of_joined_events_is_named_once() -> None:
    period = "period: {from: 2026-01-01, to: 2026-06-30}"
    moves = (
        ready(1),
        f"{{event: royalty.statement_ready, with: {{statement_id: ST-2, payee: 801, {period}}}}}",
        "wait: 1 minute",
        'expect: [{ask: 801, text: "for 1 July 2026 and 1 January 2026 to 31 December 2026 and 30 June 2026"}]',
    )
    assert played(*moves).simulation.effects == []


def test_words_are_no_answer_to_a_question_of_a_rule_that_joins_messages() -> None:
    moves = (
        "facts: {sender.open_acquisition: K7PQ2M}",
        "reply: {from: 5001, line: acquisitions, text: It is illustrated}",
        "written: {record: acquisition.append, as: verified}",
        "wait: 1 minute",
        "reply: {from: 5001, text: And it has maps}",
        "expect: [{record: acquisition.append}, {ask: 5001, say: pitch_noted}, {record: acquisition.append}]",
    )
    assert story_faults("5001: {visitor: true, country: GB}", *moves) == []


RULE = """\
rule: document-kept
owner: finance
why: {en: A document about your royalties is here.}
on: royalty.document_available
about: [payee.person_id, kind]
on_repeat: join
steps:
  - record: acknowledgement.record
    with: {kind: delivered}
    then: {record: acknowledgement.record, with: {kind: read}}
  - after: 1 minute
    tell: payee
    say: document_kept
"""
TEMPLATE = """\
template: document_kept
category: utility
version: 1
languages:
  en:
    body: A document about your royalties is here.
"""


def test_a_write_about_an_event_that_was_corrected_since_is_followed_by_nothing() -> None:
    files = {
        name: text for name, text in read_folder(FOLDER).items() if not name.endswith((".rule.yaml", ".test.yaml"))
    }
    book, faults = load({**files, "document-kept.rule.yaml": RULE, "document_kept.template.yaml": TEMPLATE})
    assert book is not None, faults
    documents = [
        f"{{event: royalty.document_available, with: {{document: {{doc_id: {number}}}}}}}"
        for number in ("D-1", "D-2", "D-2")
    ]
    written = "written: {record: acknowledgement.record, as: verified}"
    moves = (*documents, written, written, written)
    one = story(PAYEE, *moves, rule="document-kept")
    player = StoryPlayer.of(one, book)
    for step in one.steps:
        assert player.play(step) == []
    sent = [effect.input for effect in player.simulation.effects if isinstance(effect, RequestWrite)]
    kinds = Counter((one.document_id, one.acknowledgement) for one in sent if isinstance(one, RecordAcknowledgement))
    assert kinds == {("D-1", "delivered"): 1, ("D-2", "delivered"): 2, ("D-1", "read"): 1, ("D-2", "read"): 1}
