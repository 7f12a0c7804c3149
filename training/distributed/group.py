"""Ranks that train together: who takes which record, and how their sums become one.

Every rank draws every coin of a step, from the run's secret and the step's number, over all n
records (`training.dpsgd`), and takes those of the drawn records that it holds: rank r of R has the
records r, r + R, r + 2R, … So the union of the ranks' batches is the batch that one process would
have drawn:

    inclusion    each record has a coin of its own, as secret as before, and no rank chooses;
                 coins of different ranks are of different records, and therefore independent.
                 A stream for each rank would be no better: who can predict AES-CTR under one
                 256-bit key can predict it under two. And coins that do not depend on R are what
                 lets a checkpoint of two ranks go on in one.
    empty        a rank that holds none of the drawn records adds zeros: it takes every step
    noise        drawn by every rank from the same stream and added after the sum, so once in all;
                 equal vectors plus equal noise are equal weights, bit by bit, without a broadcast

The sum over the ranks is in float64. What differs from one process is the rounding of the float32
products within a rank's own pass, whose order of summation nobody promises.

The secret reaches the ranks over the supervisor's channel and stays in their memory.
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from training.errors import EngineError

# How long a rank waits for the others in one sum, whatever they are doing.
PATIENCE: Final = timedelta(minutes=30)
_Indexes = npt.NDArray[np.intp]


class Group(Protocol):
    """The ranks of one training, as one of them sees them.

    Attributes:
        rank: which of them this is, from 0.
        size: how many they are.
    """

    @property
    def rank(self) -> int:
        """Which rank this is."""
        ...

    @property
    def size(self) -> int:
        """How many ranks there are."""
        ...

    def sum(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum of all ranks' vectors, the same bits in each of them."""
        ...


class Alone:
    """One process: nothing to share and nobody to wait for."""

    rank: Final = 0
    size: Final = 1

    def sum(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """See `Group`."""
        return vector


ALONE: Final = Alone()


class Connected:
    """The ranks that `torch.distributed` has connected: gloo on CPUs, nccl on GPUs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def sum(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """See `Group`."""
        total = torch.from_numpy(vector).to(self._device)
        dist.all_reduce(total)
        summed: npt.NDArray[np.float64] = total.cpu().numpy()
        return summed

    def told(self, flag: bool) -> bool:  # noqa: FBT001 - it is the message
        """What rank 0 says, in every rank; the others' own flags are not heard."""
        said = torch.tensor([int(flag)], device=self._device)
        dist.broadcast(said, src=0)
        return bool(said.item())

    def check_same(self, state: Mapping[str, torch.Tensor]) -> None:
        """Compare the ranks' weights, by a digest.

        Raises:
            EngineError: `engine.ranks_differ`; in every rank.
        """
        digest = hashlib.sha256()
        for name, value in state.items():
            digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        words = torch.frombuffer(bytearray(digest.digest()), dtype=torch.int64).to(self._device)
        low, high = words.clone(), words.clone()
        dist.all_reduce(low, op=dist.ReduceOp.MIN)
        dist.all_reduce(high, op=dist.ReduceOp.MAX)
        if not torch.equal(low, high):
            raise EngineError("the ranks ended with different weights", code="engine.ranks_differ")


def held(records: int, rank: int, size: int) -> range:
    """Which of all records a rank holds."""
    return range(rank, records, size)


def own(drawn: _Indexes, group: Group) -> tuple[_Indexes, npt.NDArray[np.bool_] | None]:
    """Of the records drawn among all, those of this rank, as places among what it holds.

    And which of the drawn they are; None where they are all.
    """
    if group.size == 1:
        return drawn, None
    mine: npt.NDArray[np.bool_] = drawn % group.size == group.rank
    places: _Indexes = drawn[mine] // group.size
    return places, mine


def records_of(group: Group, local: int) -> int:
    """How many records all ranks hold together.

    Raises:
        EngineError: `engine.shape`, this rank does not hold its share of them.
    """
    if group.size == 1:
        return local
    records = int(group.sum(np.array([float(local)]))[0])
    if len(held(records, group.rank, group.size)) != local:
        raise EngineError("a rank holds more or less than its share", code="engine.shape")
    return records
