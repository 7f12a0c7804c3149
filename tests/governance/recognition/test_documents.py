"""Documents of other countries: a good and a bad vector each, under their regimes alone.

Serials of zeros, births of 1900 or before, numbers that an authority publishes as an example: no
living person holds one of them.
"""

import random
from dataclasses import dataclass
from typing import Any

import pytest
import regex
from presidio_analyzer import PatternRecognizer
from presidio_analyzer import predefined_recognizers as predefined

from governance.recognition.builtin import BUILT_IN
from governance.recognition.countries import DOCUMENTS
from governance.recognition.documents import RULES, finders
from governance.recognition.entities import ENTITIES, header_entities
from governance.recognition.folding import fold, shadow
from governance.recognition.regimes import ALL, REGIMES
from governance.recognition.sweep import sweep


@dataclass(frozen=True)
class Row:
    """One entity's vectors; `label` stands before a value that proves nothing by itself."""

    entity: str
    good: str
    bad: str
    label: str = ""


ROWS = (
    Row("UK_PASSPORT", "AB0000000", "AB000000", "passport "),
    Row("UK_DRIVING_LICENCE", "AAAAA001010AA9AA", "AAAAA013010AA9AA"),
    Row("UK_VEHICLE_REGISTRATION", "AB51 ABC", "AB00 ABC", "number plate "),
    Row("UK_POSTCODE", "SW1A 1AA", "QQ99 9QQ", "postcode "),
    Row("DE_TAX_ID", "86095742719", "86095742718", "Steuer-ID "),
    Row("DE_TAX_NUMBER", "000/000/00000", "000/000", "Steuernummer "),
    Row("DE_ID_CARD", "L00000007", "L00000008", "Personalausweis "),
    Row("DE_PASSPORT", "C00000004", "C00000005", "Reisepass "),
    Row("DE_SOCIAL_SECURITY", "65070100A008", "65070100A009"),
    Row("DE_HEALTH_INSURANCE", "A000000002", "A000000003", "Krankenkasse "),
    Row("DE_FUEHRERSCHEIN", "AB00000000X", "AB0000000X", "Führerschein "),
    Row("DE_LANR", "000000001", "000001001", "Arztnummer "),
    Row("DE_VAT_ID", "DE100000008", "DE10000000"),
    Row("DE_HANDELSREGISTER", "HRB 1", "HRC 1", "Amtsgericht "),
    Row("DE_KFZ", "B-AB 1234", "B-AB 12345", "Kennzeichen "),
    Row("DE_PLZ", "10115", "00115", "PLZ "),
    Row("ES_NIF", "00000000T", "00000000A"),
    Row("ES_NIE", "X0000000T", "X0000000A"),
    Row("ES_PASSPORT", "AAA000000", "AAA00000", "pasaporte "),
    Row("IT_FISCAL_CODE", "RSSMRA00A01H001Q", "RSSMRA00A01H001A"),
    Row("IT_VAT_CODE", "00000010009", "00000010008", "partita iva "),
    Row("IT_DRIVER_LICENSE", "AB0000000A", "AB000000A", "patente "),
    Row("IT_IDENTITY_CARD", "CA00000AA", "CA0000AA", "carta d'identità "),
    Row("IT_PASSPORT", "AA0000000", "AA000000", "passaporto "),
    Row("PL_PESEL", "00810100002", "00810100003", "PESEL "),
    Row("FI_PERSONAL_IDENTITY_CODE", "010100+000E", "010100+000F"),
    Row("SE_PERSONNUMMER", "000101+0008", "000101+0009"),
    Row("SE_PERSONNUMMER", "189001010009", "189001010008", "personnummer "),
    Row("SE_ORGANISATIONSNUMMER", "556000-0001", "556000-0002", "orgnr "),
    Row("FR_NIR", "100019900000009", "100019900000010"),
    Row("FR_NIR", "1 00 01 99 000 000 09", "1 00 01 99 000 000 10"),
    Row("FR_NIR", "100012A00000035", "100012A00000036"),
    Row("NL_BSN", "000000012", "000000013", "BSN "),
    Row("JP_MY_NUMBER", "111111111118", "111111111119", "個人番号"),
    Row("JP_MY_NUMBER", "1234-5678-9018", "1234-5678-9019", "マイナンバー："),
    Row("KR_RRN", "000230-3000003", "001330-3000003"),
    Row("KR_FRN", "000101-5000005", "000101-9000005"),
    Row("KR_BRN", "100-00-00009", "100-00-00008"),
    Row("KR_DRIVER_LICENSE", "11-00-000000-00", "99-00-000000-00", "운전면허 "),
    Row("KR_PASSPORT", "M00000000", "X00000000", "여권 "),
    Row("IN_AADHAAR", "200000000009", "200000000010", "Aadhaar "),
    Row("IN_AADHAAR", "2000 0000 0013", "2000 0000 0014", "Aadhaar "),
    Row("IN_PAN", "AAAPA0000A", "AAAPA000A", "PAN "),
    Row("IN_GSTIN", "01AAAAA0000A1Z0", "01AAAAA0000A1Y0"),
    Row("IN_VOTER", "AAA0000000", "AAA000000", "voter id "),
    Row("IN_PASSPORT", "A1000001", "A0000000", "passport "),
    Row("IN_VEHICLE_REGISTRATION", "MH01AA0001", "MH01AA0000", "vehicle "),
    Row("SG_NRIC_FIN", "S0000000J", "S0000000A"),
    Row("SG_UEN", "00000001M", "00000001A", "UEN "),
    Row("TH_TNIN", "1100000000008", "1100000000009", "Thai ID "),
    Row("PH_UMID", "0000-0000000-0", "0000-000000-0", "UMID "),
    Row("PH_TIN", "100-000-009-000", "100-000-008-000", "TIN "),
    Row("PH_PASSPORT", "P0000000A", "P000000A", "passport "),
    Row("AU_TFN", "000000106", "000000107", "tax file number "),
    Row("AU_MEDICARE", "2000000020", "2000000030", "medicare "),
    Row("AU_ABN", "10 000 000 000", "11 000 000 000"),
    Row("AU_ACN", "000000019", "000000018", "ACN "),
    Row("CA_SIN", "100-000-009", "000-000-000", "social insurance number "),
    Row("CA_POSTAL_CODE", "K1A 0A1", "D1A 0A1", "postal code "),
    Row("TR_NATIONAL_ID", "10000000078", "10000000079", "kimlik no "),
    Row("TR_LICENSE_PLATE", "34 AB 1234", "99 AB 1234", "plaka "),
    Row("ZA_ID_NUMBER", "0001010001087", "0001010001088", "RSA ID "),
    Row("ZA_PASSPORT", "A00000001", "B00000001", "passport "),
    Row("ZA_DRIVER_LICENSE", "10000001AB", "100AB", "licence "),
    Row("ZA_TRAFFIC_REGISTER_NUMBER", "0000000000000", "000000000000", "traffic register "),
    Row("ZA_INCOME_TAX_NUMBER", "0100000000", "4100000000", "income tax "),
    Row("ZA_VAT_NUMBER", "4000000000", "5000000000", "VAT number "),
    Row("ZA_COMPANY_REGISTRATION", "1999/000001/07", "1799/000001/07", "company registration "),
    Row("ZA_LICENSE_PLATE", "AA 00 AA GP", "AA 00 AA XX", "number plate "),
    Row("NG_NIN", "00000000014", "00000000015", "NIN "),
    Row("NG_VEHICLE_REGISTRATION", "AAA-000AA", "AAA-00AA", "number plate "),
)


