"""One person's identifier, one form: what separators, width, case and country prefixes hide.

An operator that keeps equality (pseudonym, token) is applied to the canonical form, so that
"138-0013-8000", "+86 13800138000" and "１３８００１３８０００" still join.
"""

import re
import unicodedata
from typing import Final

from governance.recognition.checksums import upgrade15
from governance.recognition.countries import DOCUMENTS
from governance.recognition.folding import fold

_IDENTIFIERS: Final = (
    "CN_ID CN_ID15 CN_RESIDENCE CN_FOREIGN_PR CN_USCC CN_BANK_CARD CREDIT_CARD CN_PASSPORT"
    " US_PASSPORT US_SSN US_ITIN US_BANK_NUMBER IBAN_CODE US_DRIVER_LICENSE US_MBI US_NPI"
    " ABA_ROUTING_NUMBER MEDICAL_LICENSE UK_NHS UK_NINO CN_HM_TRAVEL HOME_RETURN TW_COMPATRIOT HKID"
    " TW_ID CN_SSC_CARD CN_MEDREC CN_PLATE CN_QQ IMEI MAC_ADDRESS UUID"
    " SAR_PASSPORT MACAU_ID PASSPORT_MRZ VIN US_CLAIM_NUMBER US_PRESCRIPTION_NUMBER"
    " US_REFERRAL_NUMBER US_PRIOR_AUTHORIZATION_NUMBER US_HEALTH_INSURANCE_MEMBER_ID"
    " US_PROVIDER_TAX_ID"
)
# Entities whose separators and case mean nothing, and of which no tail is ever shown.
IDENTIFIERS: Final = frozenset(_IDENTIFIERS.split()) | {row.entity for row in DOCUMENTS}
RESIDENT_IDS: Final = frozenset({"CN_ID", "CN_ID15", "CN_RESIDENCE", "CN_FOREIGN_PR"})
_PHONES: Final = frozenset({"CN_MOBILE", "CN_LANDLINE", "PHONE_NUMBER"})
_CASE_COUNTS: Final = frozenset({"CRYPTO", "URL", "SUBJECT_ID"})

_SEPARATORS: Final = re.compile(r"[\s\-._·•/:()]+")
_SPACES: Final = re.compile(r"\s+")
_SPACE_IN_CHINESE: Final = re.compile(r"(?<=[一-鿿])\s+(?=[一-鿿])")
_CHINESE_COUNTRY_CODE: Final = re.compile(r"(?:\+|00)?86(?=1[3-9]\d{9}$)")
_MOBILE_WITH_COUNTRY_CODE: Final = re.compile(r"(?:\+|00)861[3-9]\d{9}")
_NORTH_AMERICAN: Final = re.compile(r"(?:\+|00)1(?=[2-9]\d{9}$)")


def canonical_entity(entity: str) -> str:
    """The entity of the canonical form: 15-digit ids become 18-digit ones."""
    return "CN_ID" if entity == "CN_ID15" else entity


def visible(value: str) -> str:
    """The value in its compatibility form (NFKC), without invisible characters and outer spaces."""
    if value.isascii() and "\0" not in value:
        return value.strip()  # nothing in ASCII folds
    return fold(unicodedata.normalize("NFKC", value)).text.strip()


def canonicalize(value: str, entity: str) -> str:
    """The canonical form of a value; the empty string for one without visible characters."""
    text = visible(value)
    if entity in _PHONES:
        return _phone(text, entity)
    if entity in IDENTIFIERS:
        bare = _SEPARATORS.sub("", text).upper()
        return (upgrade15(bare) or bare) if entity in RESIDENT_IDS else bare
    text = _SPACES.sub(" ", _SPACE_IN_CHINESE.sub("", text))
    return text if entity in _CASE_COUNTS else text.casefold()


def _phone(text: str, entity: str) -> str:
    bare = _SEPARATORS.sub("", text).casefold()
    if entity == "CN_MOBILE" or _MOBILE_WITH_COUNTRY_CODE.fullmatch(bare):
        return _CHINESE_COUNTRY_CODE.sub("", bare)
    return _NORTH_AMERICAN.sub("", bare)
