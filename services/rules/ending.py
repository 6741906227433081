"""How chains end: what is unsent is taken back, questions close, and writes asked for may still come to rest."""

from msgspec import Raw

from services.rules import speak
from services.rules.chain import Chain, Delivery, Ending, Outgoing, StepStatus
from services.rules.desk import Desk, Ended
from services.rules.filling import UNTIL
from services.rules.rulebook import Verb
from services.rules.speak import Speech, withdraw


def close(desk: Desk, chain: Chain, ending: Ending) -> Chain:
    """The chain's last word is said: questions close, and all that is unsent is taken back but what this end says."""
    chain = withdraw(desk, chain, str(ending), lambda m: not _belongs_to_the_end(desk, chain, m))
    return finish(desk, speak.close_questions(chain).replace(closing=_as_left(chain, ending), taken=None))


def _as_left(chain: Chain, ending: Ending) -> Ending:
    """What nobody could be asked or given rests with the owner team, and did not come to its usual end."""
    unusual = chain.unclaimed and ending in {Ending.DONE, Ending.GAVE_UP}
    return Ending.LEFT_WITH_OWNER if unusual else ending


def _belongs_to_the_end(desk: Desk, chain: Chain, outgoing: Outgoing) -> bool:
    """Replies, and what the answer, the last step or the ``until`` says by which the chain ends now.

    What is said of a write, or of somebody's second thoughts, is no less true after the end.
    """
    if outgoing.is_question:
        return False
    last = outgoing.step == len(chain.steps) - 1 and outgoing.verb is Verb.GIVE_UP
    if outgoing.reply or last:
        return True
    return outgoing.answer is not None and (outgoing.message_id in desk.spoken or _stays_true(chain, outgoing))


def _stays_true(chain: Chain, outgoing: Outgoing) -> bool:
    of_a_write = any((w.step, w.answer or "write") == (outgoing.step, outgoing.answer) for w in chain.writings)
    return outgoing.verb is Verb.TELL and (of_a_write or outgoing.answer == "house")


def finish(desk: Desk, chain: Chain) -> Chain:
    """End what is over: a closing chain whose writes rest, or one whose steps are all over and await nobody."""
    if not chain.live or any(w.pending for w in chain.writings):
        return chain
    if any(m.delivery is Delivery.HELD for m in chain.outgoing):
        return chain
    if chain.closing is None:
        if not all(s.over for s in chain.steps) or (chain.handed_over and not chain.unclaimed) or chain.taken:
            return chain
        chain = speak.close_questions(chain).replace(closing=_as_left(chain, Ending.DONE))
    desk.effects.append(Ended(chain.chain_id, chain.closing or Ending.DONE))
    return chain.replace(ended=chain.closing, next_due=None)


def end_by_until(desk: Desk, chain: Chain, index: int, said: Raw | None = None) -> Chain:
    """An ``until`` came true by what was ``said``: tell, withdraw the rest, end; while a write is pending it waits."""
    until = desk.rule_of(chain).until[index]
    if said is not None:
        chain = chain.replace(end_name=until.event, end=said)
    if any(w.pending and not w.told_manual for w in chain.writings):
        return desk.keep(chain.replace(deferred_until=index))
    if until.tell is not None:
        speech = Speech(Verb.TELL, until.tell.say, _last_begun(chain), UNTIL, str(chain.steps[0].occurrence))
        chain = speak.speak(desk, chain, until.tell.who, speech)
    return close(desk, chain, Ending.UNTIL)


def _last_begun(chain: Chain) -> int:
    begun = [i for i, s in enumerate(chain.steps) if s.status is not StepStatus.PENDING]
    return max(begun, default=0)
