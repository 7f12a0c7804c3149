"""The whole core on the UCI Adult table: declared features, ε = 1, a held-out release, a card."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from audit.canonical import canonical
from audit.explanations import Background, explain_row, verify_record
from tests.factories.adult import BOUNDS, FOLDER, NAMES, declaration, table
from training import cards
from training.accounting import (
    epsilon,
    evaluation_mechanism,
    gaussian_share,
    make_plan,
    rdp_of,
)
from training.artifacts import to_bytes
from training.backgrounds import ORIGIN, synthetic_background
from training.bounds import SHARE, buy_bounds
from training.config import TrainingConfig
from training.declarations import read_declarations
from training.dpsgd import train
from training.evaluation import count, held_out, measure
from training.networks import build
from training.randomness import fresh_secret
from training.serving import LoadedModel

DELTA = 1e-5
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the Adult table is not installed: see requirements/data.in"
)


def part(columns: dict[str, list[str]], chosen: np.ndarray) -> dict[str, list[str]]:
    places = np.flatnonzero(chosen)
    return {name: [cells[place] for place in places] for name, cells in columns.items()}


def test_epsilon_one_end_to_end() -> None:
    everything, test_set = table("adult.data"), table("adult.test")
    declared = read_declarations(declaration(), NAMES)
    spec = declared.complete({})
    total = len(everything["age"])
    held = held_out([str(place) for place in range(total)], 0.2, b"k" * 32)
    rows = int((~held).sum())
    config = TrainingConfig.for_rows(rows, epsilon=1, delta=DELTA, features=spec.digest())
    plan = make_plan(config, rows)
    training = part(everything, ~held)
    secret = fresh_secret()
    source = secret.stream("others")
    charged: list[int] = []
    trained = train(
        build(config, spec.width),
        torch.from_numpy(spec.encode(training)),
        torch.from_numpy(spec.encode_target(training)),
        plan=plan,
        config=config,
        secret=secret,
        on_block=charged.append,
    )
    assert sum(charged) == trained.executed == plan.steps
    spent = rdp_of(plan.mechanisms(trained.executed))
    assert 0.99 < epsilon(spent, DELTA) <= 1.0

    model = LoadedModel(
        to_bytes(trained.state, config=config, plan=plan, spec=spec, executed=trained.executed)
    )
    scores = model.predict_columns(np.array([test_set[n] for n in spec.names], dtype=object).T)
    truth = spec.encode_target(test_set)
    assert roc_auc_score(truth, scores) > 0.902  # measured: 0.908 ± 0.001
    assert ((scores >= 0.5) == truth).mean() > 0.845

    kept = part(everything, held)
    probabilities = model.predict_columns(np.array([kept[n] for n in spec.names], dtype=object).T)
    counts = count(
        probabilities,
        spec.encode_target(kept),
        {name: kept[name] for name in declared.groups},
        declared.groups,
        evaluation_mechanism(spent),
        source,
    )
    metrics = measure(counts)
    exact = roc_auc_score(spec.encode_target(kept), probabilities)
    assert metrics.auroc is not None
    assert abs(metrics.auroc.value - exact) < 0.03  # six standard deviations of noise and binning
    assert metrics.auroc.high - metrics.auroc.low < 0.03
    assert metrics.four_fifths["sex"] is False

    card = cards.model_card(
        model.artifact,
        name="income",
        purpose="credit-risk-scoring",
        dataset={"slug": "adult"},
        randomness=source.name,
        source=declared.source,
        curve=trained.curve,
        counts=counts,
        metrics=metrics,
    )
    canonical(card)  # holds no float
    privacy = card["privacy"]
    assert privacy["epsilon_asked"] == "1.0"
    assert 0.99 < float(privacy["epsilon_spent"]) <= 1.0
    assert float(privacy["PLD, this run alone"]) < float(privacy["epsilon_spent"])
    assert privacy["randomness"] == "aes-256-ctr keyed by os.urandom"
    assert float(card["training"]["curve"][-1]["loss"]) < float(
        card["training"]["curve"][0]["loss"]
    )

    background = Background.from_rows(synthetic_background(spec, 24, 0), spec.names, ORIGIN)
    record = explain_row(
        model.predict_columns,
        [kept[name][0] for name in spec.names],
        background,
        record_id="1",
        model_digest=model.digest,
        input_commitment="c",
    )
    assert verify_record(record).failed == ()


def test_undeclared_bounds_and_lists_are_paid_or_hashed() -> None:
    everything = table("adult.data")
    columns = {name: {"kind": "numeric"} for name in BOUNDS}
    declared = read_declarations(
        {"columns": columns, "target": {"column": "income"}}, NAMES, positive=">50K"
    )
    assert set(declared.unbounded) == set(BOUNDS)
    rows = len(everything["age"])
    secret = fresh_secret()
    source = secret.stream("others")
    bought = buy_bounds(everything, declared.unbounded, gaussian_share(1, DELTA, SHARE), source)
    spec = declared.complete(bought.bounds)
    config = TrainingConfig.for_rows(
        rows, epsilon=1, delta=DELTA, features=spec.digest(), model="linear"
    )
    plan = make_plan(config, rows, [bought.mechanism])
    assert epsilon(rdp_of(plan), DELTA) <= 1.0
    trained = train(
        build(config, spec.width),
        torch.from_numpy(spec.encode(everything)),
        torch.from_numpy(spec.encode_target(everything)),
        plan=plan,
        config=config,
        secret=secret,
        on_block=lambda _: None,
    )
    model = LoadedModel(
        to_bytes(trained.state, config=config, plan=plan, spec=spec, executed=trained.executed)
    )
    test_set = table("adult.test")
    scores = model.predict_columns(np.array([test_set[n] for n in spec.names], dtype=object).T)
    assert roc_auc_score(spec.encode_target(test_set), scores) > 0.895  # measured: 0.906
    card = cards.privacy(model.artifact, randomness=source.name)
    purposes = [item["purpose"] for item in card["mechanisms"]["training_records"]]
    assert purposes == ["bounds", "training"]
