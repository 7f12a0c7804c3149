"""The language of a text block, by script and by function words."""

import pytest

from governance.recognition.languages import LATIN, detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The customer called about the invoice and was told to wait.", "en"),
        ("客户来电询问账单，已告知等待。", "zh"),
        ("客户 John Smith 来电询问账单", "zh"),
        ("Der Kunde hat wegen der Rechnung angerufen und wird sich melden.", "de"),
        ("El cliente llamó por la factura y espera una respuesta.", "es"),
        ("Le client a appelé pour la facture et attend une réponse.", "fr"),
        ("Il cliente ha chiamato per la fattura e attende una risposta.", "it"),
        ("De klant heeft gebeld over de rekening en wacht op het antwoord.", "nl"),
        ("O cliente ligou por causa da fatura e não foi atendido.", "pt"),
        ("Klient dzwonił w sprawie faktury i nie został poinformowany.", "pl"),
        ("Kunden ringde om fakturan och det är inte löst.", "sv"),
        ("Asiakas soitti laskusta ja hän on tyytymätön, mutta ei ole valittanut.", "fi"),
        ("お客様から請求書について電話がありました。", "ja"),
        ("고객이 청구서에 대해 전화했습니다.", "ko"),
        ("ลูกค้าโทรมาเรื่องใบแจ้งหนี้", "th"),
        ("John Smith", "en"),
        ("Hans Müller", "en"),
        ("12345", "en"),
        ("", "en"),
    ],
)
def test_the_language_of_a_block(text: str, language: str) -> None:
    assert detect(text) == language
    assert language in {*LATIN, "zh", "ja", "ko", "th"}
