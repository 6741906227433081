"""Promotional wording in utility templates is found in eight languages; a publisher's honest notices pass."""

import pytest

from services.rules.rulebook.marketing import find_promotion
from services.rules.rulebook.model import TemplateText

PROMOTING = {
    "en": [
        "Buy it today", "Save 20% on all books", "Get 20 percent off", "Pre-order your copy", "Use code SPRING",
        "Only today!", "Act now", "While stocks last", "Free shipping", "At half price", "Deal of the day",
        "Win a signed copy", "A limited-time offer", "30% off", "Now -30 %", "Discover our bestsellers", "Promo week",
    ],
    "fr": [
        "Achetez maintenant", "20 % de réduction", "Une remise de 20 %", "Profitez de nos offres", "À ne pas manquer",
        "Vente flash", "Livraison gratuite", "Jusqu’à 50 % de remise", "Nos meilleures offres", "-20 % sur tout",
    ],
    "de": [
        "Jetzt zugreifen", "Kaufen Sie jetzt", "Bestellen Sie noch heute", "20 % Rabatt", "Nur noch heute",
        "Zum Sonderpreis", "Sparen Sie 20 Prozent", "Exklusive Angebote", "Versandkostenfrei", "Jetzt sichern",
        "Solange der Vorrat reicht", "Unsere Angebote",
    ],
    "es": [
        "Compre hoy", "Aproveche esta oferta", "Ahora 2x1", "Envío gratis", "Ofertas especiales", "No se lo pierda",
        "Consígalo ahora",
    ],
    "it": [
        "Acquistalo ora", "Spedizione gratuita", "Offerte speciali", "Prezzo speciale", "Ordina subito",
        "Abbonati ora",
    ],
    "pt": ["Compre hoje", "Aproveite a oferta", "Frete grátis", "Ofertas especiais", "Garanta já o seu"],
    "nl": ["Koop vandaag", "Bestel vandaag", "Profiteer van de actie", "Gratis verzending", "Mis dit niet"],
    "pl": ["Kup teraz", "Zamów teraz", "Zniżka 20%", "Ostatnia szansa", "Oferta specjalna", "Kod rabatowy"],
}  # fmt: skip
HONEST = {
    "en": [
        "The promotional copy for {title} is due by {by}.", "The promotion plan for {title} has changed.",
        "75% of the text is checked.", "Your title is on the bestseller list.",
        "You will get your copy of the contract.",
        "The sale of the rights is pending.", "We wrote to you in the last days.",
    ],
    "fr": [
        "La date de remise de votre manuscrit approche.", "La remise des épreuves est prévue le {by}.",
        "Une réduction de l’image est nécessaire.", "Le texte de promotion est attendu.", "Le solde de vos droits.",
        "Nous vous avons écrit ces derniers jours.",
    ],
    "de": ["Die Promotion der Autorin.", "Der Promotionstermin ist verschoben.", "Die Rabattstaffel der Lizenz."],
    "es": ["La promoción del libro empieza.", "Le escribimos en los últimos días."],
    "it": ["I saldi del rendiconto sono pronti.", "Gli abbonati della rivista lo leggono.", "La promozione del libro."],
    "pt": ["A promoção do livro começa.", "A promotora do festival."],
    "nl": ["De promotie van het boek.", "De promovendus schrijft."],
    "pl": ["Promocja książki zaczyna się."],
}  # fmt: skip


@pytest.mark.parametrize("language", sorted(PROMOTING))
def test_a_promotion_is_found(language: str) -> None:
    assert [text for text in PROMOTING[language] if find_promotion(TemplateText(text, {}), language) is None] == []


@pytest.mark.parametrize("language", sorted(HONEST))
def test_a_publisher_s_notice_is_no_promotion(language: str) -> None:
    assert [text for text in HONEST[language] if find_promotion(TemplateText(text, {}), language) is not None] == []


def test_a_button_promotes_as_well() -> None:
    assert find_promotion(TemplateText("{title} waits for you.", {"yes": "Kup teraz"}), "pl") == "Kup teraz"
