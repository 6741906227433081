"""The meaning of a text before any rule reads it: every language's words, and sentences that only contain them."""

from itertools import combinations

import pytest

from shared.contracts.intents import (
    ReplyIntent,
    _languages,
    _phrases,
    classify,
    has_words,
    is_automatic_reply,
    is_login_code,
    is_stop_keyword,
    is_unmistakable_code,
    languages,
)

TEMPLATE_LANGUAGES = {
    "af", "sq", "ar", "az", "be", "bn", "bg", "ca", "zh", "hr", "cs", "da", "prs", "nl", "en", "et", "fil",
    "fi", "fr", "ka", "de", "el", "gu", "ha", "he", "hi", "hu", "id", "ga", "it", "ja", "kn", "kk", "rw", "ko",
    "ky", "lo", "lv", "lt", "mk", "ms", "ml", "mr", "nb", "ps", "fa", "pl", "pt", "pa", "ro", "ru", "sr", "si",
    "sk", "sl", "es", "sw", "sv", "ta", "te", "th", "tr", "uk", "ur", "uz", "vi", "zu",
}  # fmt: skip
"""https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/supported-languages"""

STOP_WORDS = [
    (language, word)
    for language, phrases in _languages().items()
    for word in (*phrases["stop"], *phrases.get("stop_exact", ()))
]


def test_a_wish_to_stop_is_understood_in_every_language_a_house_can_write_in() -> None:
    assert TEMPLATE_LANGUAGES - languages() == set()


@pytest.mark.parametrize("language", sorted(languages()))
def test_a_stop_word_stops_however_it_is_written(language: str) -> None:
    for word in (word for of, word in STOP_WORDS if of == language):
        ways = (
            word,
            word.upper(),
            f" {word}. ",
            f"*{word}*",
            f"{word}!!! 🛑",
            f"_{word}_",
            f"{word} please",
            f"{word}\n",
        )
        assert {way: classify(way) for way in ways if classify(way) is not ReplyIntent.STOP} == {}


@pytest.mark.parametrize(
    "text",
    [
        "QUIT", "END", "REVOKE", "CANCEL", "STOPALL", "opt out", "Opt-out.", "OPTOUT", "Unsubscribe me, please", "PARE",
        "SALIR", "CANCELAR", "BAJA", "стоп", "Стоп!", "停止", "請停止", "停止してください", "ｽﾄｯﾌﾟ", "توقف", "توقّف",
        "please stop", "Please stop now, thank you", "stop stop stop", "ＳＴＯＰ", "S.T.O.P.", "İPTAL", "çik",
        "Don’t contact me again", "arretez", "ARRÊTEZ s’il vous plaît", "hủy", "STOP\u200b", "stop ✋🏽",
        "Stоp", "SТОР", "Cтoп", "𝐒𝐓𝐎𝐏", "🛑 STOP 🛑", "STOP\u20e3", "\u202eSTOP\u202c", "S\u200bTOP", "стоп STOP",
        "Don’t write to me any more", "do not contact me any more please", "I no longer wish to receive messages",
        "Ne plus m’écrire", "Ne plus me contacter, merci", "Stop\n\nMit freundlichen Grüßen", "STOP SMS",
        "STOP\n\nSent from my iPhone", "Désinscription, cordialement", "Bitte nicht mehr anschreiben",
        "Einwilligung widerrufen", "No me contacten más, por favor", "Deja de escribirme", "Baja. Saludos",
        "Não me enviem mais mensagens", "Non contattatemi più, grazie", "Schrijf me niet meer aub", "Nie pisz więcej",
        "Wrong number, stop!", "Stop please, you have the wrong number", "Falsche Nummer, bitte keine Nachrichten mehr",
        "Please stop sending me these", "Merci de ne plus m’envoyer de messages",
    ],
)  # fmt: skip
def test_this_stops(text: str) -> None:
    assert classify(text) is ReplyIntent.STOP


