"""The operators that a column plan names: what each does to a value, and what it then is in law.

| name       | does                                        | legal status                        |
|------------|---------------------------------------------|-------------------------------------|
| redact     | deletes the value                           | anonymous only if the whole row is  |
| replace    | puts `<ENTITY>` in its place                | as redact                           |
| mask       | keeps declared positions, hides the rest    | pseudonymous                        |
| pseudonym  | Base32(HMAC(key, entity ‖ 0x1F ‖ value))    | pseudonymous while the key exists   |
| token      | SIV under the tenant's key; `reveal` undoes | pseudonymous; revealing needs two   |
| generalize | a band, month, region, network or city      | supports anonymity (k-tests decide) |
| date_shift | moves all dates of a subject by one offset  | pseudonymous                        |
| surrogate  | an invented person, number or address       | pseudonymous while the key exists   |
| keep       | nothing                                     | identifying                         |

A value is brought to its canonical form first (`canonical`), so that joins survive formatting. A
value without visible characters stays empty: that nothing was there is not personal data. The legal
grading is that of GDPR Recital 26 and Art. 4(5) and of PIPL Art. 4 and 73.

Format-preserving encryption (FF1) is left out on purpose: see the package's README.
"""

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag

from governance.anonymization import generalization
from governance.anonymization.base32 import base32
from governance.anonymization.canonical import (
    IDENTIFIERS,
    canonical_entity,
    canonicalize,
    visible,
)
from governance.anonymization.dates import shifted
from governance.anonymization.operation import LegalStatus, Operator, OperatorKeys, key_record
from governance.anonymization.surrogates import surrogate
from governance.errors import OperatorError, SealError
from governance.suites import Deterministic

__all__ = [
    "GRANULARITIES",
    "OPERATORS",
    "DateShift",
    "Generalize",
    "Keep",
    "LegalStatus",
    "Mask",
    "Operator",
    "OperatorKeys",
    "Pseudonym",
    "Redact",
    "Replace",
    "Surrogate",
    "Token",
    "check_config",
    "operator_from",
]

_PSEUDONYM_LENGTH: Final = (
    15  # bytes: 24 characters of Base32 without padding, 2**60 to a collision
)
_MOST_DAYS: Final = 364
_HIDDEN: Final = 4  # stars where a mask does not tell how many characters it hides


@dataclass(frozen=True, slots=True)
class Redact(Operator):
    """Delete the value."""

    name = "redact"
    status = LegalStatus.ANONYMOUS_IF_RECORD_IS

    def apply(self, value: str, entity: str) -> str:
        """The empty string."""
        del value, entity
        return ""


@dataclass(frozen=True, slots=True)
class Replace(Operator):
    """Put the entity's name in the value's place."""

    name = "replace"
    status = LegalStatus.ANONYMOUS_IF_RECORD_IS

    def apply(self, value: str, entity: str) -> str:
        """`<ENTITY>`."""
        return f"<{entity}>" if visible(value) else ""


@dataclass(frozen=True, slots=True)
class Keep(Operator):
    """Leave the value as it is."""

    name = "keep"
    status = LegalStatus.IDENTIFYING
    keeps_form = True

    def apply(self, value: str, entity: str) -> str:
        """The value."""
        del entity
        return value


@dataclass(frozen=True, slots=True)
class Mask(Operator):
    """Keep so many first and last characters; hide the others, and by default how many they are.

    `keep_first` of None means what is customary for the entity: three digits of a Chinese mobile
    number, the province and letter of a plate, nothing of anything else.
    """

    keep_first: int | None = None
    keep_last: int = 0
    character: str = "*"
    show_length: bool = False

    name = "mask"
    status = LegalStatus.PSEUDONYMOUS
    customary: ClassVar[Mapping[str, int]] = MappingProxyType({"CN_MOBILE": 3, "CN_PLATE": 2})

    def __post_init__(self) -> None:
        for name, count in (("keep_first", self.keep_first or 0), ("keep_last", self.keep_last)):
            if count < 0:
                raise OperatorError(f"{name} is negative", pointer=f"/{name}")
        if len(self.character) != 1 or self.character.isalnum():
            raise OperatorError("character is one mark, no letter or digit", pointer="/character")

    def check_entity(self, entity: str) -> None:
        """Refuse to show the tail of an identifier: last-four look-ups identify people.

        Raises:
            OperatorError: `keep_last` is set and the entity is an identifier.
        """
        if self.keep_last and entity in IDENTIFIERS:
            raise OperatorError(
                f"the last characters of {entity} are never kept",
                code="anonymize.mask_tail",
                pointer="/keep_last",
            )

    def apply(self, value: str, entity: str) -> str:
        """The masked canonical value. Where half of it or more would be kept, nothing is."""
        self.check_entity(entity)
        text = canonicalize(value, entity)
        if not text:
            return ""
        first = self.customary.get(entity, 0) if self.keep_first is None else self.keep_first
        if 2 * (first + self.keep_last) > len(text):
            return self.character * (len(text) if self.show_length else _HIDDEN)
        hidden = len(text) - first - self.keep_last if self.show_length else _HIDDEN
        return text[:first] + self.character * hidden + text[len(text) - self.keep_last :]


