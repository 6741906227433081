"""How much one person's messages may cause that nobody asked for: against answering machines, and against floods.

Taps on open questions and answers that take a form on are asked for, and are never counted. Of the rest so many in a
while are answered (``limits.yaml``: ``brake``), and the same again is not. What is held is kept with the reason
``braked``, is not answered, and is told to a person of the house once a day.
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b

from services.rules.desk import Desk
from services.rules.world import Said, Unasked
from shared.contracts.ids import ChainId
from shared.contracts.whatsapp import MessageReceived

_REMEMBERED = timedelta(days=7)
"""An away message says the same for as long as its writer is away."""
_TOLD_AGAIN = timedelta(days=1)
_MOST_TEXTS = 8
_MOST_WORDS = 40
_A_SENTENCE = 5
"""Words. Two people may well say “yes” to two questions, but nobody writes the same sentence twice by chance."""
_ALIKE = 0.8
"""Of the words of two sentences, how many both have, unless one holds all of the other; numbers do not count."""
_WORD = re.compile(r"[^\W\d_]+")


def holds(
    desk: Desk, message: MessageReceived, about: ChainId | None, *, starts: bool = False, fills: bool = False
) -> bool:  # fmt: skip
    """Whether this unasked message is too many, or the same again; it is counted either way.

    ``about`` is the chain it would answer; ``starts``: it would start rules, which may be more often than answers.
    ``fills``: it is meant for a form, which explains more than once what does not fit.
    """
    limit, now = desk.book.tenant.brake, desk.now
    known = desk.world.unasked.get(message.person_id, Unasked())
    said = Said(words=_words_of(message), about=about, at=now)
    recent = [at for at in (known.started if starts else known.answered) if at > now - limit.within]
    most = limit.chains if starts else limit.answers
    again = not fills and any(_same_again(said, before, limit.within) for before in known.said)
    counted = (*recent, now)[-most:]
    known = known.replace(said=_remembered(known.said, said), **{"started" if starts else "answered": counted})
    desk.world.keep_unasked(message.person_id, known)
    return again or len(recent) >= most


def is_told(desk: Desk, message: MessageReceived) -> bool:
    """Whether a person of the house hears of it now; the next time is a day later at the earliest."""
    known = desk.world.unasked.get(message.person_id, Unasked())
    if known.told_at is not None and desk.now < known.told_at + _TOLD_AGAIN:
        return False
    desk.world.keep_unasked(message.person_id, known.replace(told_at=desk.now))
    return True


def _same_again(said: Said, before: Said, within: timedelta) -> bool:
    """A sentence is remembered for days, whatever it answered; a few words only for a while, as the same answer."""
    if not said.words:
        return False
    ago = said.at - before.at
    if min(len(said.words), len(before.words)) < _A_SENTENCE:
        return ago < within and (said.words, said.about) == (before.words, before.about)
    mine, theirs = set(said.words), set(before.words)
    alike = mine <= theirs or theirs <= mine or len(mine & theirs) >= _ALIKE * len(mine | theirs)
    return ago < _REMEMBERED and alike


def _remembered(before: Iterable[Said], said: Said) -> tuple[Said, ...]:
    others = (one for one in before if (one.words, one.about) != (said.words, said.about))
    return (*others, said)[-_MOST_TEXTS:]


def _words_of(message: MessageReceived) -> tuple[int, ...]:
    """Hashes of its words without digits, so that the text itself is not kept; of a file, which one it is.

    None of a tap: machines do not tap, and people tap twice.
    """
    if message.media is not None:
        return (_hash(message.media.sha256 or message.media.media_id),)
    if message.button_id is not None:
        return ()
    words = _WORD.findall((message.text or "").casefold())
    return tuple(map(_hash, words[:_MOST_WORDS] or [message.text or message.message_kind]))


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest())
