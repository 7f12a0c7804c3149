"""The Chinese pack: identifiers, plates, addresses and named people, as rules over folded text.

Formats and checks follow the national standards named beside each check in `checksums`; the tests
hold the published and verified vectors. Codes are case-sensitive; all patterns are linear.
Addresses and names have modules of their own.
"""

from typing import Final

from governance.recognition import chinese_addresses, chinese_names
from governance.recognition.checksums import (
    hkid,
    id15,
    luhn,
    mod11_2,
    organization,
    taiwan_id,
    travel_document,
    uscc,
    vin,
)
from governance.recognition.rules import Gate, Rule, bounded, compact

_DAY: Final = r"(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_TAIL: Final = _DAY + r"\d{3}[\dXx]"
MOBILE: Final = (
    r"(?:(?:\+|00)?86[- ]?)?"
    r"1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])[- ]?\d{4}[- ]?\d{4}"
)
_PROVINCES: Final = (
    "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼滬遼雲魯蘇贛陝閩貴粵寧瓊"
)
COMPOUND_SURNAMES: Final = chinese_names.COMPOUND_SURNAMES
_PLATE: Final = (
    rf"[{_PROVINCES}][A-HJ-NP-Z][·•・. -]?(?:[DABCEFGHJK][A-HJ-NP-Z\d]\d{{4}}|\d{{5}}[DABCEFGHJK]"
    r"|[A-HJ-NP-Z\d]{4}[A-HJ-NP-Z\d挂掛学學警港澳])"
)
_GAP: Final = "[-. ]?"
_AREA: Final = r"0(?:10|2[0-57-9]|[3-9]\d\d)"
_EXTENSION: Final = r"(?:(?:-|转|轉| ?(?:ext\.?|x) ?)\d{1,6})?"
# Two decimals of four digits or more: a place to about ten meters, when a word says it is one.
_COORDINATES: Final = r"-?\d{1,3}\.\d{4,15}°?[NSEW]?[,;/ ]{1,3}-?\d{1,3}\.\d{4,15}°?[NSEW]?"
_WECHAT: Final = r"[A-Za-z][-_A-Za-z0-9]{5,19}"
_QQ: Final = r"[1-9]\d{4,10}"
# What stands between a label and its value.
_IS: Final = r"(?:号|號|号码|號碼|ID|id)?(?: is |[:： ]?[是为為]?[:： ]?)"


def _card(text: str) -> bool:
    return luhn(compact(text))


def _identity(text: str) -> bool:
    return mod11_2(compact(text).replace(".", ""))


def _uscc(text: str) -> bool:
    return uscc(compact(text))


def _hkid(text: str) -> bool:
    return hkid(text.replace(" ", ""))


def _taiwan_id(text: str) -> bool:
    return taiwan_id(compact(text))