@dataclass(frozen=True, slots=True)
class Pseudonym(Operator):
    """A keyed hash: equal values of a tenant and an entity stay equal, and nothing leads back."""

    keys: OperatorKeys = field(repr=False)

    name = "pseudonym"
    status = LegalStatus.PSEUDONYMOUS

    def apply(self, value: str, entity: str) -> str:
        """24 characters of Base32."""
        text = canonicalize(value, entity)
        if not text:
            return ""
        message = canonical_entity(entity).encode() + b"\x1f" + text.encode()
        digest = self.keys.suite.keyed_hash(self.keys.hash_key, message)
        return b32encode(digest[:_PSEUDONYM_LENGTH]).decode("ascii")

    def apply_many(self, values: Sequence[str], entity: str) -> list[str]:
        """`apply` to each of many values; Base32 of all of them at once."""
        beginning = canonical_entity(entity).encode() + b"\x1f"
        keyed, key = self.keys.suite.keyed_hash, self.keys.hash_key
        texts = [canonicalize(value, entity) for value in values]
        hashed = {
            text: keyed(key, beginning + text.encode())[:_PSEUDONYM_LENGTH]
            for text in dict.fromkeys(texts)
            if text
        }
        written = dict(zip(hashed, base32(list(hashed.values())), strict=True))
        return [written.get(text, "") for text in texts]

    def record(self) -> dict[str, str | int]:
        """With the suite and the version of the key."""
        return Operator.record(self) | key_record(self.keys)


@dataclass(frozen=True, slots=True)
class Token(Operator):
    """Deterministic authenticated encryption: as a pseudonym, and `reveal` leads back."""

    keys: OperatorKeys = field(repr=False)
    _siv: Deterministic = field(init=False, repr=False, compare=False)

    name = "token"
    status = LegalStatus.REVERSIBLE

    def __post_init__(self) -> None:
        siv = self.keys.suite.deterministic(self.keys.token_key)
        object.__setattr__(self, "_siv", siv)

    def apply(self, value: str, entity: str) -> str:
        """The token in hexadecimal: 32 characters, and two for each byte of the value."""
        text = canonicalize(value, entity)
        return self._siv.encrypt(text.encode(), self._associated_data(entity)).hex() if text else ""

    def reveal(self, token: str, entity: str) -> str:
        """The canonical value that a token stands for. Reached only under a two-person approval.

        Raises:
            SealError: the token is not one of this tenant, entity and key.
        """
        try:
            sealed = bytes.fromhex(token)
            return self._siv.decrypt(sealed, self._associated_data(entity)).decode()
        except (ValueError, InvalidTag):
            raise SealError from None

    def record(self) -> dict[str, str | int]:
        """With the suite and the version of the key."""
        return Operator.record(self) | key_record(self.keys)

    def _associated_data(self, entity: str) -> list[bytes]:
        return [self.keys.tenant.encode(), canonical_entity(entity).encode()]


@dataclass(frozen=True, slots=True)
class DateShift(Operator):
    """Move every date of a data subject by one number of days, so that intervals stay.

    The offset is -364 to 364 and never 0, by the tenant's key and the subject's canonical id. A
    date that is not certain (5/6/1990) and one whose subject is unknown become `<ENTITY>`.
    """

    keys: OperatorKeys = field(repr=False)

    name = "date_shift"
    status = LegalStatus.PSEUDONYMOUS
    needs_subject = True
    keeps_form = True

    def apply(self, value: str, entity: str) -> str:
        """`<ENTITY>`: without a subject no offset would keep intervals."""
        return f"<{entity}>" if visible(value) else ""

    def apply_rows(
        self, values: Sequence[str | None], subjects: Sequence[str | None], entity: str
    ) -> list[str | None]:
        """The cells' dates, each moved by the offset of its row's subject, in the form it had."""
        offsets: dict[str, int | None] = {}
        out: list[str | None] = []
        for value, subject in zip(values, subjects, strict=True):
            if not value:
                out.append(value)
                continue
            whose = subject or ""
            if whose not in offsets:
                offsets[whose] = self.offset(whose)
            days = offsets[whose]
            moved = None if days is None else shifted(visible(value), days)
            out.append(self.apply(value, entity) if moved is None else moved)
        return out

    def offset(self, subject: str) -> int | None:
        """The subject's offset in days; None for no subject."""
        # As an identifier: separators, width and case of an id do not make two persons of one.
        text = canonicalize(subject, "CN_ID")
        if not text:
            return None
        drawn = self.keys.suite.keyed_hash(self.keys.hash_key, b"date_shift\x1f" + text.encode())
        days = int.from_bytes(drawn[:16], "big") % (2 * _MOST_DAYS) - _MOST_DAYS
        return days if days < 0 else days + 1

    def record(self) -> dict[str, str | int]:
        """With the suite and the version of the key."""
        return Operator.record(self) | key_record(self.keys)


