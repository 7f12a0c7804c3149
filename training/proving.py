"""Whether a GPU trains what the CPU trains: for whoever has one.

One plan, one secret, the same rows: coins and noise are the same numbers on both, drawn by the CPU.
What may differ is the rounding of float32 products, so weights are compared within a tolerance, and
sensitivity as it is.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from training.clipping import clipping_pass
from training.config import ModelKind, Plan, TrainingConfig
from training.dpsgd import binary_loss, train
from training.mechanisms import WHOLE
from training.networks import build, convolutional
from training.randomness import Secret, fresh_secret

ROWS: Final = 4_096
WIDTH: Final = 64
STEPS: Final = 40
IMAGE: Final = (1, 16, 16)
TOLERANCE: Final = 1e-3  # of the largest weight
CLIP: Final = 1.0


@dataclass(frozen=True)
class Proof:
    """One network on both devices.

    Attributes:
        name: which network.
        difference: the largest difference of a weight, over the largest weight.
        moved: by how much one record moves the clipped sum on the device, over C.
        seconds, seconds_cpu: of the training on the device and on the CPU.
    """

    name: str
    difference: float
    moved: float
    seconds: float
    seconds_cpu: float

    @property
    def holds(self) -> bool:
        """Whether the weights are the same and the sensitivity is C."""
        return self.difference <= TOLERANCE and self.moved <= 1

    def as_dict(self) -> dict[str, Any]:
        """With plain numbers."""
        return {
            "network": self.name,
            "difference": self.difference,
            "sensitivity": self.moved,
            "seconds": round(self.seconds, 3),
            "seconds_cpu": round(self.seconds_cpu, 3),
            "holds": self.holds,
        }


def prove(device: torch.device) -> list[Proof]:
    """Train an MLP and a CNN on a device and on the CPU, from one secret."""
    secret = fresh_secret()
    mlp = TrainingConfig(epsilon=1, delta=1e-6, features="", hidden=(32,), learning_rate=0.1)
    cnn = TrainingConfig(
        epsilon=1, delta=1e-6, features="", model=ModelKind.CNN, hidden=(), image=IMAGE,
        learning_rate=0.1,
    )  # fmt: skip
    return [
        _proof("mlp", lambda: build(mlp, WIDTH), mlp, WIDTH, device, secret),
        _proof("cnn", lambda: convolutional(cnn), cnn, int(np.prod(IMAGE)), device, secret),
    ]


def _proof(
    name: str, make: Any, config: TrainingConfig, width: int, device: torch.device, secret: Secret
) -> Proof:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(ROWS, width, generator=generator)
    labels = (features[:, 0] > 0).float()
    plan = Plan(
        rows=ROWS, sampling=WHOLE // 8, steps=STEPS, noise_multiplier=1.0, max_grad_norm=CLIP
    )

    def trained(where: torch.device) -> tuple[torch.Tensor, float]:
        network = make().to(where)
        start = time.perf_counter()
        done = train(
            network, features, labels, plan=plan, config=config, secret=secret,
            on_block=lambda _: None,
        )  # fmt: skip
        taken = time.perf_counter() - start
        return torch.cat([value.cpu().flatten() for value in done.state.values()]), taken

    here, seconds_cpu = trained(torch.device("cpu"))
    there, seconds = trained(device)
    moved = _moved(make().to(device), features.to(device), labels.to(device))
    difference = float((here - there).abs().max() / here.abs().max())
    return Proof(name, difference, moved, seconds, seconds_cpu)


def _moved(network: torch.nn.Module, features: torch.Tensor, labels: torch.Tensor) -> float:
    """How far the most outlying record moves the sum, over C."""
    large = torch.cat([features[:64], features[:1] * 1e4])
    targets = torch.cat([labels[:64], labels[:1]])
    engine = clipping_pass(network, binary_loss, CLIP)
    try:
        sums = [engine.sum(large[:count], targets[:count]) for count in (65, 64)]
    finally:
        engine.close()
    with_it, without = (np.append(one.watched, one.gradient) for one in sums)
    return float(np.linalg.norm(with_it - without)) / CLIP
