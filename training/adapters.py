"""Low-rank adapters: what a frozen network learns under differential privacy, and nothing else.

LoRA (Hu et al., arXiv 2106.09685): beside a frozen weight W, (O, I), stands α/r · B·A with A (r, I)
and B (O, r). A is drawn from a public seed and B is zero, so training begins at the frozen network
itself. Few weights are trained, so little noise is added in all (Yu et al., arXiv 2110.06500).

`apply_lora` works on any module that has `nn.Linear` layers, found by their dotted names: an
encoder or a causal language model alike.
"""

import copy
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from training.encoder import PAD, Encoder, in_batches
from training.errors import ConfigError, EngineError
from training.features import ENCODED_NORM
from training.networks import Stemmed

_CHUNK: Final = 8_192  # tokens that are trained on at once: bounds memory
_AHEAD: Final = 1024**3  # bytes of states that are kept for all steps


@dataclass(frozen=True)
class LoraConfig:
    """Where adapters go, and how large they are.

    Attributes:
        targets: patterns of the dotted names of `nn.Linear` layers; each must match a whole name.
        rank: r.
        alpha: α; an adapter's product is scaled by α / r.
        seed: of A. Public.
    """

    targets: tuple[str, ...]
    rank: int = 4
    alpha: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.alpha < math.inf or not self.targets:
            raise ConfigError("adapters need a target, a rank and a scale")
        try:
            [re.compile(target) for target in self.targets]
        except re.error:
            raise ConfigError("a pattern of adapters' targets cannot be read") from None

    def takes(self, name: str) -> bool:
        """Whether a layer of this name is adapted."""
        return any(re.fullmatch(target, name) for target in self.targets)


class Adapted(nn.Module):
    """A frozen linear layer and the adapter beside it."""

    def __init__(self, base: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, rank, bias=False)
        self.b = nn.Linear(rank, base.out_features, bias=False)
        self.scale = scale
        nn.init.normal_(self.a.weight, std=1 / math.sqrt(base.in_features))
        nn.init.zeros_(self.b.weight)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(…, I) to (…, O)."""
        made: torch.Tensor = self.base(given) + self.scale * self.b(self.a(given))
        return made


def apply_lora(module: nn.Module, config: LoraConfig) -> list[str]:
    """Freeze a module and put adapters beside its targets, in place; the targets' names.

    The weights are drawn from the config's seed; the global generator is left as it was.

    Raises:
        EngineError: `engine.no_target`, no layer has such a name, or what has is no `nn.Linear`.
    """
    module.requires_grad_(requires_grad=False)
    found = [(name, layer) for name, layer in module.named_modules() if config.takes(name)]
    if not found or any(type(layer) is not nn.Linear for _, layer in found):
        raise EngineError("adapters stand beside linear layers alone", code="engine.no_target")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for name, layer in found:
            above, _, last = name.rpartition(".")
            adapted = Adapted(layer, config.rank, config.alpha / config.rank)
            setattr(module.get_submodule(above), last, adapted)
    return [name for name, _ in found]


class TextClassifier(Stemmed):
    """(B, T) ids to (B, 1) logits: a frozen encoder, adapters in its last layers, a linear head.

    Its state is what is trained: the frozen tensors are the encoder's, shared by all models of the
    process, and are in no snapshot and no artifact.
    """

    def __init__(self, base: Encoder, config: LoraConfig, first: int) -> None:
        """Adapt a copy of `base`, whose tensors are shared; no layer before `first` is adapted."""
        super().__init__()
        self.encoder: Encoder = copy.deepcopy(base, {id(p): p for p in base.parameters()})
        apply_lora(self.encoder, config)
        self._first = first
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.head = nn.Linear(base.norm.normalized_shape[0], 1)
        self.register_state_dict_post_hook(  # type: ignore[no-untyped-call]  # torch leaves it so
            _only_trained
        )
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]  # as above
            _frozen_are_here
        )

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(B, T) ids, or what `stem` made of them, to (B, 1) logits.

        Without gradients any number of texts may come: equal ones are read once.
        """
        if given.is_floating_point() or torch.is_grad_enabled():
            return self._rest(self.stem(given))
        distinct, place = torch.unique(given, dim=0, return_inverse=True)
        return in_batches(lambda ids: self._rest(self.stem(ids)), distinct, 1)[place]

    def stem(self, rows: torch.Tensor) -> torch.Tensor:
        """(B, T) ids to (B, t, D + 1): states before the first adapter, and where there is text."""
        if rows.is_floating_point():
            return rows[:, : self._longest(rows)]
        with torch.no_grad():
            ids = rows[:, : self._longest(rows)]
            mask = ids != PAD
            states = self.encoder.run(self.encoder.embed(ids), mask, slice(self._first))
            return torch.cat([states, mask.to(states.dtype).unsqueeze(-1)], dim=-1)

    def ahead(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, T) ids to (n, t, D + 1), or the ids where that would not fit."""
        longest, width = self._longest(rows), self.head.in_features + 1
        if len(rows) * longest * width * 4 > _AHEAD:
            return rows
        made = torch.zeros(len(rows), longest, width)
        for chosen in self.chunks(rows):
            states = self.stem(rows[chosen])
            made[chosen, : states.shape[1]] = states
        return made

    def chunks(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Places of texts of like length, `_CHUNK` tokens at a time."""
        lengths = _lengths(rows)
        order = lengths.argsort(stable=True)
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * int(lengths[order[end]]) <= _CHUNK:
                end += 1
            yield order[start:end]
            start = end

    @staticmethod
    def _longest(rows: torch.Tensor) -> int:
        return max(1, int(_lengths(rows).max())) if len(rows) else 1

    def _rest(self, given: torch.Tensor) -> torch.Tensor:
        states, mask = given[..., :-1], given[..., -1].detach() > 0
        last = self.encoder.run(states, mask, slice(self._first, None))
        logits: torch.Tensor = self.head(ENCODED_NORM * self.encoder.pool(last, mask))
        return logits


def _lengths(rows: torch.Tensor) -> torch.Tensor:
    """(B,) tokens of each text, by its ids or by the mask beside its states."""
    there = rows[..., -1] > 0 if rows.is_floating_point() else rows != PAD
    return there.sum(1)


def _only_trained(
    module: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]
) -> None:
    for name in _frozen(module):
        del state[f"{prefix}{name}"]


def _frozen_are_here(module: nn.Module, found: Any) -> None:
    """What the encoder's file gives is not missing from a state that does not hold it."""
    frozen = _frozen(module)
    found.missing_keys[:] = [name for name in found.missing_keys if name not in frozen]


def _frozen(module: nn.Module) -> frozenset[str]:
    """Names of the tensors that are the encoder's own: all but the adapters' and the head's."""
    return frozenset(
        name
        for name, _ in module.named_parameters()
        if not name.startswith("head.") and not name.endswith((".a.weight", ".b.weight"))
    )


def text_classifier(
    base: Encoder, *, rank: int, alpha: float, layers: int, seed: int
) -> TextClassifier:
    """Adapters on the query and value projections of the last layers, as LoRA's authors do."""
    first = len(base.layers) - layers
    numbers = "|".join(str(number) for number in range(first, len(base.layers)))
    targets = (rf"layers\.({numbers})\.attention\.(query|value)",)
    return TextClassifier(base, LoraConfig(targets, rank, alpha, seed), first)
