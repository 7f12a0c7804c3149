"""Several models as one: each reads a row by its own specification, and the mean is what they say.

Equal weights and nothing fitted: the mean is a function of the members' outputs alone, so it is
post-processing of models that are paid for, and adds nothing to what they cost together (Dwork and
Roth, The Algorithmic Foundations of Differential Privacy, Proposition 2.1). Weights that were
chosen by how well members do would be a release about the rows that they were chosen by.

Probabilities are averaged, not weights: members may be of different kinds, and two networks of one
kind have no common order of their units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training.errors import FeatureError
from training.features import Category, Feature, FeatureSpec, Numeric, Provenance


@dataclass(frozen=True)
class JointSpec(FeatureSpec):
    """The features of several specifications, encoded as each of these does, side by side.

    `features` are for readers: request rows, explanations, the card. A number's bounds there hold
    those of every part, and a list of values those of every list.

    Attributes:
        parts: the specifications, each once.
    """

    parts: tuple[FeatureSpec, ...] = ()

    @property
    def blocks(self) -> tuple[Feature, ...]:
        """The parts' blocks, one part after the other."""
        return tuple(block for part in self.parts for block in part.blocks)

    def as_dict(self) -> dict[str, object]:
        """Canonical-JSON form."""
        return {**super().as_dict(), "parts": [part.digest() for part in self.parts]}


def joint(specs: Sequence[FeatureSpec]) -> JointSpec:
    """One specification over all columns that several read.

    Raises:
        FeatureError: `run.member_differs`, they predict different things; `run.member_columns`, a
            column is of one kind here and of another there.
    """
    if len({spec.target for spec in specs}) != 1:
        raise FeatureError("members predict different things", code="run.member_differs")
    named: dict[str, list[Feature]] = {}
    for spec in specs:
        for feature in spec.features:
            named.setdefault(feature.name, []).append(feature)
    features = tuple(_one(found) for found in named.values())
    return JointSpec(features, specs[0].target, tuple(dict.fromkeys(specs)))


def _one(found: Sequence[Feature]) -> Feature:
    """What readers are told of a column that several members read."""
    first = found[0]
    if all(one == first for one in found):
        return first
    numbers = [one for one in found if isinstance(one, Numeric)]
    lists = [one for one in found if isinstance(one, Category)]
    if len(numbers) == len(found):
        paid = any(one.provenance is Provenance.PAID for one in numbers)
        kind = type(numbers[0]) if len({type(one) for one in numbers}) == 1 else Numeric
        return kind(
            first.name,
            min(one.low for one in numbers),
            max(one.high for one in numbers),
            numbers[0].scale,
            Provenance.PAID if paid else numbers[0].provenance,
        )
    if len(lists) == len(found):
        values = dict.fromkeys(value for one in lists for value in one.values)
        return replace(lists[0], values=tuple(values))
    if len({type(one) for one in found}) == 1:
        return first  # buckets of another number: readers see a text either way
    raise FeatureError(
        "a column is of one kind for one member and of another for the next",
        code="run.member_columns",
        pointer=f"/columns/{first.name}",
    )


class Mean(nn.Module):
    """(B, D) encodings side by side to (B, 1) logits of the mean of the members' probabilities."""

    def __init__(
        self, networks: Sequence[nn.Module], specs: Sequence[FeatureSpec], spec: JointSpec
    ) -> None:
        """The members' networks, the specification of each, and that of all together."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.widths = [part.width for part in spec.parts]
        self.reads = [spec.parts.index(one) for one in specs]

    def forward(self, rows: torch.Tensor) -> Any:
        """(B, D) to (B, 1), in double: its sigmoid is the mean, and no probability is too small.

        log p/(1 - p) of p = (p_1 + … + p_K)/K is the difference of two sums of exponentials, in
        which K cancels; so a mean that rounds to 1 has a finite logit still.
        """
        blocks = torch.split(rows, self.widths, dim=1)
        logits = torch.cat(
            [
                network(blocks[place]).reshape(-1, 1).double()
                for network, place in zip(self.networks, self.reads, strict=True)
            ],
            dim=1,
        )
        positive = torch.logsumexp(functional.logsigmoid(logits), dim=1, keepdim=True)
        negative = torch.logsumexp(functional.logsigmoid(-logits), dim=1, keepdim=True)
        return positive - negative
