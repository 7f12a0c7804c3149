"""A person who does not exist in the place of one who does, and always the same one.

What is drawn depends on the tenant's key and on the canonical value alone: the same name, number or
address is the same surrogate in every column, row and file of a tenant, and another one elsewhere.

| kind      | what comes out                               | why it is nobody's                  |
|-----------|----------------------------------------------|-------------------------------------|
| name      | Faker's, zh_CN or en_US by the script        | drawn without looking at the value  |
| address   | the same tables, house number 0              | no house has the number 0           |
| e-mail    | name.name.CODE@surrogate.invalid             | RFC 2606 §2                         |
| phone     | 129 and eight digits; 2xx-1xx-xxxx           | no mobile prefix, no NANP area 29x; |
|           |                                              | NANP exchanges begin with 2 to 9    |
| id card   | 18 digits from 0, wrong check character      | GB/T 2260 has no region 0…          |
| bank card | 16 to 19 digits from 0, Luhn-invalid         | no issuer begins with 0             |
| IMEI      | 15 digits from 0, Luhn-invalid               | no reporting body is numbered 0     |
| SSN, ITIN | xxx-00-xxxx                                  | group 00 is never issued            |
| IP        | in 2001:db8::/32                             | RFC 3849                            |
| MAC       | in 00:00:5E:00:53:00/40                      | RFC 7042 §2.1.2                     |
| UUID      | version and variant 0                        | RFC 9562 defines neither            |
| URL       | CODE.invalid                                 | RFC 2606 §2                         |
| others    | X0X and a code                               | no document's number has this form  |

Collisions. Two values share a surrogate by chance alone, and how likely that is depends on how many
there are: codes, e-mails, IPs, UUIDs, id cards and bank cards have 10**14 and more, so that among a
million persons none is to be expected. Chinese phones have 10**8 (5,000 pairs in a million),
American ones 8 * 10**8, names 2.9 million in Chinese and 690,000 in English, SSNs 10**7, MACs 256.
A one-to-one map is impossible there: more numbers are in use than a range that nobody has can hold.
So join on a pseudonym, and show a surrogate.

The tables are those of the installed Faker; a test pins them, so that an upgrade which would change
surrogates is seen.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from governance.anonymization.canonical import IDENTIFIERS, RESIDENT_IDS, canonicalize
from governance.recognition.checksums import id15, luhn, mod11_2, uscc

Keyed = Callable[[bytes], bytes]  # 32 bytes of the tenant's HMAC

MAIL_HOST: Final = "surrogate.invalid"
_CODE: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0 and 1, I and O
_MARK: Final = "X0X"
_PHONES: Final = frozenset({"CN_MOBILE", "CN_LANDLINE", "PHONE_NUMBER"})
_CARDS: Final = frozenset({"CN_BANK_CARD", "CREDIT_CARD"})
_ADDRESSES: Final = frozenset({"CN_ADDRESS", "STREET_ADDRESS", "LOCATION"})
_HAN: Final = re.compile(r"[㐀-鿿]")
_CHINESE_MOBILE: Final = re.compile(r"1\d{10}")
_DOCUMENTATION: Final = ipaddress.IPv6Network("2001:db8::/32")
_ORDINARY_CODE: Final = 13


class Draw:
    """Numbers drawn from a keyed hash of one value: the same ones each time."""

    def __init__(self, keyed: Keyed, kind: str, value: str) -> None:
        self._keyed = keyed
        self._message = b"surrogate\x1f" + kind.encode() + b"\x1f" + value.encode()
        self._block = 0
        self._pool = 0
        self._bits = 0

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1; the bias is below 2**-64."""
        needed = limit.bit_length() + 64
        while self._bits < needed:
            block = self._keyed(self._message + self._block.to_bytes(4, "big"))
            self._pool = self._pool << 256 | int.from_bytes(block, "big")
            self._bits += 256
            self._block += 1
        self._bits -= needed
        number = self._pool >> self._bits
        self._pool &= (1 << self._bits) - 1
        return number % limit

    def of(self, choices: Sequence[str]) -> str:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def digits(self, count: int) -> str:
        """So many decimal digits."""
        return f"{self.below(10**count):0{count}d}"

    def code(self, length: int) -> str:
        """So many letters and digits that nobody mistakes for each other."""
        return "".join(self.of(_CODE) for _ in range(length))


