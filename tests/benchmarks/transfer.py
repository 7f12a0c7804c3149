"""Small-sample transfer: the packaged sentence encoder, a DP head on it, adapters in it.

The task: 400 short reviews made of templates, good or bad; 300 held-out ones judge by words that no
training text holds, so that nothing but what the encoder knows can help. AUROC: the median of some
seeds of the noise, scored exactly, for the texts are nobody's.

    sentences    word pieces and vectors, all distinct, of short reviews and of 128 words
    predict      one row through a loaded model on one thread, as serving asks
    head         a linear model on frozen vectors, by the defaults for its rows
    adapters     rank 4 in the last layer, 20 steps of 64 texts, after the frozen layers

    --quick      fewer sentences, seeds and steps, and no JSON line: for development
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from tests.factories.sentences import reviews
from training.accounting import epsilon, make_plan, rdp_of
from training.artifacts import to_bytes
from training.config import Guarantee, ModelKind, Optimizer, TrainingConfig
from training.dpsgd import train
from training.encoder import SentenceEncoder, encoder
from training.features import Encoded, FeatureSpec, Target
from training.inputs import ahead_of, inputs_of, network_of
from training.packaged import ENCODERS
from training.randomness import fresh_secret
from training.serving import LoadedModel

THREADS: Final = 2
ROWS: Final = 400
HELD_OUT: Final = 300
SEEDS: Final = 5
DELTA: Final = 1e-5
SPEC: Final = FeatureSpec((Encoded("review"),), Target("label", "good", "bad"))
ADAPTED: Final[dict[str, Any]] = {
    "model": ModelKind.LORA,
    "lora_layers": 1,
    "steps": 20,
    "expected_batch": 64,
    "optimizer": Optimizer.ADAMW,
    "learning_rate": 0.01,
}

Keys = dict[str, float]


def _seconds(ask: Callable[[], object], times: int) -> float:
    """The median of some calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def sentences(count: int) -> Keys:
    """Sentences a second, after one to warm up."""
    loading = _seconds(lambda: SentenceEncoder(ENCODERS["minilm-l6"]), 1)
    loaded = encoder("minilm-l6")
    short = [f"{text} {n}" for n, text in enumerate(reviews(count)["review"])]
    long = [" ".join([*(["a word or two"] * 32), str(n)]) for n in range(count // 10)]
    loaded.vectors(short[:1])
    rates = [len(texts) / _seconds(partial(loaded.vectors, texts), 3) for texts in (short, long)]
    print(f"  loaded in {loading:.2f} s; {rates[0]:.0f} short, {rates[1]:.1f} long ones a second")
    return {"load_s": loading, "short_per_s": rates[0], "long_per_s": rates[1]}


def config_of(wanted: float, guarantee: Guarantee = Guarantee.DP, **chosen: Any) -> TrainingConfig:
    """The defaults for the task's rows, but what is chosen."""
    return TrainingConfig.for_rows(
        ROWS, epsilon=wanted, delta=DELTA, features=SPEC.digest(), guarantee=guarantee,
        **{"model": ModelKind.LINEAR, **chosen},
    )  # fmt: skip


def accuracy(config: TrainingConfig, seeds: int) -> Keys:
    """AUROC before and after training, seconds a step, and a trained model's prediction."""
    training, held_out = reviews(ROWS, seed=1), reviews(HELD_OUT, seed=2, held_out=True)
    read, asked = (inputs_of(config, SPEC, table) for table in (training, held_out))
    labels = torch.from_numpy(SPEC.encode_target(training))
    truth = SPEC.encode_target(held_out)
    plan = make_plan(config, ROWS)
    before, after, steps = [], [], []
    for _ in range(seeds):
        network = network_of(config, SPEC)
        with torch.inference_mode():
            before.append(float(roc_auc_score(truth, network(asked).squeeze(-1).numpy())))
        start = time.perf_counter()
        given = ahead_of(network, read)
        ahead = time.perf_counter() - start
        start = time.perf_counter()
        trained = train(
            network, given, labels, plan=plan, config=config, secret=fresh_secret(),
            on_block=lambda _: None,
        )  # fmt: skip
        steps.append((time.perf_counter() - start) / plan.steps)
        with torch.inference_mode():
            after.append(float(roc_auc_score(truth, network(asked).squeeze(-1).numpy())))
    stored = to_bytes(trained.state, config=config, plan=plan, spec=SPEC, executed=trained.executed)
    torch.set_num_threads(THREADS)
    spent = (
        f"ε {epsilon(rdp_of(plan.mechanisms()), DELTA):.2f}"
        if plan.guarantee is Guarantee.DP
        else "no noise"
    )
    print(
        f"  {config.model.value:6} {spent:8}: AUROC {statistics.median(after):.3f}"
        f" ({min(after):.3f} to {max(after):.3f} of {seeds}), untrained {before[0]:.3f};"
        f" {1000 * statistics.median(steps):.1f} ms a step after {ahead:.1f} s,"
        f" {len(stored):,} bytes"
    )
    return {
        "after": statistics.median(after),
        "before": before[0],
        "step_ms": 1000 * statistics.median(steps),
        "ahead_s": ahead,
    }


def predict(times: int) -> Keys:
    """Milliseconds of one row."""
    config = config_of(1.0)
    state = network_of(config, SPEC).state_dict()
    stored = to_bytes(state, config=config, plan=make_plan(config, ROWS), spec=SPEC, executed=0)
    model = LoadedModel(stored)
    rows = iter(reviews(times + 1, seed=3)["review"])
    taken = _seconds(lambda: model.predict_proba([{"review": next(rows)}]), times)
    torch.set_num_threads(THREADS)
    print(f"  {1000 * taken:.1f} ms")
    return {"predict_ms": 1000 * taken}


def main() -> None:
    """Print the tables, and the JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")  # Opacus warns of its own defaults
    torch.set_num_threads(THREADS)
    seeds = 2 if quick else SEEDS
    print(f"torch {torch.__version__}, {THREADS} threads, NumPy {np.__version__}")
    print("\nsentences")
    keys = sentences(200 if quick else 1_000)
    print("\none prediction, one thread")
    keys |= predict(20 if quick else 100)
    print(f"\nhead, {ROWS} training texts")
    public = accuracy(config_of(1.0, Guarantee.WAIVED), 1)
    keys |= {"head_untrained": public["before"], "head_without_noise": public["after"]}
    for wanted in (1.0, 3.0):
        keys[f"head_eps{wanted:.0f}"] = accuracy(config_of(wanted), seeds)["after"]
    print("\nadapters")
    chosen = {**ADAPTED, "steps": 4} if quick else ADAPTED
    for wanted in (1.0, 3.0):
        made = accuracy(config_of(wanted, **chosen), 1 if quick else 3)
        keys[f"lora_eps{wanted:.0f}"] = made["after"]
        keys |= {"lora_untrained": made["before"], "lora_step_ms": made["step_ms"]}
        keys["lora_ahead_s"] = made["ahead_s"]
    if not quick:
        print(json.dumps({name: round(value, 4) for name, value in keys.items()}))


if __name__ == "__main__":
    main()
