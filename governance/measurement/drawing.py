"""Seeded draws: pools of invented names and streets, and numbers that belong to nobody.

Where a format has a check digit it is right, or no detector that checks would find it; that nobody
holds the number follows from another part of it: a birth before 1901, a serial of zeros, a range
that its issuer keeps for tests. `fakes` says which, entity by entity.
"""

import random
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Final, TypeVar

from faker import Faker

from governance.recognition.checksums import hkid, luhn, mod11_2, taiwan_id, uscc

T = TypeVar("T")

_POOL: Final = 400
_ID_CHECKS: Final = "0123456789X"
_USCC: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WESTERN: Final = ("January", "February", "March", "April", "May", "June", "July", "August",
                   "September", "October", "November", "December")  # fmt: skip


class Draw:
    """Everything random of one labeled set; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - reproducible fiction, not a secret
        self._seed = seed

    def one(self, of: Sequence[T]) -> T:
        """One of a sequence."""
        return self.rng.choice(of)

    def chance(self, share: float) -> bool:
        """True that often."""
        return self.rng.random() < share

    def digits(self, count: int) -> str:
        """So many digits."""
        return f"{self.rng.randrange(10**count):0{count}d}"

    def letters(self, count: int, of: str = "ABCDEFGHJKLMNPQRTUWXY") -> str:
        """So many characters of an alphabet."""
        return "".join(self.rng.choices(of, k=count))

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return self.rng.randint(low, high)

    def birth(self) -> tuple[int, int, int]:
        """Year, month and day of a birth whose child is no longer alive."""
        return self.between(1850, 1900), self.between(1, 12), self.between(1, 28)

    def birth_day(self) -> str:
        """`birth` as YYYYMMDD."""
        year, month, day = self.birth()
        return f"{year}{month:02d}{day:02d}"

    def birth_said(self, *, chinese: bool) -> str:
        """`birth` as people write it."""
        year, month, day = self.birth()
        if chinese:
            return self.one([f"{year}年{month}月{day}日", f"{year}-{month:02d}-{day:02d}"])
        return self.one(
            [f"{_WESTERN[month - 1]} {day}, {year}", f"{month:02d}/{day:02d}/{year}",
             f"{year}-{month:02d}-{day:02d}"]
        )  # fmt: skip

    # Pools

    def _pool(self, locale: str, make: Callable[[Faker], str], salt: int) -> list[str]:
        fake = Faker(locale)
        fake.seed_instance(self._seed * 31 + salt)
        return [make(fake) for _ in range(_POOL)]

    @cached_property
    def chinese_names(self) -> list[str]:
        """Names in simplified characters, some with a surname of two."""
        made = self._pool("zh_CN", lambda fake: fake.name(), 1)
        compound = ("欧阳", "司马", "上官", "诸葛", "慕容", "皇甫", "令狐", "公孙")
        return made + [f"{compound[i % 8]}{name[-1]}" for i, name in enumerate(made[:32])]

    @cached_property
    def traditional_names(self) -> list[str]:
        """Names in traditional characters."""
        return self._pool("zh_TW", lambda fake: fake.name(), 2)

    @cached_property
    def english_names(self) -> list[str]:
        """First and last names, some with a middle initial or a hyphen."""
        return self._pool(
            "en_US",
            lambda fake: fake.random_element(
                (
                    f"{fake.first_name()} {fake.last_name()}",
                    f"{fake.first_name()} {fake.last_name()}",
                    f"{fake.first_name()} {fake.random_uppercase_letter()}. {fake.last_name()}",
                    f"{fake.first_name()} {fake.last_name()}-{fake.last_name()}",
                )
            ),
            3,
        )

    @cached_property
    def accounts(self) -> list[str]:
        """User names."""
        return self._pool("en_US", lambda fake: fake.user_name(), 4)

    @cached_property
    def chinese_cities(self) -> list[str]:
        """Cities with their suffix."""
        return self._pool("zh_CN", lambda fake: f"{fake.city_name()}市", 5)

    @cached_property
    def english_cities(self) -> list[str]:
        """Towns that Faker makes up."""
        return self._pool("en_US", lambda fake: fake.city(), 6)

    @cached_property
    def chinese_addresses(self) -> list[str]:
        """Province, city, district, street, number and flat."""

        def address(fake: Faker) -> str:
            place = f"{fake.province()}{fake.city_name()}市{fake.district()}区{fake.street_name()}"
            flat = f"{fake.random_int(1, 9)}单元{fake.random_int(101, 2804)}室"
            return f"{place}{fake.random_int(1, 300)}号{flat if fake.boolean() else ''}"

        return self._pool("zh_CN", address, 7)

    @cached_property
    def english_addresses(self) -> list[str]:
        """Number, street, town, state and ZIP code, on one line."""
        return self._pool(
            "en_US",
            lambda fake: (
                f"{fake.building_number()} {fake.street_name()}"
                f"{', ' + fake.secondary_address() if fake.boolean(30) else ''}, {fake.city()}, "
                f"{fake.state_abbr(include_territories=False)} {fake.postcode()}"
            ),
            8,
        )

    @cached_property
    def regions(self) -> list[str]:
        """Codes of counties, as Chinese identity numbers begin with them."""
        return sorted(set(self._pool("zh_CN", lambda fake: fake.ssn()[:6], 9)))

    # Check digits


def completed(body: str, holds: Callable[[str], bool], alphabet: str = "0123456789") -> str | None:
    """`body` with the one last character that makes its check hold, or None when none does."""
    return next((body + last for last in alphabet if holds(body + last)), None)


def with_check(body: str, holds: Callable[[str], bool], alphabet: str = "0123456789") -> str:
    """As `completed`, for formats in which every body has its character.

    Raises:
        ValueError: this body has none: the caller's mistake.
    """
    found = completed(body, holds, alphabet)
    if found is None:
        raise ValueError("no last character makes this check hold")
    return found


def drawn_until(draw: Draw, holds: Callable[[str], bool], lead: str, count: int) -> str:
    """`lead` and so many digits, drawn until their check holds."""
    while not holds(whole := lead + draw.digits(count)):
        pass
    return whole


def resident(body: str) -> str:
    """Seventeen digits and their GB 11643 check character."""
    return with_check(body, mod11_2, _ID_CHECKS)


def card(body: str) -> str:
    """Digits and their ISO/IEC 7812 check digit."""
    return with_check(body, luhn)


def credit_code(body: str) -> str:
    """Seventeen characters and their GB 32100 check character."""
    return with_check(body, uscc, _USCC)


def hong_kong(body: str) -> str:
    """Letters and six digits, the check character in brackets."""
    bare = with_check(body, hkid, "0123456789A")
    return f"{bare[:-1]}({bare[-1]})"


def taiwan(body: str) -> str:
    """A letter, nine digits, the last of them the check digit."""
    return with_check(body, taiwan_id)


def weighted(body: str, weights: Sequence[int], modulus: int, alphabet: str) -> str | None:
    """`body` and `alphabet[-Σ wᵢ·dᵢ mod modulus]`, or None where that has no character."""
    total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
    place = -total % modulus
    return body + alphabet[place] if place < len(alphabet) else None


def iban(country: str, body: str) -> str:
    """ISO 13616: check digits that make the number 1 modulo 97."""
    moved = "".join(str(int(c, 36)) for c in f"{body}{country}00")
    return f"{country}{98 - int(moved) % 97:02d}{body}"


def base58check(payload: bytes) -> str:
    """Base58 with a checksum, as Bitcoin writes an address (version byte and 20 bytes)."""
    import hashlib  # noqa: PLC0415 - the one user

    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(whole), ""
    while number:
        number, place = divmod(number, 58)
        text = _BASE58[place] + text
    return "1" * (len(whole) - len(whole.lstrip(b"\0"))) + text
