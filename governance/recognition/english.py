"""Rules of our own for English text, where Presidio has none: street addresses and dates of birth.

Street suffixes are those of USPS Publication 28, appendix C1, in full and the usual short forms.
"""

import ipaddress
from typing import Final

import regex

from governance.recognition.checksums import luhn
from governance.recognition.rules import Gate, Rule, bounded, compact

_SUFFIXES: Final = (
    "Alley|Annex|Arcade|Avenue|Ave|Bayou|Beach|Bend|Bluff|Bluffs|Bottom|Boulevard|Blvd|"
    "Branch|Bridge|Brook|Brooks|Burg|Burgs|Bypass|Camp|Canyon|Cape|Causeway|Center|Centers|"
    "Circle|Cir|Circles|Cliff|Cliffs|Club|Common|Commons|Corner|Corners|Course|Court|Ct|"
    "Courts|Cove|Coves|Creek|Crescent|Crest|Crossing|Crossroad|Curve|Dale|Dam|Divide|Drive|"
    "Dr|Drives|Estate|Estates|Expressway|Extension|Extensions|Fall|Falls|Ferry|Field|Fields|"
    "Flat|Flats|Ford|Fords|Forest|Forge|Forges|Fork|Forks|Fort|Freeway|Garden|Gardens|"
    "Gateway|Glen|Glens|Green|Greens|Grove|Groves|Harbor|Harbors|Haven|Heights|Highway|Hwy|"
    "Hill|Hills|Hollow|Inlet|Island|Islands|Isle|Junction|Junctions|Key|Keys|Knoll|Knolls|"
    "Lake|Lakes|Land|Landing|Lane|Ln|Light|Lights|Loaf|Lock|Locks|Lodge|Loop|Mall|Manor|"
    "Manors|Meadow|Meadows|Mews|Mill|Mills|Mission|Motorway|Mount|Mountain|Mountains|Neck|"
    "Orchard|Oval|Overpass|Park|Parks|Parkway|Pkwy|Parkways|Pass|Passage|Path|Pike|Pine|"
    "Pines|Place|Pl|Plain|Plains|Plaza|Point|Points|Port|Ports|Prairie|Radial|Ramp|Ranch|"
    "Rapid|Rapids|Rest|Ridge|Ridges|River|Road|Rd|Roads|Route|Row|Rue|Run|Shoal|Shoals|Shore|"
    "Shores|Skyway|Spring|Springs|Spur|Spurs|Square|Sq|Squares|Station|Stravenue|Stream|"
    "Street|St|Streets|Summit|Terrace|Throughway|Trace|Track|Trafficway|Trail|Tunnel|"
    "Turnpike|Underpass|Union|Unions|Valley|Valleys|Via|Viaduct|View|Views|Village|Villages|"
    "Ville|Vista|Walk|Walks|Wall|Way|Ways|Well|Wells"
)
_STATES: Final = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY"
    "|NC|ND|OH|OK|OR|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|AS|GU|MP|PR|VI|FM|MH|PW|AA|AE|AP"
)
_PLACE: Final = (
    r"[A-Z][A-Za-z.']{1,20}(?:[ -][A-Z][A-Za-z.']{1,20}){0,3}"
    rf",? (?:{_STATES}) \d{{5}}(?:-\d{{4}})?"
)
_UNIT: Final = r"(?:,? {0,2}(?:Apt|Apartment|Suite|Ste|Unit|Room|Floor|#)\.? ?[A-Za-z0-9-]{1,6})?"
_STREET: Final = (
    r"\d{1,6}[A-Za-z]?(?: [NSEW]{1,2}\.?)?(?: [A-Z0-9][A-Za-z0-9'.-]{0,20}){1,4}?"
    rf" (?:{_SUFFIXES})\.?(?![A-Za-z]){_UNIT}"
)
_BOX: Final = (
    r"(?:PSC|Unit|USS|USNS|USNV|USCGC) [A-Za-z0-9'-]{1,20}(?: [A-Za-z'-]{1,20})?(?:,? Box \d{1,6})?"
)
# Issuer ranges (ISO/IEC 7812) that Presidio leaves out: JCB 15, Mastercard 2-series, Maestro.
_CARD: Final = (
    r"(?:2131|1800)\d{11}"
    r"|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)(?:[- ]?\d{4}){3}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[123])\d{8,15}"
)
# North American numbers by their shape: libphonenumber rejects area codes not yet in service.
NANP: Final = (
    r"(?:\+?1[-. ]?|001[-. ]?)?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}"
    r"(?: ?(?:x|ext\.? ?)\d{1,6})?"
)
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_YEAR: Final = r"(?:18|19|20)\d\d"
_DATE: Final = (
    rf"{_YEAR}[-/.](?:1[0-2]|0?[1-9])[-/.](?:3[01]|[12]\d|0?[1-9])"
    rf"|(?:3[01]|[12]\d|0?[1-9])[-/.](?:3[01]|[12]\d|0?[1-9])[-/.]{_YEAR}"
    rf"|{_YEAR} ?年 ?\d{{1,2}} ?月(?: ?\d{{1,2}} ?日)?"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {_YEAR}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? {_YEAR}"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
)


