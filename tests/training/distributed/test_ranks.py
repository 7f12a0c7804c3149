"""Two real ranks over gloo are one process: step by step, bit by bit, call by call."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.factories.ranks import SCENARIOS, STEPS, Caller, alone, job_of
from training.distributed import supervisor
from training.distributed.supervisor import Ranks, train_in_ranks
from training.dpsgd import Trained

CLOSE = 1e-6
HERE = Path(__file__).parent


@dataclass
class Together:
    """What two ranks did."""

    folder: Path
    found: list[dict[str, Any]]
    trained: Trained  # by the supervisor's ranks, from where one process had stopped
    caller: Caller

    def weights(self, name: str, rank: int) -> dict[str, torch.Tensor]:
        state: dict[str, torch.Tensor] = safetensors.torch.load_file(self.folder / f"{name}-{rank}")
        return state


def stopped() -> Any:
    """A job that one process stopped after a block, with one more paid for."""
    first = Caller(cancel_after=1)
    alone(job_of(), first)
    return replace(job_of(), after=first.snapshots[-1], paid=40)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Together:
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        command = [sys.executable, str(HERE / "ranks.py"), str(folder), "2"]
        patch.setattr(supervisor, "command", lambda _: command)
        caller = Caller()
        trained = train_in_ranks(stopped(), Ranks(2), caller.calls)
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    return Together(folder, found, trained, caller)


def test_every_rank_runs_every_step_though_it_drew_nothing(together: Together) -> None:
    for name in SCENARIOS:
        assert [len(found["sizes"][name]) for found in together.found] == [STEPS, STEPS]
    both = zip(*(found["sizes"]["empty"] for found in together.found), strict=True)
    drawn = list(both)
    assert any(one == 0 and other > 0 for one, other in drawn)
    assert any(one > 0 and other == 0 for one, other in drawn)
    assert (0, 0) in drawn


@pytest.mark.parametrize("name", SCENARIOS)
def test_weights_are_the_same_bits_in_every_rank(together: Together, name: str) -> None:
    one, other = (together.weights(name, rank) for rank in range(2))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_ranks_are_one_process_on_the_union(together: Together, name: str) -> None:
    single = alone(job_of(**SCENARIOS[name]), Caller()).state
    both = together.weights(name, 0)
    initial = alone(job_of(**SCENARIOS[name]), Caller(cancel_after=0)).state
    for key, value in single.items():
        assert torch.allclose(value, both[key], rtol=0, atol=CLOSE), key
    assert any(float((single[key] - initial[key]).abs().max()) > 100 * CLOSE for key in single)


def test_ranks_go_on_where_one_process_stopped(together: Together) -> None:
    whole = Caller()
    single = alone(job_of(), whole)
    trained = together.trained
    assert (trained.executed, trained.stopped) == (STEPS, False)
    for key, value in single.state.items():
        assert torch.allclose(value, trained.state[key], rtol=0, atol=CLOSE), key
    for one, other in zip(single.curve, trained.curve, strict=True):
        assert (one.step, one.steps, one.loss_error) == (other.step, other.steps, other.loss_error)
        assert one.loss == pytest.approx(other.loss, abs=1e-5)


def test_the_supervisor_pays_before_keeps_after_and_shows_last(together: Together) -> None:
    """The second block was paid for by whoever stopped."""
    assert together.caller.order == [
        ("kept", 40), ("shown", 40), ("paid", 10), ("kept", 50), ("shown", 50),
    ]  # fmt: skip
    last = together.caller.snapshots[-1]
    assert last.curve == together.trained.curve
    assert any(name.startswith("optimizer/") for name in last.tensors)


def test_ranks_need_no_django(together: Together) -> None:
    assert all(found["without_django"] for found in together.found)


def test_weights_that_differ_are_refused_in_every_rank(together: Together) -> None:
    assert [found["differ"] for found in together.found] == ["engine.ranks_differ"] * 2


def test_only_rank_0_decides(together: Together) -> None:
    assert [found["told"] for found in together.found] == [[True, False]] * 2