@pytest.mark.parametrize(
    "text",
    [
        "End of chapter 3 is attached", "Please don't stop", "stop the presses please, the title is wrong", "The end",
        "Don’t stop", "never stop", "non-stop", "Perfect end!", "Is the end date right?", "The title is Stop",
        "stopped", "Please cancel the meeting on Friday", "I'd like to cancel the contract", "Quit India",
        "El fin de semana no puedo", "Dung", "Huy", "bus stop", "Stop 14", "We end in May", "停止しません",
        "La fin du chapitre 3 me plaît", "À la fin", "Arrêt sur image", "Alto, espera", "Alto relieve en la cubierta",
        "Basta che sia in blu", "Halt die Frist ein", "Das ist das Ende", "Para mí está bien",
        "Stop! The cover is wrong", "yes stop", "Please stop the print run", "Cancel my last answer",
        "Remove the comma", "no more changes", "완벽합니다",
        "Regards", "Viele Grüße", "Je ne souhaite plus recevoir de messages de cet auteur", "Ich widerspreche",
        "", "👍", "🛑", "Yes", "No", "Done", "s", "Endo", "Basta così poco per essere felici", "word " * 80 + "stop",
    ],
)  # fmt: skip
def test_this_does_not_stop(text: str) -> None:
    assert classify(text) is not ReplyIntent.STOP


@pytest.mark.parametrize(
    "text",
    [
        "ok", "merci", "Thanks!", "Thank you so much 🙏", "Thanks for letting me know!", "Vielen Dank!",
        "Merci beaucoup, bonne journée", "muchas gracias 😊", "Obrigada!", "ありがとうございます", "谢谢！",
        "شكرا جزيلا", "спасибо большое", "Noted.",
        "Ok thx", "Great news, thank you!", "👌 perfect",
    ],
)  # fmt: skip
def test_this_is_only_thanks(text: str) -> None:
    assert classify(text) is ReplyIntent.THANKS


@pytest.mark.parametrize(
    "text", ["Thanks, but the title is wrong", "ok, when?", "Yes, thanks", "No thanks", "Thank you for coming to Hay"]
)
def test_thanks_that_say_more_are_words(text: str) -> None:
    assert classify(text) is None


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("START", ReplyIntent.START),
        ("Reprendre svp", ReplyIntent.START),
        ("Why?", ReplyIntent.WHY),
        ("pourquoi ?", ReplyIntent.WHY),
        ("Not me.", ReplyIntent.WRONG_PERSON),
        ("ce n’est pas moi", ReplyIntent.WRONG_PERSON),
        ("Vous vous êtes trompé de numéro", ReplyIntent.WRONG_PERSON),
        ("Sie haben die falsche Nummer", ReplyIntent.WRONG_PERSON),
        ("Das ist die falsche Nummer.", ReplyIntent.WRONG_PERSON),
        ("No soy esa persona", ReplyIntent.WRONG_PERSON),
        ("Foi engano, desculpe", ReplyIntent.WRONG_PERSON),
        ("Avete sbagliato numero", ReplyIntent.WRONG_PERSON),
        ("U heeft het verkeerde nummer", ReplyIntent.WRONG_PERSON),
        ("To pomyłka", ReplyIntent.WRONG_PERSON),
        ("Out of office", ReplyIntent.AWAY),
    ],
)
def test_the_other_intents_are_as_they_were(text: str, intent: ReplyIntent) -> None:
    assert classify(text) is intent


def test_no_phrase_has_two_meanings() -> None:
    phrases = _phrases().of
    assert [(a, b) for a, b in combinations(ReplyIntent, 2) if phrases[a] & phrases[b]] == []


@pytest.mark.parametrize(
    ("text", "stops"), [("STOP", True), ("Stop.", True), ("stop!", True), ("End", False), (None, False)]
)
def test_one_word_stops_where_a_text_is_awaited(text: str | None, stops: bool) -> None:  # noqa: FBT001 -- a column
    assert is_stop_keyword(text) is stops


