"""DP-SGD beside the plain loop and beside Opacus, and what it reaches on Adult.

    ours     the engine as a run calls it: Poisson coins, closed-form clipping, secure noise,
             averaging; what the ledger writes a block is not in it
    plain    the non-private loop with a DataLoader
    hooks    Opacus, per-sample gradients; ghost: Opacus, ghost clipping. Poisson sampling, as ours

The same rows, network, batch and number of threads; epochs in turn (A B C D, A B C D), warm-up,
medians of pairwise ratios. Memory: how far a process of its own rises above what stood before the
first step, at a logical batch of 8,192. AUROC: trained on adult.data by the defaults for its rows,
scored on adult.test, everything counted; the median of some seeds of the noise. First step: from
the request's row to the first ledger line of its worker, which is warm, over the embedded broker.

    --quick      fewer pairs and seeds, and no JSON line: for development
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from tests.benchmarks.training.sides import ROWS, SIDES, Task, images, side, table
from tests.factories import adult
from training.accounting import epsilon, gaussian_share, make_plan, rdp_of
from training.boosting import boost
from training.bounds import SHARE
from training.config import ROUNDS, ModelKind, TrainingConfig
from training.declarations import read_declarations
from training.dpsgd import train
from training.features import Numeric
from training.mechanisms import Mechanism, Purpose
from training.networks import build
from training.randomness import fresh_secret

BATCH: Final = 512
IMAGES: Final = 256
LARGE_BATCH: Final = 8_192
THREADS: Final = 2
PAIRS: Final = 9
SEEDS: Final = 5
DELTA: Final = 1e-5
EPSILONS: Final = {"auroc_eps05": 0.5, "auroc_eps1": 1.0, "auroc_eps3": 3.0}
ROOT: Final = Path(__file__).parents[2]

Keys = dict[str, float | None]
Times = dict[str, list[float]]


def timed(task: Task, pairs: int) -> Times:
    """Seconds of an epoch of each of the four sides, in turn."""
    torch.set_num_threads(THREADS)
    epochs = {name: side(name, task) for name in SIDES}
    for epoch in epochs.values():
        epoch()
    taken: Times = {name: [] for name in SIDES}
    for _ in range(pairs):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            epoch()
            taken[name].append(time.perf_counter() - start)
    for name, seconds in taken.items():
        print(f"  {name:6} {statistics.median(seconds):7.3f} s an epoch")
    return taken


def _ratio(taken: Times, over: str, under: str) -> float:
    """Of the same round, the median over rounds."""
    return statistics.median(a / b for a, b in zip(taken[over], taken[under], strict=True))


def speed(pairs: int) -> Keys:
    """The MLP of the issue, and a small convolution."""
    print(f"\nMLP 108-128-64-2, {ROWS:,} rows, expected batch {BATCH}")
    mlp = timed(table(BATCH), pairs)
    print(f"\nCNN of Opacus' MNIST example, 5,000 digits, expected batch {IMAGES}")
    cnn = timed(images(IMAGES), pairs)
    return {
        "time_vs_plain": _ratio(mlp, "ours", "plain"),
        "speedup_vs_hooks": _ratio(mlp, "hooks", "ours"),
        "speedup_vs_ghost": _ratio(mlp, "ghost", "ours"),
        "cnn_speedup": min(_ratio(cnn, "hooks", "ours"), _ratio(cnn, "ghost", "ours")),
    }


def memory() -> Keys:
    """What a step of a large batch needs above rows and model, in processes of their own."""
    rose = {}
    for name in SIDES:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.training.sides", name, str(LARGE_BATCH)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        rose[name] = float(json.loads(done.stdout.splitlines()[-1])["rose_mb"])
        print(f"  {name:6} {rose[name]:7.0f} MB more, batch {LARGE_BATCH:,}")
    return {"memory_vs_hooks": rose["ours"] / rose["hooks"]}


def first_step(times: int) -> Keys:
    """A run's way through the embedded broker to a worker, and to its first block of steps."""
    with tempfile.TemporaryDirectory(prefix="portcullis-bench-") as home:
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.training.first_step", str(times)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "gateway.settings.test",
                "PORTCULLIS_TEST_HOME": home,
                "PYTHONPATH": str(ROOT),
            },
        )  # fmt: skip
    taken = json.loads(done.stdout.splitlines()[-1])["seconds"]
    print(f"  {statistics.median(taken):.2f} s (at most {max(taken):.2f} of {times})")
    return {"first_step_s": statistics.median(taken)}


