"""Limits unsolicited messages (``limits.yaml``: ``brake``), against answering machines and floods.

For each person, only a limited number of messages in a period is answered or starts a rule, and a repeated message
never is. Strangers, the people whom Consonance does not know, share a second limit: it counts the chains that their
messages start, and the answers that start none. This count is one row of the tenant with a version. When two
transactions change it at the same time, one of them is repeated.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b

from services.rules.conversation.context import DecisionContext, HeldStrangers, Reason
from services.rules.conversation.document import MESSAGE_RECEIVED, start_data
from services.rules.conversation.fact_values import MessageFingerprint, StrangersMessages, UnsolicitedMessages
from services.rules.conversation.question_lookup import FoundQuestion, UnclearQuestion
from services.rules.rulebook.built_in import PAUSED_RULE_PREFIX
from shared.contracts.ids import ChainId, PersonId
from shared.contracts.intents import is_login_code
from shared.contracts.whatsapp import MessageKind, MessageReceived

_SENTENCE_KEPT = timedelta(days=7)
"""An away message repeats its text for as long as its writer is away."""
_REPORT_EVERY = timedelta(days=1)
_MOST_TEXTS = 8
_MOST_WORDS = 40
_SENTENCE_WORDS = 5
"""In words. A person may write “yes” to two questions, but does not write the same sentence twice by chance."""
_ALIKE = 0.8
"""The share of words that two sentences have in common; numbers do not count."""
_WORD = re.compile(r"[^\W\d_]+")
_LOGIN_CODE_KEPT = timedelta(days=90)


def exceeded_limit(
    context: DecisionContext,
    message: MessageReceived,
    found: FoundQuestion | UnclearQuestion,
    *,
    starts: int = 0,
    fills: bool = False,
    opens: bool = False,
) -> Reason | None:
    """Count an unsolicited message, or return the limit that it exceeds.

    ``starts`` is how many rules it would start. While all strangers together are above their limit, a message of one
    of them starts no rule, gets no answer and is not counted; running chains go on.
    """
    about = found.chain if isinstance(found, FoundQuestion) else None
    begins = is_stranger(context, message.person_id) and (about is None or not about.active)
    if begins and not are_strangers_below_limit(context, max(starts, 1)):
        hold_stranger(context)
        return Reason.STRANGERS_BRAKED
    concerned = about.chain_id if about is not None else None
    if _exceeds_own_limit(context, message, concerned, starts=bool(starts), fills=fills, opens=opens):
        return Reason.BRAKED
    if begins:
        count_strangers(context, max(starts, 1))
    return None


def _exceeds_own_limit(
    context: DecisionContext,
    message: MessageReceived,
    about: ChainId | None,
    *,
    starts: bool,
    fills: bool,
    opens: bool,
) -> bool:
    """Count an unsolicited message; true where it is above the limit, or a repetition.

    ``about`` is the chain it would answer. ``starts``: it would start rules, for which the limit is higher. ``fills``:
    it is meant for a form, which explains again what it does not accept. ``opens``: it would open a chain.
    """
    limit, now = context.rulebook.tenant.unsolicited, context.now
    known = context.facts.unsolicited.get(message.person_id, UnsolicitedMessages())
    words = (_LOGIN_CODE,) if about is None and _is_login_code(message) else _word_hashes(message)
    fingerprint = MessageFingerprint(words=words, about=about, at=now)
    recent = [at for at in (known.started if starts else known.answered) if at > now - limit.within]
    most = limit.chains if starts else limit.answers
    again = not fills and any(_is_repetition(fingerprint, before, limit.within) for before in known.recent)
    counted = (*recent, now)[-most:]
    known = known.replace(
        recent=kept_fingerprints((*known.recent, fingerprint)), **{"started" if starts else "answered": counted}
    )
    context.facts.set_unsolicited(message.person_id, known)
    return again or len(recent) >= most or (opens and _has_too_many_open(context, message.person_id))


def _has_too_many_open(context: DecisionContext, person: PersonId) -> bool:
    """Whether the person's own messages have opened as many chains as may be open; reports of the limit do not count.

    Chains that wait for the morning are open, too: so a stranger cannot fill a night with them.
    """
    limit = context.rulebook.tenant.unsolicited
    ids = context.facts.ids_of_person(person)
    chains = {chain.chain_id: chain for one in sorted(ids) for chain in context.facts.chains_of(one)}
    opened = [
        chain
        for chain in chains.values()
        if chain.start_name == MESSAGE_RECEIVED
        and not chain.rule.startswith(PAUSED_RULE_PREFIX)
        and getattr(start_data(chain), "person_id", None) in ids
    ]
    return len(opened) >= (limit.strangers_open if is_stranger(context, person) else limit.open)


def is_repeated_sentence(context: DecisionContext, person: PersonId, text: str, others: Iterable[str]) -> bool:
    """Whether the person lately wrote the very same sentence unasked, or it is one of the ``others``.

    A machine repeats itself word by word to each message it gets. A text that is shorter than a sentence may be meant
    twice.
    """
    words = _text_hashes(text)
    if len(words) < _SENTENCE_WORDS:
        return False
    known = context.facts.unsolicited.get(person, UnsolicitedMessages())
    lately = (one.words for one in known.recent if context.now - one.at < _SENTENCE_KEPT)
    return words in {*lately, *(_text_hashes(text) for text in others)}


def should_report(context: DecisionContext, message: MessageReceived) -> bool:
    """Whether to report it to a colleague now: at most once a day for each person."""
    known = context.facts.unsolicited.get(message.person_id, UnsolicitedMessages())
    if known.reported_at is not None and context.now < known.reported_at + _REPORT_EVERY:
        return False
    context.facts.set_unsolicited(message.person_id, known.replace(reported_at=context.now))
    return True


def _is_repetition(fingerprint: MessageFingerprint, before: MessageFingerprint, within: timedelta) -> bool:
    """A sentence counts as a repetition for days; a few words only within the limit's span, to the same question.

    One login code is like another, for months.
    """
    if not fingerprint.words:
        return False
    ago = fingerprint.at - before.at
    if fingerprint.words == (_LOGIN_CODE,):
        return before.words == fingerprint.words and ago < _LOGIN_CODE_KEPT
    if min(len(fingerprint.words), len(before.words)) < _SENTENCE_WORDS:
        return ago < within and (fingerprint.words, fingerprint.about) == (before.words, before.about)
    mine, theirs = set(fingerprint.words), set(before.words)
    alike = mine <= theirs or theirs <= mine or len(mine & theirs) >= _ALIKE * len(mine | theirs)
    return ago < _SENTENCE_KEPT and alike


def kept_fingerprints(fingerprints: Iterable[MessageFingerprint]) -> tuple[MessageFingerprint, ...]:
    """The newest fingerprints of a list in order of time, each once; that of a login code is kept in addition."""
    newest = {(one.words, one.about): one for one in fingerprints}
    kept = sorted(newest.values(), key=lambda one: one.at)
    codes = (one for one in kept[:-_MOST_TEXTS] if one.words == (_LOGIN_CODE,))
    return (*codes, *kept[-_MOST_TEXTS:])


def _is_login_code(message: MessageReceived) -> bool:
    return message.message_kind is MessageKind.TEXT and is_login_code(message.text)


def _word_hashes(message: MessageReceived) -> tuple[int, ...]:
    """Hashes of the words without digits, so that the text is not kept; for a file, the hash of its id.

    A tap has none: machines do not tap, and people tap twice.
    """
    if message.media is not None:
        return (word_hash(message.media.sha256 or message.media.media_id),)
    if message.button_id is not None:
        return ()
    return _text_hashes(message.text or message.message_kind)


def _text_hashes(text: str) -> tuple[int, ...]:
    words = _WORD.findall(text.casefold())
    return tuple(map(word_hash, words[:_MOST_WORDS] or [text]))


def word_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest())


_LOGIN_CODE = word_hash("a login code")
"""Stands for the words of any text that is one."""


# ------------------------------------------------------------------ all strangers together


def is_stranger(context: DecisionContext, person: PersonId) -> bool:
    """Whether Consonance does not know the person."""
    known = context.facts.current_person(person)
    return known is None or known.contact_id is None


def are_strangers_below_limit(context: DecisionContext, chains: int) -> bool:
    """Whether strangers may start so many chains now. Where nothing is counted, they may start any number."""
    recent, most = _recent_strangers(context), context.rulebook.tenant.unsolicited.strangers_chains
    return not recent or len(recent) + chains <= most


def count_strangers(context: DecisionContext, chains: int) -> None:
    """Count chains that are about to start, or one answer."""
    started = (*_recent_strangers(context), *[context.now] * chains)
    context.facts.set_strangers(_strangers(context).replace(started=started))


def hold_stranger(context: DecisionContext) -> None:
    """Keep a message without an answer, with its reason. The first one in each ``within`` is logged."""
    context.add_reason(Reason.STRANGERS_BRAKED)
    known, limit = _strangers(context), context.rulebook.tenant.unsolicited
    if known.reported_at is None or context.now >= known.reported_at + limit.within:
        context.facts.set_strangers(known.replace(reported_at=context.now))
        context.observations.append(HeldStrangers(limit.strangers_chains, limit.within))


def _strangers(context: DecisionContext) -> StrangersMessages:
    return context.facts.strangers.get(context.tenant) or StrangersMessages()


def _recent_strangers(context: DecisionContext) -> tuple[datetime, ...]:
    since = context.now - context.rulebook.tenant.unsolicited.within
    return tuple(at for at in _strangers(context).started if at > since)
