"""Sentences to vectors by a frozen encoder: BERT, read from a packaged file, in plain modules.

    ids      word pieces of a text, `[CLS]` first and `[SEP]` last, at most 256
    embed    word, position and type embeddings, summed and normalized
    layers   self-attention and a GELU network, each added to what it read and normalized
    pool     the mean of a text's last states, brought to length 1

Devlin et al., arXiv 1810.04805; pooling by Reimers and Gurevych, arXiv 1908.10084. The file's
SHA-256 is a constant of `training.packaged`: another file is refused, so that a specification, its
vectors and its adapters always mean the same base. Nothing here has a buffer, a dropout or a
statistic of a batch: each record's vector is its own.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import nn

from training.errors import EncoderError
from training.packaged import ENCODERS, LARGEST_TEXT, LONGEST, Packaged

PAD: Final = 0  # fills up shorter texts; no text is read as it
_BATCH: Final = 4_096  # tokens a forward pass: bounds memory
_FEW: Final = -1e9  # added to a score that must not count; −∞ would be NaN where nothing counts
_EPSILON: Final = 1e-12  # of the layers' normalization, and of a vector's length


@dataclass(frozen=True)
class Tokens:
    """Texts as word pieces.

    Attributes:
        ids: (n, T) int32, T the longest; `PAD` after a text's end, and all along an empty one.
        truncated: how many texts were longer than what is read of them. Private, like the texts.
    """

    ids: npt.NDArray[np.int32]
    truncated: int


class Attention(nn.Module):
    """Self-attention of H heads over (B, T, D) states."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, states: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(B, T, D); `bias` (B, 1, 1, T) is added to each query's scores."""
        query, key, value = (
            part(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        made: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return made


class Layer(nn.Module):
    """Attention, then a GELU network four times as wide; normalized after each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)

    def forward(self, states: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(B, T, D) states to the next ones."""
        states = self.attention_norm(states + self.attention(states, bias))
        made: torch.Tensor = self.norm(
            states + self.down(nn.functional.gelu(self.up(states)))  # the exact GELU, as it was
        )
        return made


class Encoder(nn.Module):
    """(B, T) ids to (B, D) vectors of length 1; the zero vector where there is no text."""

    def __init__(self, *, width: int, layers: int, heads: int, words: int, places: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.places = nn.Embedding(places, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) ids to (B, D)."""
        mask = ids != PAD
        return self.pool(self.run(self.embed(ids), mask), mask)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, T) ids to the (B, T, D) states that the first layer reads."""
        places = self.places.weight[: ids.shape[1]]
        states: torch.Tensor = self.norm(self.words(ids) + places + self.types.weight[0])
        return states

    def run(
        self, states: torch.Tensor, mask: torch.Tensor, layers: slice = slice(None)
    ) -> torch.Tensor:
        """(B, T, D) states through some of the layers; `mask` is (B, T), true where a text is."""
        bias = (~mask).to(states.dtype)[:, None, None, :] * _FEW
        for layer in self.layers[layers]:
            states = layer(states, bias)
        return states

    @staticmethod
    def pool(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, D) last states to (B, D) vectors."""
        kept = mask.to(states.dtype).unsqueeze(-1)
        mean = (states * kept).sum(1) / kept.sum(1).clamp(min=1)
        return nn.functional.normalize(mean, dim=-1, eps=_EPSILON)


class SentenceEncoder:
    """A packaged encoder and its tokenizer, checked and frozen.

    Attributes:
        packaged: what it was loaded as.
        network: in evaluation mode, gradients off. Whoever adapts it copies its modules and shares
            its tensors.
    """

    def __init__(self, packaged: Packaged) -> None:
        """Load the files (0.3 s, 90 MB).

        Raises:
            EncoderError: `encoder.missing`, `encoder.differs`.
        """
        self.packaged = packaged
        weights = _checked(packaged.folder / "model.safetensors", packaged.weights)
        text = _checked(packaged.folder / "tokenizer.json", packaged.tokenizer)
        # A tensor that is born where gradients are impossible could never be adapted.
        with torch.inference_mode(mode=False):
            state = _renamed(safetensors.torch.load(weights))
            self.network = Encoder(
                width=packaged.width,
                layers=packaged.layers,
                heads=packaged.heads,
                words=len(state["words.weight"]),
                places=len(state["places.weight"]),
            )
            self.network.load_state_dict(state, strict=True, assign=True)
        self.network.eval().requires_grad_(False)
        self._tokenizer: Any = Tokenizer.from_buffer(text)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)
        # "[PAD]" in somebody's text is text.
        self._tokenizer.encode_special_tokens = True

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """Word pieces of n texts, which are cut after `LONGEST`."""
        coded = self._tokenizer.encode_batch([text[:LARGEST_TEXT] for text in texts])
        found = [code.ids if text.strip() else [] for code, text in zip(coded, texts, strict=True)]
        ids = np.full((len(found), max(map(len, found), default=1) or 1), PAD, np.int32)
        for row, of_row in enumerate(found):
            ids[row, : len(of_row)] = of_row
        cut = (
            bool(code.overflowing) or len(text) > LARGEST_TEXT
            for code, text in zip(coded, texts, strict=True)
        )
        return Tokens(ids, sum(cut))

    def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(n, D) vectors of n texts; equal texts are read once."""
        distinct = list(dict.fromkeys(texts))
        ids = torch.from_numpy(self.tokens(distinct).ids)
        of_text = in_batches(self.network, ids, self.packaged.width).numpy()
        place = {text: number for number, text in enumerate(distinct)}
        chosen: npt.NDArray[np.float32] = of_text[[place[text] for text in texts]]
        return chosen


def in_batches(
    network: Callable[[torch.Tensor], torch.Tensor], ids: torch.Tensor, width: int
) -> torch.Tensor:
    """(n, width) results of a network for (n, T) ids, without gradients.

    Texts of like length go together, so that little is computed for what fills them up.
    """
    made = torch.zeros(len(ids), width)
    with torch.inference_mode():
        for chosen, length in _batches((ids != PAD).sum(1).tolist()):
            made[chosen] = network(ids[chosen, :length])
    return made


def _batches(lengths: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Places of texts and how long the longest of them is, the shortest texts first."""
    chosen: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chosen and (len(chosen) + 1) * lengths[place] > _BATCH:
            yield chosen, max(1, lengths[chosen[-1]])
            chosen = []
        chosen.append(place)
    if chosen:
        yield chosen, max(1, lengths[chosen[-1]])


def _checked(path: Path, wanted: str) -> bytes:
    """A file's bytes, which have this SHA-256."""
    try:
        found = path.read_bytes()
    except OSError:
        raise EncoderError(
            f"the sentence encoder lacks {path.name}: `make install` puts it there",
            code="encoder.missing",
        ) from None
    if hashlib.sha256(found).hexdigest() != wanted:
        raise EncoderError(
            f"the sentence encoder's {path.name} is another file than the one that is pinned",
            code="encoder.differs",
        )
    return found


_PARTS: Final = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "places",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm",
}
# Place numbers are no weights; the pooler belongs to a task that sentences have no use for.
_UNUSED: Final = frozenset({"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"})


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The file's tensors by the names that they have here."""
    found = {}
    for name, tensor in state.items():
        if name in _UNUSED:
            continue
        whole, _, kind = name.rpartition(".")
        prefix = ""
        if whole.startswith("encoder.layer."):
            number, _, whole = whole.removeprefix("encoder.layer.").partition(".")
            prefix = f"layers.{number}."
        found[f"{prefix}{_PARTS[whole]}.{kind}"] = tensor
    return found


_loading: Final = threading.Lock()


@cache
def _loaded(name: str) -> SentenceEncoder:
    return SentenceEncoder(ENCODERS[name])


def encoder(name: str) -> SentenceEncoder:
    """The process's one encoder of this name: every model that needs it shares it.

    Raises:
        EncoderError: `encoder.missing`, `encoder.differs`.
    """
    with _loading:  # else two threads would read 90 MB each
        return _loaded(name)