RULES: Final[tuple[Rule, ...]] = (
    Rule("CN_ID", "CN_ID", bounded(r"[1-8]\d{5}" + _TAIL), Gate.NUMBER, 0.9, 1.0, mod11_2),
    # Separators anywhere: the check digit and a real date carry the proof.
    Rule(
        "CN_ID spaced",
        "CN_ID",
        bounded(r"[1-8](?:[-. ]?\d){16}[-. ]?[\dXx]"),
        Gate.NUMBER,
        0.9,
        1.0,
        _identity,
    ),
    Rule(
        "CN_RESIDENCE",
        "CN_RESIDENCE",
        bounded(r"8[123]0000" + _TAIL),
        Gate.NUMBER,
        0.95,
        1.0,
        mod11_2,
    ),
    Rule(
        "CN_FOREIGN_PR",
        "CN_FOREIGN_PR",
        bounded(r"9\d{5}" + _TAIL),
        Gate.NUMBER,
        0.9,
        1.0,
        mod11_2,
    ),
    Rule(
        "CN_ID15",
        "CN_ID15",
        bounded(r"[1-8]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}"),
        Gate.NUMBER,
        0.4,
        0.85,
        id15,
    ),
    Rule(
        "CN_MOBILE",
        "CN_MOBILE",
        bounded(MOBILE),
        Gate.NUMBER,
        0.7,
        0.95,
    ),
    Rule(
        "CN_MOBILE spaced",
        "CN_MOBILE",
        bounded(
            rf"(?:(?:\+|00)?86{_GAP})?1{_GAP}(?:[38]{_GAP}\d|4{_GAP}[5-9]|5{_GAP}[0-35-9]|"
            rf"6{_GAP}[2567]|7{_GAP}[0-8]|9{_GAP}[0-35-9])(?:{_GAP}\d){{8}}"
        ),
        Gate.NUMBER,
        0.2,
        0.75,
    ),
    Rule(
        "CN_LANDLINE",
        "CN_LANDLINE",
        bounded(
            rf"(?:(?:\+|00)86[- ]?)?(?:{_AREA}[- ]|\({_AREA}\)[- ]?)"
            rf"[2-8]\d{{2,3}}[- ]?\d{{4}}{_EXTENSION}"
        ),
        Gate.NUMBER,
        0.65,
        0.9,
    ),
    Rule(
        "CN_LANDLINE unbroken",
        "CN_LANDLINE",
        bounded(rf"{_AREA}[2-8]\d{{6,7}}{_EXTENSION}"),
        Gate.NUMBER,
        0.4,
        0.8,
    ),
    Rule(
        "CN_USCC",
        "CN_USCC",
        bounded(r"[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}"),
        Gate.CODE,
        0.85,
        1.0,
        uscc,
    ),
    Rule(
        "CN_USCC spaced",
        "CN_USCC",
        bounded(r"[0-9A-HJ-NPQRTUWXY](?:[- ]?[0-9A-HJ-NPQRTUWXY]){17}"),
        Gate.CODE,
        0.85,
        1.0,
        _uscc,
    ),
    Rule(
        "CN_USCC organization",
        "CN_USCC",
        bounded(r"[0-9A-HJ-NPQRTUWXY]{8}-?[\dX]"),
        Gate.CODE,
        0.05,
        0.85,
        organization,
    ),
    Rule(
        "CN_BANK_CARD",
        "CN_BANK_CARD",
        bounded(r"(?=\d{15,19}(?!\d))(?:62|60|955[89]|[345])\d+"),
        Gate.NUMBER,
        0.9,
        1.0,
        _card,
        failed=0.6,
    ),
    Rule(
        "CN_BANK_CARD spaced",
        "CN_BANK_CARD",
        bounded(r"(?:62|60|95|[345]\d)\d\d(?:[- ]\d{4}){3}(?:[- ]\d{1,3})?"),
        Gate.NUMBER,
        0.9,
        1.0,
        _card,
        failed=0.6,
    ),
    Rule(
        "CN_PASSPORT",
        "CN_PASSPORT",
        bounded(r"(?:E[\dA-HJ-NP-Z]\d{7}|G\d{8}|[DSP]E\d{7})"),
        Gate.CODE,
        0.55,
        0.9,
    ),
    Rule(
        "CN_PASSPORT older",
        "CN_PASSPORT",
        bounded(r"(?:[DSP]\d{7,8}|1[45]\d{7})"),
        Gate.CODE,
        0.2,
        0.8,
    ),
    Rule(
        "SAR_PASSPORT",
        "SAR_PASSPORT",
        bounded(r"(?:[KH][A-HJ-NP-Z]?\d{8}|M[AB]\d{7})"),
        Gate.CODE,
        0.2,
        0.85,
    ),
    Rule(
        "PASSPORT_MRZ",
        "PASSPORT_MRZ",
        bounded(
            r"[A-Z0-9<]{9}\d[A-Z<]{3}\d{6}\d[MFX<]\d{6}\d[A-Z0-9<]{14}[0-9<]\d",
        ),
        Gate.CODE,
        0.9,
        1.0,
        travel_document,
    ),
    Rule(
        "PASSPORT_MRZ name",
        "PASSPORT_MRZ",
        bounded(r"P[A-Z<][A-Z]{3}[A-Z]{1,30}(?:<{1,38}[A-Z]{1,30}){1,8}<*"),
        Gate.MACHINE,
        0.7,
        0.9,
    ),
    Rule("CN_HM_TRAVEL", "CN_HM_TRAVEL", bounded(r"C[\dA-HJ-NP-Z]\d{7}"), Gate.CODE, 0.4, 0.85),
    Rule("HOME_RETURN", "HOME_RETURN", bounded(r"[HM]\d{8}(?:\d\d)?"), Gate.CODE, 0.4, 0.85),
    Rule("TW_COMPATRIOT", "TW_COMPATRIOT", bounded(r"\d{8}(?:\d\d)?"), Gate.NUMBER, 0.05, 0.75),
    Rule(
        "HKID",
        "HKID",
        bounded(r"[A-Z]{1,2} ?\d{6} ?(?:\([\dA]\)|[\dA])"),
        Gate.CODE,
        0.6,
        1.0,
        _hkid,
    ),
    Rule(
        "MACAU_ID",
        "MACAU_ID",
        bounded(r"[1578]\d{6}\(\d\)|[1578]/?\d{6}/?\d"),
        Gate.NUMBER,
        0.05,
        0.8,
    ),
    Rule("TW_ID", "TW_ID", bounded(r"[A-Z][- ]?[1289]\d{8}"), Gate.CODE, 0.6, 1.0, _taiwan_id),
    Rule("CN_PLATE", "CN_PLATE", bounded(_PLATE), Gate.HAN, 0.8, 0.95),
    Rule(
        "CN_WECHAT",
        "CN_WECHAT",
        bounded(_WECHAT, masked=True),
        Gate.WORD,
        0.05,
        0.7,
        header_only=True,
    ),
    Rule(
        "CN_WECHAT labeled",
        "CN_WECHAT",
        bounded(rf"(?<=(?:微信|微信号|[Ww]e[Cc]hat|[Ww]eixin){_IS}){_WECHAT}", masked=True),
        Gate.LABEL,
        0.75,
        0.8,
    ),
    Rule(
        "CN_QQ", "CN_QQ", bounded(_QQ, masked=True), Gate.FIVE_DIGITS, 0.05, 0.7, header_only=True
    ),
    Rule(
        "CN_QQ labeled",
        "CN_QQ",
        bounded(rf"(?<=(?:[Qq][Qq]|[Qq][Qq]号|企鹅号|扣扣){_IS}){_QQ}", masked=True),
        Gate.LABEL,
        0.75,
        0.8,
    ),
    Rule(
        "IMEI",
        "IMEI",
        bounded(r"\d{15}|\d{2}[- ]\d{6}[- ]\d{6}[- ]\d"),
        Gate.NUMBER,
        0.2,
        0.9,
        _card,
    ),
    Rule(
        "VIN", "VIN", bounded(r"(?=[A-Z0-9]*[A-Z])[A-HJ-NPR-Z0-9]{17}"), Gate.CODE, 0.4, 0.95, vin
    ),
    # A region's name, not a person's, until a label stands beside it.
    Rule(
        "CN_POSTCODE",
        "CN_POSTCODE",
        bounded(r"[0-8]\d{5}"),
        Gate.FIVE_DIGITS,
        0.05,
        0.7,
        narrow=True,
    ),
    Rule("COORDINATES", "COORDINATES", bounded(_COORDINATES), Gate.DECIMALS, 0.3, 0.8),
    Rule(
        "MAC",
        "MAC_ADDRESS",
        bounded(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"),
        Gate.NETWORK,
        0.7,
        0.9,
    ),
    Rule(
        "CN_MEDREC",
        "CN_MEDREC",
        bounded(
            r"(?<=(?:住院|病案|病历|病歷|门诊|門診|就诊卡|就診卡|登记|登記|挂号|掛號)(?:号|"
            "號)码?(?:[:： ]|是|为|為){0,2})"
            r"[A-Z0-9-]{6,14}",
            masked=True,
        ),
        Gate.HAN,
        0.8,
        0.8,
    ),
    Rule(
        "CN_SSC_CARD",
        "CN_SSC_CARD",
        bounded(
            r"(?<=(?:社保卡|社会保障卡|社會保障卡|医保卡|醫保卡)(?:号|號)码?(?:[:： ]|是|为|"
            "為){0,2})"
            r"[A-Z0-9]{8}[\dX]",
            masked=True,
        ),
        Gate.HAN,
        0.85,
        0.85,
    ),
    *chinese_addresses.RULES,
    *chinese_names.RULES,
)