@dataclass(frozen=True, slots=True)
class _Tables:
    """Faker's tables of one language."""

    family: tuple[str, ...]
    given: tuple[str, ...]
    regions: tuple[str, ...]
    cities: tuple[str, ...]
    streets: tuple[str, ...]


@cache
def _chinese() -> _Tables:
    from faker.providers.address.zh_CN import Provider as Address  # noqa: PLC0415 - for who needs it
    from faker.providers.person.zh_CN import Provider as Person  # noqa: PLC0415 - as above

    family = tuple(Person.last_names)
    given = tuple(Person.first_names)
    return _Tables(
        family=family,
        given=given,
        regions=tuple(p for p in Address.provinces if p.endswith(("省", "自治区"))),
        cities=tuple(f"{city}市" for city in Address.cities),
        streets=tuple(f"{name}{kind}" for name in family for kind in Address.street_suffixes),
    )


@cache
def _english() -> _Tables:
    from faker.providers.address.en_US import Provider as Address  # noqa: PLC0415 - as above
    from faker.providers.person.en_US import Provider as Person  # noqa: PLC0415 - as above

    given = {**Person.first_names_male, **Person.first_names_female}
    return _Tables(
        family=tuple(Person.last_names),
        given=tuple(given),
        regions=tuple(Address.states_abbr),
        cities=tuple(f"{one} {two}" for one in Address.city_prefixes for two in Person.last_names),
        streets=("Street", "Avenue", "Road", "Lane", "Drive", "Court"),
    )


def surrogate(value: str, entity: str, keyed: Keyed) -> str:
    """What stands for `value`; `<ENTITY>` for an entity of which nothing is invented (a date).

    Args:
        value: as found; brought to its canonical form here.
        entity: what it was found to be.
        keyed: the tenant's keyed hash.
    """
    text = canonicalize(value, entity)
    if not text:
        return ""
    kind, make = _maker(entity)
    if make is None:
        return f"<{entity}>"
    draw = Draw(keyed, kind, text)
    while True:  # a draw that is the value itself, or some valid number, is drawn again
        made = make(draw, text)
        if canonicalize(made, entity) != text and not _valid(made):
            return made


def _maker(entity: str) -> tuple[str, Callable[[Draw, str], str] | None]:
    """The kind under which a value is hashed, and what draws it.

    One number found as a telephone number and as a mobile number is one number, so kinds are fewer
    than entities.
    """
    for entities, kind, make in (
        (_PHONES, "phone", _phone),
        (_CARDS, "card", _card),
        (_ADDRESSES, "address", _address),
        (RESIDENT_IDS, "id", _resident_id),
    ):
        if entity in entities:
            return kind, make
    if entity in _MAKERS:
        return entity, _MAKERS[entity]
    return entity, _coded if entity in IDENTIFIERS or entity in _CODED else None


def _name(draw: Draw, text: str) -> str:
    if _HAN.search(text):
        tables = _chinese()
        given = draw.of(tables.given)
        if len(given) == 1:
            given += draw.of([name for name in tables.given if len(name) == 1])
        return draw.of(tables.family) + given
    tables = _english()
    return f"{draw.of(tables.given)} {draw.of(tables.family)}"


def _address(draw: Draw, text: str) -> str:
    if _HAN.search(text):
        tables = _chinese()
        return f"{draw.of(tables.regions)}{draw.of(tables.cities)}{draw.of(tables.streets)}0号"
    tables = _english()
    street = f"0 {draw.of(tables.family)} {draw.of(tables.streets)}"
    return f"{street}, {draw.of(tables.cities)}, {draw.of(tables.regions)}"


def _mail(draw: Draw, text: str) -> str:
    del text
    tables = _english()
    name = f"{draw.of(tables.given)}.{draw.of(tables.family)}".casefold()
    return f"{name}.{draw.code(10).casefold()}@{MAIL_HOST}"


