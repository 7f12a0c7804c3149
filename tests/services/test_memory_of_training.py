"""The peak memory that an estimate tells, against that of a process that does the work."""

import json
import subprocess
import sys
from typing import Final

import pytest

from gateway.settings.env import BASE_DIR
from training.config import TrainingConfig
from training.estimates import memory, parameters

FACTOR: Final = 2.0
CONFIG: Final = TrainingConfig(epsilon=1, delta=1e-5, features="f", steps=5)
# Text cells as a sealed version gives them, encoded and trained on: what `training.pipeline` does.
WORK: Final = """
import json, sys
from pathlib import Path
import numpy as np, polars as pl, torch
from training.config import Plan, TrainingConfig
from training.dpsgd import train
from training.features import Category, FeatureSpec, Numeric, Target
from training.mechanisms import WHOLE
from training.networks import build
from training.randomness import fresh_secret

rows, hidden = int(sys.argv[1]), tuple(json.loads(sys.argv[2]))
numbers = [Numeric(f"n{i}", 0, 99) for i in range(4)]
words = [Category(f"c{i}", tuple(f"value {j}" for j in range(12))) for i in range(4)]
spec = FeatureSpec((*numbers, *words), Target("y", "1", "0"))

def work(rows, hidden):
    config = TrainingConfig(epsilon=1, delta=1e-5, features="f", steps=5, hidden=hidden)
    drawn = np.random.default_rng(0).integers(0, 12, (8, rows))
    cells = {f"n{i}": drawn[i].astype(str) for i in range(4)}
    cells |= {f"c{i}": np.char.add("value ", drawn[4 + i].astype(str)) for i in range(4)}
    table = pl.DataFrame({**cells, "y": (drawn[0] % 2).astype(str)})
    del drawn, cells
    chosen = np.arange(rows) % 5 > 0
    part, held = table.filter(pl.Series(chosen)), table.filter(pl.Series(~chosen))
    labels = torch.from_numpy(spec.encode_target(part))
    usable = torch.isfinite(labels)
    features = torch.from_numpy(spec.encode(part))[usable]
    plan = Plan(
        rows=len(part), sampling=int(WHOLE * min(1, 2048 / len(part))), steps=5,
        noise_multiplier=1.0, max_grad_norm=1.0,
    )
    train(build(config, spec.width), features, labels[usable], plan=plan, config=config,
          secret=fresh_secret(), on_block=lambda steps: None)

def peak():
    # Not of getrusage: a process begins with the peak of the one that started it.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

work(10, (4,))
idle = peak()
work(rows, hidden)
print(json.dumps({"bytes": (peak() - idle) * 1024, "width": spec.width}))
"""


@pytest.mark.parametrize(("rows", "hidden"), [(300_000, (64,)), (20_000, (4_000, 1_000))])
def test_an_estimate_is_within_a_factor(rows: int, hidden: tuple[int, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(rows), json.dumps(hidden)],
        cwd=BASE_DIR, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    config = TrainingConfig.from_dict({**CONFIG.as_dict(), "hidden": hidden})
    width = measured["width"]
    weights = parameters(config, width)
    told = memory(rows=rows, columns=9, width=width, config=config, weights=weights)
    assert measured["bytes"] / FACTOR < told < measured["bytes"] * FACTOR, (told, measured)