def found(text: str, entity: str, regimes: tuple[str, ...] = ALL) -> list[str]:
    hits = sweep([text], entities={entity}, regimes=regimes)
    return [text[h.start : h.end] for h in hits]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.entity} {row.good}")
@pytest.mark.parametrize("frame", ["{}", "请核对{}，谢谢", "资料{}已核对", "see {} now"])
def test_a_good_vector_is_found_and_a_bad_one_is_not(row: Row, frame: str) -> None:
    assert found(frame.format(row.label + row.good), row.entity) == [row.good]
    bad = found(frame.format(row.label + row.bad), row.entity)
    assert not any(row.bad in hit for hit in bad)


@pytest.mark.parametrize("row", [r for r in ROWS if r.label], ids=lambda r: f"{r.entity} {r.good}")
def test_without_its_word_it_is_a_doubt(row: Row) -> None:
    assert found(row.good, row.entity) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.entity)
def test_a_document_is_looked_for_under_its_regimes_alone(document: Any) -> None:
    """And each row of the table has its vectors, its class in the catalog and its finder."""
    assert set(document.regimes) <= set(ALL)
    assert ENTITIES[document.entity].only == document.regimes
    row = next((r for r in ROWS if r.entity == document.entity), None)
    if document.entity == "DE_BSNR":
        return  # Presidio's validator asks for a checksum that the standard does not publish
    assert row is not None
    text = row.label + row.good
    assert found(text, document.entity, document.regimes) == [row.good]
    assert found(text, document.entity, ("cn", "us")) == []