def _phone(draw: Draw, text: str) -> str:
    if _CHINESE_MOBILE.fullmatch(text):
        return f"129{draw.digits(8)}"
    return f"{draw.below(8) + 2}{draw.digits(2)}-1{draw.digits(2)}-{draw.digits(4)}"


def _resident_id(draw: Draw, text: str) -> str:
    del text
    return f"0{draw.digits(16)}{draw.of('0123456789X')}"


def _card(draw: Draw, text: str) -> str:
    length = min(19, max(16, len(text)))
    return f"0{draw.digits(length - 1)}"


def _social_security(draw: Draw, text: str) -> str:
    del text
    return f"{draw.digits(3)}-00-{draw.digits(4)}"


def _address_of_machine(draw: Draw, text: str) -> str:
    del text
    return str(_DOCUMENTATION.network_address + draw.below(2**96))


def _mac(draw: Draw, text: str) -> str:
    del text
    return f"00:00:5E:00:53:{draw.below(256):02X}"


def _uuid(draw: Draw, text: str) -> str:
    del text
    digits = f"{draw.below(2**120):030x}"
    return f"{digits[:8]}-{digits[8:12]}-0{digits[12:15]}-0{digits[15:18]}-{digits[18:]}"


def _url(draw: Draw, text: str) -> str:
    del text
    return f"{draw.code(_ORDINARY_CODE).casefold()}.invalid"


def _imei(draw: Draw, text: str) -> str:
    del text
    return f"0{draw.digits(14)}"


def _coded(draw: Draw, text: str) -> str:
    del text
    return _MARK + draw.code(_ORDINARY_CODE)


_MAKERS: Final[Mapping[str, Callable[[Draw, str], str]]] = MappingProxyType(
    {
        "PERSON": _name,
        "EMAIL_ADDRESS": _mail,
        "US_SSN": _social_security,
        "US_ITIN": _social_security,
        "IP_ADDRESS": _address_of_machine,
        "MAC_ADDRESS": _mac,
        "UUID": _uuid,
        "URL": _url,
        "IMEI": _imei,
    }
)
_CODED: Final = frozenset({"SUBJECT_ID", "CRYPTO", "CN_WECHAT", "CN_QQ"})


def _valid(text: str) -> bool:
    """Whether some check digit holds: what is invented must hold none."""
    return any(check(text) for check in (luhn, mod11_2, uscc, id15))


_INVENTED: Final = re.compile(
    rf"[a-z.'-]+\.[2-9a-hj-np-z]{{10}}@{re.escape(MAIL_HOST)}"
    r"|129\d{8}|[2-9]\d{2}-1\d{2}-\d{4}|0\d{16}[\dX]|0\d{14,18}|\d{3}-00-\d{4}"
    r"|00:00:5E:00:53:[0-9A-F]{2}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-0[0-9a-f]{3}-0[0-9a-f]{3}-[0-9a-f]{12}"
    rf"|{_MARK}[{_CODE}]{{13}}|[2-9a-hj-np-z]{{13}}\.invalid"
    r"|[^\d\n]*[^\d\n]0号|0 [^\d\n]+",
    re.ASCII,
)


def invented(text: str) -> bool:
    """Whether `text` has a form that only surrogates have: no living person's, so no leak.

    The re-scan asks this of hits in columns that the plan gives surrogates, and of no others. A
    value that was missed there is still reported: real numbers and addresses have other forms.
    """
    if _INVENTED.fullmatch(text) and not _valid(text):
        return True
    try:
        return ipaddress.ip_address(text) in _DOCUMENTATION
    except ValueError:
        return False


def invented_name(text: str) -> bool:
    """Whether a name can be made of the tables; says nothing about whose it is."""
    if _HAN.search(text):
        tables = _chinese()
        given = frozenset(tables.given)
        return any(
            text.startswith(family)
            and (
                text[len(family) :] in given
                or all(letter in given for letter in text[len(family) :])
            )
            for family in tables.family
        )
    tables = _english()
    first, _, last = text.partition(" ")
    return first in tables.given and last in tables.family
