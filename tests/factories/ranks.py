"""Jobs for several ranks, who calls for them, and processes in torchrun's place."""

import threading
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.factories.engine import CLIP, records
from training.config import Guarantee, Plan, TrainingConfig
from training.distributed.jobs import Job
from training.distributed.supervisor import Calls
from training.dpsgd import Snapshot, Trained, train
from training.features import FeatureSpec, Pixel, Target
from training.inputs import network_of
from training.mechanisms import WHOLE
from training.randomness import Secret
from training.units import Unit, Units

ROWS: Final = 199  # odd: one rank holds one record more
WIDTH: Final = 6
STEPS: Final = 50
SPEC: Final = FeatureSpec(tuple(Pixel(f"p{i}", 0, 1) for i in range(WIDTH)), Target("y", "1"))
SCENARIOS: Final[dict[str, dict[str, float]]] = {
    "noise": {"rate": 0.1, "noise": 1.0},
    "no noise": {"rate": 0.1, "noise": 0.0},
    "people": {"rate": 0.1, "noise": 1.0, "each": 3},
    "empty": {"rate": 1 / ROWS, "noise": 1.0},  # half a record a step for each of two ranks
}


def job_of(*, rate: float = 0.1, noise: float = 1.0, each: float = 1, **chosen: Any) -> Job:
    """A job with all records, `each` of them a person's; `rate` is q."""
    features, labels = records(ROWS, WIDTH)
    plan = Plan(
        rows=ROWS,
        sampling=int(rate * WHOLE),
        steps=STEPS,
        noise_multiplier=noise,
        max_grad_norm=CLIP,
        guarantee=Guarantee.DP if noise else Guarantee.PUBLIC_DATA,
        unit=Unit.RECORD if each == 1 else Unit.SUBJECT,
    )
    config = TrainingConfig(
        epsilon=1, delta=1e-5, features="f", hidden=(4,), learning_rate=0.05, average_last=0.5
    )
    units = None if each == 1 else Units.of(np.arange(ROWS) * 7 % ROWS // int(each))
    fields: dict[str, Any] = {"units": units, "after": None, "paid": 0, **chosen}
    return Job(plan, config, Secret(b"s" * 32), SPEC, features, labels, **fields)


@dataclass
class Caller:
    """Who pays, keeps, shows and cancels, and remembers in which order it was called."""

    order: list[tuple[str, int]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    cancel_after: int | None = None
    asked: int = 0

    @property
    def calls(self) -> Calls:
        """As the supervisor takes them."""
        return Calls(
            lambda steps: self.order.append(("paid", steps)),
            self._keep,
            lambda progress: self.order.append(("shown", progress.step)),
            self._cancelled,
        )

    def _keep(self, take: Any) -> None:
        self.snapshots.append(take())
        self.order.append(("kept", self.snapshots[-1].step))

    def _cancelled(self) -> bool:
        self.asked += 1
        return self.cancel_after is not None and self.asked > self.cancel_after


class Threads:
    """Ranks that are threads of this process: what they exchange, without a network."""

    def __init__(self, rank: int, size: int, shared: "Shared") -> None:
        self.rank, self.size, self._shared = rank, size, shared

    def sum(self, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """See `training.distributed.group.Group`."""
        return self._shared.sum(self.rank, vector)


class Shared:
    """Where threads meet."""

    def __init__(self, size: int) -> None:
        self._vectors: list[npt.NDArray[np.float64]] = [np.zeros(0)] * size
        self._barrier = threading.Barrier(size, timeout=60)

    def sum(self, rank: int, vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sum over all threads, once all have come."""
        self._vectors[rank] = vector
        self._barrier.wait()
        total: npt.NDArray[np.float64] = np.sum(self._vectors, axis=0)
        self._barrier.wait()  # nobody brings the next one before all have read this
        return total


def alone(job: Job, caller: Caller) -> Trained:
    """The same job in this process."""
    calls = caller.calls
    return train(
        network_of(job.config, job.spec),
        job.features,
        job.labels,
        plan=job.plan,
        config=job.config,
        secret=job.secret,
        on_block=calls.on_block,
        on_kept=calls.on_kept,
        on_progress=calls.on_progress,
        cancelled=calls.cancelled,
        after=job.after,
        paid=job.paid,
        units=job.units,
    )