def test_headers_speak_of_a_document_under_its_regimes_alone() -> None:
    assert "DE_PASSPORT" in header_entities("passport", ("eu",))
    assert "DE_PASSPORT" not in header_entities("passport", ("cn", "us"))
    assert "DE_PASSPORT" not in header_entities("passport")
    assert "CN_PASSPORT" in header_entities("护照", ("eu",))


def test_every_recognizer_that_presidio_ships_has_a_place() -> None:
    """A new release with another country must not pass unseen."""
    shipped = {
        name
        for name in dir(predefined)
        if isinstance(kind := getattr(predefined, name), type)
        and issubclass(kind, PatternRecognizer)
    }
    # Some run as a subclass of ours, with patterns in linear time.
    mine = {base.__name__ for kind, _, _ in BUILT_IN for base in kind.__mro__}
    table = {document.recognizer for document in DOCUMENTS}
    by_our_rules = {
        "SgFinRecognizer",  # without a check digit
        "DateRecognizer",  # DATE_OF_BIRTH, with a word beside it
        *("UsClaimNumberRecognizer", "UsHealthInsuranceMemberIdRecognizer"),
        *("UsPrescriptionNumberRecognizer", "UsPriorAuthorizationNumberRecognizer"),
        *("UsProviderTaxIdRecognizer", "UsReferralNumberRecognizer"),
    }
    assert shipped - mine - table - by_our_rules == set()


@pytest.mark.parametrize(
    ("entity", "text", "value"),
    [
        ("US_CLAIM_NUMBER", "Claim #: CLM-00000001", "CLM-00000001"),
        ("US_CLAIM_NUMBER", "claim no. 000001", "000001"),
        ("US_PRESCRIPTION_NUMBER", "Rx# 0000001", "0000001"),
        ("US_PRESCRIPTION_NUMBER", "prescription RX000001", "RX000001"),
        ("US_PRIOR_AUTHORIZATION_NUMBER", "Prior authorization number: PA-000001", "PA-000001"),
        ("US_REFERRAL_NUMBER", "referral id REF-000001", "REF-000001"),
        ("US_PROVIDER_TAX_ID", "EIN: 12-3456789", "12-3456789"),
        ("US_HEALTH_INSURANCE_MEMBER_ID", "member ID: ABC-00000001", "ABC-00000001"),
    ],
)
def test_numbers_of_american_health_plans_stand_behind_their_labels(
    entity: str, text: str, value: str
) -> None:
    assert found(text, entity, ("us",)) == [value]
    assert found(f"患者{text}。", entity, ("us",)) == [value]
    assert found(f"order {value.removeprefix('CLM-')} shipped", entity, ("us",)) == []


def test_plain_numbers_are_nobodys_document() -> None:
    """Digits alone, decimals, times and dates, under every regime at once."""
    rng = random.Random(11)
    cells = [str(rng.randrange(10**n)) for n in range(1, 16) for _ in range(200)]
    cells += [f"{rng.random():.{n}f}" for n in range(3, 18) for _ in range(50)]
    cells += [str(1_600_000_000 + rng.randrange(10**8)) for _ in range(200)]
    cells += [f"20{y:02d}-0{m}-1{d}" for y in range(0, 24, 3) for m in range(1, 10) for d in (1, 5)]
    documents = {row.entity for row in DOCUMENTS}
    hits = sweep(cells, header="amount", regimes=ALL, entities=documents)
    assert {(h.entity, cells[h.row]) for h in hits if h.entity != "FR_NIR"} == set()
    assert (
        len(hits) <= 1
    )  # fifteen digits with a month, a department and a key that fits: 1 in 5,000


@pytest.mark.parametrize(
    "seed", ["0", "10", "1 ", "A", "A1", "AA0-", "0/", "A-", " ", "0A", "1.0 "]
)
def test_every_pattern_is_linear_on_hostile_text(seed: str) -> None:
    import time

    form = fold((seed * 20_000)[:20_000])
    ghost = shadow(form.text)
    for finder in finders(ALL):
        start = time.process_time()
        list(finder.find(form.text, ghost, ()))
        assert time.process_time() - start < 0.6, finder.entity


def test_laws_map_to_regimes_that_something_is_looked_for_under() -> None:
    asked = {regime for document in DOCUMENTS for regime in document.regimes}
    assert asked | {"cn", "us"} == set(REGIMES.values())
    assert {"eu", "cn", "ca"} <= set(REGIMES)
    assert all(regex.fullmatch("[a-z]{2,3}", law) for law in REGIMES)
    assert {rule.entity for rule in RULES} <= {document.entity for document in DOCUMENTS}