# How a number of a health plan or a provider is introduced: claim no. 123456, Rx#: 123456.
_INTRODUCED: Final = r"(?: ?(?:#|no\.?|number|id))?"


def _labeled(entity: str, labels: str, number: str, gate: Gate = Gate.FIVE_DIGITS) -> Rule:
    """A number that stands behind its label."""
    return Rule(
        f"{entity} labeled",
        entity,
        bounded(
            rf"(?<=(?<![A-Za-z])(?i:(?:{labels}){_INTRODUCED})[:# ]{{1,3}})(?:{number})",
            masked=True,
        ),
        gate,
        0.8,
        0.85,
    )


# Presidio's pattern wants a word boundary before an address: "IP192.0.2.1" and "IP:2001:db8::1"
# have none. A network, with its length after a slash, names no machine.
_AFTER_ITS_LABEL: Final = regex.compile(
    r"(?<=(?<![0-9A-Za-z])[Ii][Pp](?:[Vv][46])?[: ]?)"
    r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7})"
    r"(?![0-9A-Za-z:/]|\.[0-9])",
    regex.ASCII | regex.VERSION0,
)


def _address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _luhn(text: str) -> bool:
    return luhn(compact(text))


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "STREET_ADDRESS",
        "STREET_ADDRESS",
        bounded(rf"{_STREET}(?:,?\s{{1,2}}{_PLACE})?"),
        Gate.STREET,
        0.65,
        0.85,
    ),
    Rule(
        "STREET_ADDRESS military",
        "STREET_ADDRESS",
        bounded(rf"(?:{_BOX}\s{{0,2}})?(?:APO|FPO|DPO),? A[AEP] \d{{5}}(?:-\d{{4}})?"),
        Gate.STREET,
        0.8,
        0.9,
    ),
    Rule("STREET_ADDRESS place", "STREET_ADDRESS", bounded(_PLACE), Gate.STREET, 0.6, 0.8),
    Rule("CREDIT_CARD", "CREDIT_CARD", bounded(_CARD), Gate.NUMBER, 0.9, 1.0, _luhn, failed=0.6),
    Rule("IP_ADDRESS labeled", "IP_ADDRESS", _AFTER_ITS_LABEL, Gate.NETWORK, 0.7, 0.9, _address),
    Rule("PHONE_NUMBER shaped", "PHONE_NUMBER", bounded(NANP), Gate.NUMBER, 0.6, 0.85),
    Rule("PHONE_NUMBER bare", "PHONE_NUMBER", bounded(r"(?:\+?1)?\d{10}"), Gate.NUMBER, 0.2, 0.7),
    # A date is redacted only where the words beside it, or the header, make it a birth date.
    Rule("DATE_OF_BIRTH", "DATE_OF_BIRTH", bounded(_DATE), Gate.DATE, 0.1, 0.8, narrow=True),
    _labeled("US_CLAIM_NUMBER", "claim", r"(?:CLM-?)?\d{6,15}"),
    _labeled("US_PRESCRIPTION_NUMBER", "rx|prescription", r"(?:RX-?)?\d{6,12}"),
    _labeled(
        "US_PRIOR_AUTHORIZATION_NUMBER",
        "prior auth|prior authorization|preauthorization|pre-auth|authorization",
        r"(?:PA-?)?\d{6,12}",
    ),
    _labeled("US_REFERRAL_NUMBER", "referral", r"(?:(?:REF|INF)-?)?\d{6,12}"),
    _labeled("US_PROVIDER_TAX_ID", "ein|provider tax id|provider tin|provider ein", r"\d\d-?\d{7}"),
    _labeled(
        "US_HEALTH_INSURANCE_MEMBER_ID",
        "member|subscriber|insurance|policy",
        r"(?=[A-Z-]{0,6}\d)[A-Z]{1,5}-?[A-Z0-9]{5,14}",
        Gate.CODE,
    ),
    # The prefix that the business itself writes before the number is a label as well.
    *(
        Rule(f"{entity} prefixed", entity, bounded(number), Gate.CODE, 0.3, 0.8)
        for entity, number in (
            ("US_CLAIM_NUMBER", r"CLM-?\d{6,15}"),
            ("US_PRESCRIPTION_NUMBER", r"RX-?\d{6,12}"),
            ("US_PRIOR_AUTHORIZATION_NUMBER", r"PA-?\d{6,12}"),
            ("US_REFERRAL_NUMBER", r"(?:REF|INF)-?\d{6,12}"),
        )
    ),
)