@dataclass(frozen=True, slots=True)
class Surrogate(Operator):
    """Put somebody who does not exist in the person's place: see `surrogates`."""

    keys: OperatorKeys = field(repr=False)

    name = "surrogate"
    status = LegalStatus.PSEUDONYMOUS

    def apply(self, value: str, entity: str) -> str:
        """The same invention for the same canonical value; `<ENTITY>` where none is made."""
        return surrogate(value, entity, partial(self.keys.suite.keyed_hash, self.keys.hash_key))

    def record(self) -> dict[str, str | int]:
        """With the suite and the version of the key."""
        return Operator.record(self) | key_record(self.keys)


@dataclass(frozen=True, slots=True)
class Generalize(Operator):
    """Put a coarser value in the value's place; `to` is a key of `GRANULARITIES`."""

    to: str

    name = "generalize"
    status = LegalStatus.SUPPORTS_ANONYMITY

    def __post_init__(self) -> None:
        if self.to not in GRANULARITIES:
            raise OperatorError(f"to is one of {', '.join(GRANULARITIES)}", pointer="/to")

    def apply(self, value: str, entity: str) -> str:
        """The coarser value, or `<ENTITY>` where the value cannot be read with certainty."""
        text = visible(value)
        return (GRANULARITIES[self.to](text, entity) or f"<{entity}>") if text else ""


def _by_value(coarser: Callable[[str], str | None]) -> Callable[[str, str], str | None]:
    return lambda value, entity: coarser(value)  # noqa: ARG005  # the table's common shape


GRANULARITIES: Final[Mapping[str, Callable[[str, str], str | None]]] = MappingProxyType(
    {
        "age_5": _by_value(partial(generalization.age_band, width=5)),
        "age_10": _by_value(partial(generalization.age_band, width=10)),
        "month": generalization.month_of,
        "year": generalization.year_of,
        "region_6": _by_value(partial(generalization.region, digits=6)),
        "region_4": _by_value(partial(generalization.region, digits=4)),
        "region_2": _by_value(partial(generalization.region, digits=2)),
        "network": _by_value(generalization.network),
        "city": _by_value(generalization.city),
        "province": _by_value(generalization.province),
    }
)

_ALL: Final = (
    Redact,
    Replace,
    Mask,
    Pseudonym,
    Surrogate,
    Token,
    Generalize,
    DateShift,
    Keep,
)
OPERATORS: Final[Mapping[str, type[Operator]]] = MappingProxyType({op.name: op for op in _ALL})


def operator_from(config: Mapping[str, object], keys: OperatorKeys, entity: str) -> Operator:
    """The operator that a column plan's JSON describes, for columns or findings of `entity`.

    For example `{"operator": "mask", "keep_first": 3}`.

    Raises:
        OperatorError: the configuration is wrong, with a pointer to the field; or the operator must
            not be used on this entity.
    """
    kind = _kind(config)
    settings = _settings(config, kind)
    if "keys" in kind.__dataclass_fields__:
        settings["keys"] = keys
    built = kind(**settings)
    built.check_entity(entity)
    return built


def check_config(config: Mapping[str, object], entity: str) -> LegalStatus:
    """Check a configuration before there are keys; return the status that its output will have.

    Raises:
        OperatorError: as `operator_from`.
    """
    kind = _kind(config)
    settings = _settings(config, kind)
    if "keys" not in kind.__dataclass_fields__:
        kind(**settings).check_entity(entity)
    return kind.status


def _kind(config: Mapping[str, object]) -> type[Operator]:
    name = config.get("operator")
    if not isinstance(name, str) or name not in OPERATORS:
        raise OperatorError(f"operator is one of {', '.join(OPERATORS)}", pointer="/operator")
    return OPERATORS[name]


def _settings(config: Mapping[str, object], kind: type[Operator]) -> dict[str, object]:
    """The configuration's fields, checked by name and type against the operator's own."""
    known = {f.name: f for f in fields(kind) if f.init and f.name != "keys"}
    settings = {name: value for name, value in config.items() if name != "operator"}
    for name, value in settings.items():
        if name not in known:
            raise OperatorError(f"{kind.name} has no such setting", pointer=f"/{_escape(name)}")
        if not _TYPES[name](value):
            raise OperatorError(f"{name} is of the wrong type", pointer=f"/{name}")
    for name, expected in known.items():
        if expected.default is MISSING and name not in settings:
            raise OperatorError(f"{kind.name} needs {name}", pointer=f"/{name}")
    return settings


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[object], bool]]] = MappingProxyType(
    {
        "keep_first": lambda value: value is None or _is_count(value),
        "keep_last": _is_count,
        "character": lambda value: isinstance(value, str),
        "show_length": lambda value: isinstance(value, bool),
        "to": lambda value: isinstance(value, str),
    }
)


def _escape(name: str) -> str:
    """RFC 6901 §3."""
    return name.replace("~", "~0").replace("/", "~1")