@pytest.mark.parametrize(
    ("text", "says"), [("👍", False), ("❤️", False), ("?!", False), ("1984", True), ("好", True), ("👍 ok", True)]
)
def test_emoji_and_punctuation_say_nothing(text: str, says: bool) -> None:  # noqa: FBT001 -- a column
    assert has_words(text) is says


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("482913", True),
        ("Your WhatsApp code: 123-456", True),
        ("<#> Your code is 4829. Do not share it", True),
        ("AB12CD is your one-time password", True),
        ("Votre code de vérification est 482 913", True),
        ("Ihr Bestätigungscode lautet 8823", True),
        ("482913は認証コードです", True),
        ("인증번호[482913]를 입력해 주세요", True),
        ("رمز التحقق 482913", True),
        ("رمز التحقق الخاص بك هو ٤٨٢٩١٣", True),
        ("کد شما ۴۸۲۹۱۳ است", True),
        ("आपका कोड ४८२९१३ है", True),
        ("Your code is wrong", False),
        ("I sent it in 2027", False),
        ("978-1-86197-876-9", False),
        ("Chapter 12", False),
        (None, False),
    ],
)
def test_a_login_code_is_a_code_that_is_named(text: str | None, is_code: bool) -> None:  # noqa: FBT001 -- a column
    assert is_login_code(text) is is_code


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("482913", True),
        ("482 913", True),
        ("482-913", True),
        ("G-482913", True),
        ("Your WhatsApp code: 482-913", True),
        ("4821 is your verification code", True),
        ("Use 482913 to sign in to your account and never share this code with others", True),
        ("Votre code est 4821", True),
        ("认证验证码4821", True),
        ("کد شما ۴۸۲۹۱۳ است", True),
        ("١٩٨٤", False),
        ("1984", False),
        ("2666", False),
        ("20000", False),
        ("SE7EN", False),
        ("U-571", False),
        ("Code 46", False),
        ("The Da Vinci Code", False),
        ("In 1943 a young woman in Bletchley breaks the code", False),
        ("My novel has 95000 words and is about a family that lives by its own secret code", False),
    ],
)
def test_a_code_is_unmistakable_where_a_person_would_hardly_write_it_as_an_answer(text: str, *, is_code: bool) -> None:
    assert is_unmistakable_code(text) is is_code


@pytest.mark.parametrize(
    "text",
    [
        "Thank you for your message. We're unavailable right now, but will respond as soon as possible.",
        "Thank you for contacting Whitcombe & Frey! Please let us know how we can help you.",
        "Thanks for your message, I am out of the office until 5 January and will reply on my return.",
        "This is an automated reply.",
        "Vielen Dank für Ihre Nachricht. Wir sind derzeit nicht verfügbar und melden uns so schnell wie möglich.",
        "Ich bin derzeit nicht im Büro und habe keinen Zugriff auf meine Nachrichten.",
        "Merci pour votre message. Nous ne sommes pas disponibles. Nous vous répondrons dès que possible.",
        "Bonjour, je suis actuellement en congé.",
        "Gracias por tu mensaje. En este momento no podemos responder, pero lo haremos lo antes posible.",
        "¡Gracias por comunicarte con Libros del Sur! ¿En qué podemos ayudarte?",
        "Grazie per averci contattato. Al momento non siamo disponibili, risponderemo il prima possibile.",
        "Agradecemos o seu contato. No momento não estamos disponíveis; responderemos assim que possível.",
        "Bedankt voor uw bericht. We zijn momenteel niet bereikbaar en reageren zo snel mogelijk.",
        "Dziękujemy za kontakt. Obecnie jesteśmy niedostępni, odpowiemy najszybciej jak to możliwe.",
    ],
)
def test_an_automatic_reply_is_known_in_eight_languages(text: str) -> None:
    assert is_automatic_reply(text)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "Tides", "The Office", "Thank you for your message. The title is Tides.",
        "A clerk loses her office, and the town its only letter box.", "Merci pour votre message !",
        "Eine Frau kehrt nach langer Abwesenheit in ihr Dorf zurück.", "Un hombre que no responde.",
        f"{'A long story of an island. ' * 25} We are unavailable right now, says the machine.",
    ],
)  # fmt: skip
def test_words_about_a_book_are_no_automatic_reply(text: str | None) -> None:
    assert not is_automatic_reply(text)
