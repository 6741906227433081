"""What a short text means before any rule reads it: stop, start again, why, wrong person, away. One classifier for all.

WhatsApp does not act on these words; the business must, in every language it writes in (facts: whatsapp §6).
"""

import re
import unicodedata
from enum import StrEnum


class Intent(StrEnum):
    STOP = "stop"
    START = "start"
    WHY = "why"
    WRONG_PERSON = "wrong_person"
    AWAY = "away"


_WORDS: dict[Intent, frozenset[str]] = {
    Intent.STOP: frozenset(
        {
            "stop", "stopp", "unsubscribe", "opt out", "optout", "stop all", "stopall", "cancel all", "end messages",
            "arret", "arreter", "arretez", "stopper", "desabonner", "me desabonner", "desinscription", "desinscrire",
            "abbestellen", "abmelden", "anular suscripcion", "baja", "alto", "basta", "cancella", "disiscrivi", "parar",
            "sair", "afmelden",
        }
    ),
    Intent.START: frozenset(
        {
            "start", "unstop", "resume", "subscribe", "opt in", "reprendre", "reprise", "demarrer", "recommencer",
            "starten", "weiter", "iniciar", "reanudar", "inizia", "comecar",
        }
    ),
    Intent.WHY: frozenset(
        {
            "why", "why me", "why this", "why am i getting this", "why did i get this", "pourquoi", "pourquoi moi",
            "pourquoi ce message", "warum", "wieso", "por que", "perche", "porque", "waarom",
        }
    ),
    Intent.WRONG_PERSON: frozenset(
        {
            "wrong person", "wrong number", "not me", "i am not this person", "mauvaise personne", "mauvais numero",
            "erreur de numero", "ce n est pas moi", "falsche person", "falsche nummer", "numero equivocado",
            "persona equivocada", "numero sbagliato", "numero errado",
        }
    ),
    Intent.AWAY: frozenset(
        {
            "away", "on leave", "on holiday", "on vacation", "out of office", "ooo", "absent", "absente", "en conge",
            "en vacances", "im urlaub", "abwesend", "de vacaciones", "in ferie", "de ferias",
        }
    ),
}  # fmt: skip
_INTENTS = {word: intent for intent, words in _WORDS.items() for word in words}
_NOT_WORDS = re.compile(r"[^\w]+")


def classify(text: str | None) -> Intent | None:
    """The intent of a text that says only that; a sentence that merely contains the word has none."""
    return _INTENTS.get(_plain(text)) if text else None


def _plain(text: str) -> str:
    """Lower case, without accents, punctuation or emoji: ``«Arrêtez !»`` → ``arretez``."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return _NOT_WORDS.sub(" ", letters).strip()
