"""Classifies a short text before any rule reads it: stop, start again, why, wrong person, away, thanks. One classifier.

WhatsApp does not act on these words; the business must, in every language a person may write in. The words are data, in
``intents.toml`` with their sources. A text has an intent only if it says nothing else: the whole of it is phrases of
that intent, with courtesies around them. A sentence that merely contains such a word has none.

Compared are letters and digits: in any case and width, without accents, emoji or punctuation. A word that mixes Latin
letters with Cyrillic or Greek ones that look the same is read in one script. Scripts that put no
spaces between words are compared letter by letter.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_suffix(".toml")
_LONGEST_TEXT = 250
"""Characters; what is longer says more than one of these things."""


class ReplyIntent(StrEnum):
    STOP = "stop"
    START = "start"
    WHY = "why"
    WRONG_PERSON = "wrong_person"
    AWAY = "away"
    THANKS = "thanks"


def classify(text: str | None) -> ReplyIntent | None:
    """The first intent, in the order of ``ReplyIntent``, whose phrases make up the whole text; None where there is
    none.
    """
    if not text or len(text) > _LONGEST_TEXT:
        return None
    phrases = _phrases()
    words, exact = _words(text), _words(text, _exact)
    if phrases.consist_of(exact, phrases.stop_exact, phrases.courtesies_exact):
        return ReplyIntent.STOP
    allowed = {
        ReplyIntent.STOP: phrases.courtesies | phrases.of[ReplyIntent.WRONG_PERSON],
        ReplyIntent.THANKS: phrases.with_thanks,
    }
    return next(
        (
            each
            for each in ReplyIntent
            if phrases.consist_of(words, phrases.of[each], allowed.get(each, phrases.courtesies))
        ),
        None,
    )


def is_stop_keyword(text: str | None) -> bool:
    """Whether the text is STOP itself, the one word our own messages name as the way out."""
    return set(_words(text or "")) == {"stop"}


def has_words(text: str | None) -> bool:
    """Whether there is a letter or a digit in it: emoji and punctuation alone are no words."""
    return bool(_words(text or ""))


def is_login_code(text: str | None) -> bool:
    """Whether the text looks like one by which a machine sends a code to log in or confirm: it is short, names a code,
    and has one.

    A code without other words counts, too. A person may also write such a text, for instance a number that was asked
    for. So it alone proves nothing: callers use it to recognize that texts from one address are all of this kind.
    """
    if not text or len(text) > _LONGEST_TEXT:
        return False
    plain = _with_plain_digits(text)
    if _LOGIN_CODE.search(plain) is None:
        return False
    return _LOGIN_CODE.fullmatch(plain.strip()) is not None or _contain(_words(plain), _set("code"))


_LOGIN_CODE = re.compile(
    r"(?<!\w)(?:[A-Z]{1,3}-)?"
    r"(?:\d{4,8}|\d{3}[ \u00a0-]\d{3}|(?=[A-Z]*\d)(?=\d*[A-Z])[A-Z0-9]{5,8})(?![^\W_])",
    re.ASCII,
)
"""Four to eight digits, in one or two groups, or capitals with digits among them."""


def is_unmistakable_code(text: str) -> bool:
    """Whether the text is a login code even as the answer to a question for a text: “1984”, “SE7EN” and “Code 46” are
    none.

    Six digits, or digits with letters before them as in G-482913, are one alone or in a text that names a code; other
    numbers only within four words of where it is named. A person may still have meant it as the answer, so the caller
    asks.
    """
    if not is_login_code(text):
        return False
    plain = _with_plain_digits(text)
    if _SURE_CODE.search(plain) is not None:
        return True
    words, phrases = _words(plain), _set("code")
    longest = max(map(len, phrases))
    named = [
        at
        for at in range(len(words))
        if any(words[at : at + size] in phrases for size in range(1, min(longest, len(words) - at) + 1))
    ]
    numbers = [at for at, word in enumerate(words) if any(map(str.isdigit, word))]
    return any(abs(one - other) <= _NEAR for one in named for other in numbers)


_SURE_CODE = re.compile(r"(?<!\w)(?:[A-Z]{1,3}-\d{4,8}|\d{6}|\d{3}[ \u00a0-]\d{3})(?![^\W_])", re.ASCII)
_NEAR = 4
"""In words."""


def _with_plain_digits(text: str) -> str:
    """The digits of Arabic, Persian, Hindi and other scripts as those from 0 to 9."""
    return "".join(str(unicodedata.decimal(each)) if each.isdecimal() else each for each in text)


def is_automatic_reply(text: str | None) -> bool:
    """Whether a machine seems to have written the text: a notice that its owner is away, or the greeting of a business.

    It contains a phrase with which such texts begin or end, wherever that stands. A person may write one too, so the
    caller asks.
    """
    if not text or len(text) > _LONGEST_AUTOMATIC:
        return False
    return _contain(_words(text), _set("automatic"))


_LONGEST_AUTOMATIC = 600
"""Characters; in longer texts people tell stories, in which such a phrase may stand."""


def languages() -> frozenset[str]:
    """The languages, by their codes, in which a wish to stop is understood."""
    return frozenset(_languages())


def normalize_words(text: str) -> "Words":
    """The words of a text as they are compared: in any case, without accents, emoji or punctuation."""
    return _words(text)


def phrases_of(intent: ReplyIntent) -> frozenset["Words"]:
    """The phrases of an intent in every language, as ``normalize_words`` spells them."""
    return _phrases().of[intent]


# ------------------------------------------------------------------ the phrases


Words = tuple[str, ...]
Spelling = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Phrases:
    """``courtesies`` may stand beside a phrase of any intent. ``exact`` sets are compared with accents. ``longest`` is
    the length of the longest phrase in words.
    """

    of: Mapping[ReplyIntent, frozenset[Words]]
    courtesies: frozenset[Words]
    with_thanks: frozenset[Words]
    stop_exact: frozenset[Words]
    courtesies_exact: frozenset[Words]
    longest: int

    def consist_of(self, words: Words, core: frozenset[Words], courtesies: frozenset[Words]) -> bool:
        """Whether ``words`` are phrases of ``core`` and ``courtesies`` alone, with at least one of ``core``."""
        reached = {0: False}  # positions where a phrase may begin, and whether one of core came before
        for start in range(len(words)):
            if start not in reached:
                continue
            for end in range(start + 1, min(start + self.longest, len(words)) + 1):
                phrase = words[start:end]
                if phrase in core:
                    reached[end] = True
                elif phrase in courtesies:
                    reached[end] = reached.get(end, False) or reached[start]
        return reached.get(len(words), False)


@cache
def _languages() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(_FILE.read_text("utf-8"))


@cache
def _phrases() -> _Phrases:
    of = {intent: _set(intent) for intent in ReplyIntent}
    courtesies, with_thanks, exact = _set("courtesies"), _set("with_thanks"), _set("stop_exact", _exact)
    everything = (*of.values(), courtesies, with_thanks, exact)
    return _Phrases(
        of=of,
        courtesies=courtesies,
        with_thanks=with_thanks | courtesies,
        stop_exact=exact,
        courtesies_exact=_set("courtesies", _exact),
        longest=max(len(phrase) for phrases in everything for phrase in phrases),
    )


def _contain(words: Words, phrases: frozenset[Words]) -> bool:
    """Whether one of the phrases stands in the words."""
    longest = max(map(len, phrases))
    return any(words[at : at + size] in phrases for at in range(len(words)) for size in range(1, longest + 1))


@cache
def _set(kind: str, spelling: Spelling | None = None) -> frozenset[Words]:
    of = (phrase for language in _languages().values() for phrase in language.get(kind, ()))
    return frozenset(_words(phrase, spelling or _plain) for phrase in of)


# ------------------------------------------------------------------ spelling


_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
"""Of Latin, Greek and Cyrillic letters, and the vowel signs of Hebrew and Arabic, which are mostly not written."""
_ALIKE = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"}
    | {"ی": "ي", "ى": "ي", "ک": "ك", "ة": "ه"}
)  # fmt: skip
"""Letters that are one letter with a stroke, or that keyboards have two of."""
_LATIN, _NOT_LATIN = re.compile("[a-z]"), re.compile("[\u0370-\u052f]")
"""Latin letters; Greek and Cyrillic ones."""
_CYRILLIC = dict(zip("авекмнорстухіјѕ", "abekmhopctyxijs", strict=True))
_GREEK = dict(zip("αβεζηικμνορτυχ", "abezhikmnoptyx", strict=True))
_TO_LATIN = str.maketrans(_CYRILLIC | _GREEK)
_TO_CYRILLIC = str.maketrans({latin: cyrillic for cyrillic, latin in _CYRILLIC.items()})
"""Letters that look alike, small or capital: https://www.unicode.org/reports/tr39/#Confusable_Detection"""
_UNSEEN = re.compile("['’‘ʼ`´ʻ\u0640\u00ad\u200b-\u200f\u2060\ufe0f]")
"""Apostrophes, and what takes no room: joiners, marks of direction, the stretched line of Arabic."""
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff])")
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


