"""Canaries go through the real loop, and their scores are what the docstring says."""

import math
from typing import Any

import numpy as np
import pytest

from training.auditing.canaries import Path, Scored, contributions, score
from training.clipping import ClosedForm, Hooked
from training.config import GRADIENT_SHARE, Plan
from training.errors import ConfigError
from training.mechanisms import WHOLE
from training.randomness import Secret, seeded_secret

M, STEPS, CLIP = 200, 30, 0.7
WEIGHT = GRADIENT_SHARE  # of one draw, in units of C
both = pytest.mark.parametrize("path", Path)


def a_plan(**chosen: Any) -> Plan:
    fields: dict[str, Any] = {
        "rows": M,
        "sampling": WHOLE // 5,
        "steps": STEPS,
        "noise_multiplier": 1.5,
        "max_grad_norm": CLIP,
    }
    return Plan(**{**fields, **chosen})


def secret(seed: int = 1) -> Secret:
    return seeded_secret(seed, allow_seeded=True)


@both
def test_each_path_is_the_pass_it_names(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    for made in (ClosedForm, Hooked):

        def counted(self: Any, *of: Any, made: Any = made, sums: Any = made.sum) -> Any:
            steps.append(made.__name__)
            return sums(self, *of)

        monkeypatch.setattr(made, "sum", counted)
    score(a_plan(), path, secret())
    assert steps == [{Path.CLOSED: "ClosedForm", Path.HOOKED: "Hooked"}[path]] * STEPS


@both
def test_a_score_counts_the_sampler_s_own_draws(path: Path) -> None:
    plan = a_plan(noise_multiplier=1e-7)
    found = score(plan, path, secret())
    stored = np.flatnonzero(found.included)
    drawn = np.zeros(M)
    for step in range(1, STEPS + 1):
        drawn[stored[plan.sample(secret().step(step), len(stored))]] += 1
    assert 0.35 * M < len(stored) < 0.65 * M
    np.testing.assert_allclose(found.scores, drawn * WEIGHT, atol=1e-3)
    assert not drawn[~found.included].any()


@both
def test_what_is_left_out_scores_the_noise_of_all_steps(path: Path) -> None:
    found = Scored.pooled([score(a_plan(), path, secret(seed)) for seed in range(5)])
    outside = found.scores[~found.included]
    assert outside.std() == pytest.approx(1.5 * math.sqrt(STEPS), rel=0.1)
    assert abs(outside.mean()) < 4 * outside.std() / math.sqrt(len(outside))
    assert (len(found.scores), found.executed, found.charged) == (5 * M, 5 * STEPS, 5 * STEPS)


@both
def test_contributions_are_the_clipped_draws_of_each_step(path: Path) -> None:
    plan = a_plan()
    found = contributions(plan, path, secret())
    assert found.shape == (STEPS, M)
    for step, row in enumerate(found, start=1):
        drawn = np.zeros(M)
        drawn[plan.sample(secret().step(step), M)] = WEIGHT
        np.testing.assert_allclose(row, drawn, atol=1e-4)
    # The engine promises the bound itself, not the bound and rounding.
    assert found.max() <= 1.0


@pytest.mark.parametrize("rows", [1, 99, 5_001])
def test_too_few_or_too_many_canaries_are_refused(rows: int) -> None:
    for run in (score, contributions):
        with pytest.raises(ConfigError) as refused:
            run(a_plan(rows=rows), Path.CLOSED, secret())
        assert refused.value.stable_code == "auditing.canaries_invalid"
