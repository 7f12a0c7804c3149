"""One value, one byte string: the canonical JSON that entries and payloads are hashed in.

A subset of RFC 8785 (JSON Canonicalization Scheme): objects with string keys sorted by UTF-16 code
unit, arrays, strings, integers within ±(2**53 - 1), booleans and null. Floats are refused, because
two languages print the same float in different ways; a measured number travels as a decimal string.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from audit.errors import CanonicalError

LARGEST: Final = 2**53 - 1


def canonical(value: object) -> bytes:
    """Return the canonical UTF-8 bytes of `value`.

    Raises:
        CanonicalError: a float, an integer past 2**53 - 1, a key that is not a string, a lone
            surrogate, or a type that JSON does not have.
    """
    ordered = _ordered(value)
    try:
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise CanonicalError("a string holds a lone surrogate") from error


def digest(value: object) -> str:
    """SHA-256 of the canonical bytes, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def decimal(number: float, places: int = 6) -> str:
    """A measured number as the decimal string that canonical JSON carries: "0.981234"."""
    return f"{number:.{places}f}"


def _ordered(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > LARGEST:
                raise CanonicalError("an integer is past 2**53 - 1")
            return int(value)
        case dict():
            return {key: _ordered(value[key]) for key in _sorted(value)}
        case list() | tuple():
            return [_ordered(item) for item in value]
        case _:
            raise CanonicalError(f"a {type(value).__name__} has no canonical form")


def _sorted(names: Iterable[object]) -> list[str]:
    """RFC 8785 §3.2.3 sorts keys by UTF-16 code units; for ASCII that is Python's own order."""
    texts: list[str] = []
    plain = True
    for name in names:
        if not isinstance(name, str):
            raise CanonicalError("an object key is not a string")
        plain = plain and name.isascii()
        texts.append(name)
    return sorted(texts) if plain else sorted(texts, key=_utf16)


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")
