"""The laws that a dataset may be declared under, and whose identifiers each of them looks for.

The European regime looks for the documents of every member country that has a recognizer, and for
British ones: a file of Europeans holds both.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Law: the recognizers' regime. `ca` is California's law, whose people carry documents of the US.
REGIMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "eu": "eu",
        "cn": "cn",
        "ca": "us",
        "uk": "uk",
        "jp": "jp",
        "kr": "kr",
        "in": "in",
        "sg": "sg",
        "th": "th",
        "ph": "ph",
        "au": "au",
        "can": "can",
        "tr": "tr",
        "za": "za",
        "ng": "ng",
    }
)
ALL: Final = tuple(REGIMES.values())