def accuracy(seeds: int) -> Keys:
    """AUROC on adult.test by the defaults, at three ε."""
    declared = read_declarations(adult.declaration(), adult.NAMES)
    spec = declared.complete({})
    training, test = adult.table("adult.data"), adult.table("adult.test")
    features = torch.from_numpy(spec.encode(training))
    labels = torch.from_numpy(spec.encode_target(training))
    asked = torch.from_numpy(spec.encode(test))
    truth = spec.encode_target(test)
    keys: Keys = {}
    for key, wanted in EPSILONS.items():
        config = TrainingConfig.for_rows(
            len(features), epsilon=wanted, delta=DELTA, features=spec.digest()
        )
        plan = make_plan(config, len(features))
        scores = []
        for _ in range(seeds):
            model = build(config, spec.width)
            start = time.perf_counter()
            train(
                model, features, labels, plan=plan, config=config, secret=fresh_secret(),
                on_block=lambda _: None,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            with torch.inference_mode():
                scores.append(float(roc_auc_score(truth, model(asked).squeeze(-1).numpy())))
        spent = epsilon(rdp_of(plan.mechanisms()), DELTA)
        keys[key] = statistics.median(scores)
        print(
            f"  ε {spent:.3f}: AUROC {keys[key]:.4f} ({min(scores):.4f} to {max(scores):.4f} of"
            f" {seeds}), σ {plan.noise_multiplier:.2f}, {plan.steps} steps, {seconds:.1f} s"
        )
    return keys


def glass_box(seeds: int) -> Keys:
    """Boosted tables, ours and interpret's DP-EBM with the same declared bounds, on adult.test."""
    from interpret.glassbox._ebm._ebm import DPExplainableBoostingClassifier

    declared = read_declarations(adult.declaration(), adult.NAMES).binned()
    spec = declared.complete({})
    training, test = adult.table("adult.data"), adult.table("adult.test")
    features = torch.from_numpy(spec.encode(training))
    labels = torch.from_numpy(spec.encode_target(training))
    asked = torch.from_numpy(spec.encode(test))
    truth = spec.encode_target(test)
    numeric = {one.name for one in spec.features if isinstance(one, Numeric)}
    columns = [
        np.array([float(cell) for cell in table[name]]) if name in numeric else table[name]
        for table in (training, test)
        for name in spec.names
    ]
    count = len(spec.names)
    rows, others = (
        pd.DataFrame(dict(zip(spec.names, part, strict=True)))
        for part in (columns[:count], columns[count:])
    )
    keys: Keys = {}
    for wanted in EPSILONS.values():
        bought = Mechanism(gaussian_share(wanted, DELTA, SHARE), purpose=Purpose.HISTOGRAM)
        config = TrainingConfig.for_rows(
            len(features), epsilon=wanted, delta=DELTA, features=spec.digest(),
            model=ModelKind.EBM, steps=ROUNDS * count,
        )  # fmt: skip
        plan = make_plan(config, len(features), before=(bought,))
        ours, theirs = [], []
        for seed in range(seeds):
            model = build(config, spec.width)
            boost(
                model, features, labels, blocks=spec.features, plan=plan, config=config,
                secret=fresh_secret(), histogram_noise=bought.noise_multiplier,
                on_block=lambda _: None,
            )  # fmt: skip
            with torch.inference_mode():
                ours.append(float(roc_auc_score(truth, model(asked).squeeze(-1).numpy())))
            peer = DPExplainableBoostingClassifier(
                epsilon=wanted, delta=DELTA, random_state=seed,
                feature_types=[
                    "continuous" if name in numeric else "nominal" for name in spec.names
                ],
                privacy_bounds={name: adult.BOUNDS[name] for name in numeric},
            )  # fmt: skip
            peer.fit(rows, labels.numpy().astype(int))
            theirs.append(float(roc_auc_score(truth, peer.predict_proba(others)[:, 1])))
        keys[f"auroc_ebm_eps{wanted:g}"] = statistics.median(ours)
        keys[f"auroc_interpret_eps{wanted:g}"] = statistics.median(theirs)
        print(
            f"  ε {wanted:g}: boosted tables {statistics.median(ours):.4f},"
            f" interpret's {statistics.median(theirs):.4f}, medians of {seeds}"
        )
    return keys


def main() -> None:
    """Print the tables, and the JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")  # Opacus warns of its own defaults
    print(f"torch {torch.__version__}, {THREADS} threads, NumPy {np.__version__}")
    keys: Keys = speed(3 if quick else PAIRS)
    print("\nmemory")
    keys |= memory()
    print("\nfrom the request to the first block, 32,561 rows")
    keys |= first_step(2 if quick else SEEDS)
    print("\nAdult")
    keys |= accuracy(2 if quick else SEEDS)
    print("\nAdult, a table of scores for each feature")
    keys |= glass_box(1 if quick else SEEDS)
    if not quick:
        print(json.dumps({name: value and round(value, 4) for name, value in keys.items()}))


if __name__ == "__main__":
    main()