def _words(text: str, spelling: Spelling | None = None) -> Words:
    spelled = (spelling or _plain)(_UNSEEN.sub("", text))
    letters = "".join(each if _is_in_word(each) else " " for each in spelled)
    words = tuple(_UNSPACED.sub(r" \1 ", letters).split())
    return _spelled_out(tuple(map(_in_one_script, words)))


def _is_in_word(character: str) -> bool:
    """A letter, a digit or a sign on one; what stands around a character, as in a keycap, is none."""
    category = unicodedata.category(character)
    return category[0] in "LMN" and category != "Me"


def _plain(text: str) -> str:
    """``«Arrêtez !»`` → ``«arretez !»``; half and full width, ligatures and ornate letters become plain ones."""
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    return _ACCENTS.sub("", decomposed).translate(_ALIKE)


def _exact(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.casefold()).casefold())


def _in_one_script(word: str) -> str:
    """A word of two scripts in one of them, as far as letters look alike: a keyboard was switched in the middle."""
    if word.isascii() or not (_LATIN.search(word) and _NOT_LATIN.search(word)):
        return word
    if not _NOT_LATIN.search(latin := word.translate(_TO_LATIN)):
        return latin
    return word if _LATIN.search(cyrillic := word.translate(_TO_CYRILLIC)) else cyrillic


def _spelled_out(words: Words) -> Words:
    """``S.T.O.P.`` is one word."""
    letters = len(words) > 2 and all(len(word) == 1 and word.isascii() for word in words)
    return ("".join(words),) if letters else words
