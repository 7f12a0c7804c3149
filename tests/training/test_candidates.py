"""What a search may be among, saved and read back; and every way in which it may be wrong."""

from dataclasses import replace
from typing import Any

import pytest

from tests.training.test_searching import CANDIDATES, SEARCH, config_of
from training.accounting import make_plan
from training.candidates import MOST, MOST_TRIALS
from training.config import ModelKind, TrainingConfig
from training.errors import ConfigError
from training.mechanisms import WHOLE

TOO_FEW_OR_MANY: list[Any] = [
    "x", {}, [], CANDIDATES[:1], [{"init_seed": i} for i in range(MOST + 1)],
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "code", "pointer"),
    [
        (None, "run.search_invalid", "/search"),
        ([], "run.search_invalid", "/search"),
        ({"candidates": CANDIDATES}, "run.search_invalid", "/search"),
        ({**SEARCH, "more": 1}, "run.search_invalid", "/search"),
        *(
            ({**SEARCH, "trials": bad}, "run.search_invalid", "/search/trials")
            for bad in (1, 0, -3, MOST_TRIALS + 1, "8", 4.0, True, None)
        ),
        *(
            ({**SEARCH, "candidates": bad}, "run.search_invalid", "/search/candidates")
            for bad in TOO_FEW_OR_MANY
        ),
        *(
            ({**SEARCH, "candidates": [*CANDIDATES, bad]}, "run.search_invalid",
             "/search/candidates/2")
            for bad in ({}, "x", None, {"learning_rate": "0.25"})
        ),
        *(
            ({**SEARCH, "candidates": [{name: value}, {"momentum": 0.5}]}, "search.field_fixed",
             f"/search/candidates/0/{name}")
            for name, value in (
                ("steps", 10), ("expected_batch", 10), ("epsilon", 1), ("delta", 1e-5),
                ("model", "linear"), ("forms", ["pruned"]), ("unit", "subject"),
                ("image", [1, 8, 8]), ("guarantee", "waived"), ("features", "x"),
            )
        ),
        ({**SEARCH, "candidates": [{"search": SEARCH}, {"momentum": 0.5}]}, "search.field_fixed",
         "/search/candidates/0/search"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"momentum": 2}]}, "run.momentum_invalid",
         "/search/candidates/1/momentum"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"momentum": "NaN"}]},
         "run.momentum_invalid", "/search/candidates/1/momentum"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"learning_rate": []}]},
         "run.learning_rate_invalid", "/search/candidates/1/learning_rate"),
        ({**SEARCH, "candidates": [{"momentum": 0.5}, {"nothing": 1}]}, "run.config_invalid",
         "/search/candidates/1"),
    ],
)  # fmt: skip
def test_a_bad_search_is_refused(asked: object, code: str, pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(search=asked)
    assert (caught.value.stable_code, caught.value.pointer) == (code, pointer)


def test_without_a_guarantee_nothing_is_searched_privately() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(guarantee="public-data")
    assert caught.value.stable_code == "run.search_invalid"


def test_a_search_is_saved_and_read_back() -> None:
    config = config_of(
        search={
            "candidates": [{"learning_rate": "0.5", "hidden": [8, 4]}, {"optimizer": "adamw"}],
            "trials": 3,
        }
    )
    assert TrainingConfig.from_dict(config.as_dict()) == config
    first, second = config.variants()
    assert (first.learning_rate, first.hidden, first.search) == (0.5, (8, 4), None)
    assert second == replace(config, search=None, optimizer=second.optimizer)
    assert "search" not in replace(config, search=None).as_dict()
    assert config.search is not None
    assert WHOLE / config.search.stopping == pytest.approx(3)
    assert WHOLE / config.search.stopping <= 3  # never more trials than were priced


@pytest.mark.parametrize("norm", [0.1, 3.0, 50.0])
def test_another_clipping_norm_costs_the_same(norm: float) -> None:
    plan = make_plan(config_of(), 20_000)
    assert plan.trial(norm).event() == plan.event()
    assert make_plan(config_of(max_grad_norm=norm), 20_000).event() == plan.event()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"twin": True}, "/twin"),
        ({"model": ModelKind.ENSEMBLE, "hidden": (), "members": ("a@1", "b@1")}, "/search"),
    ],
)
def test_neither_twins_nor_ensembles_are_searched(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        replace(config_of(search=SEARCH), **fields)
    assert caught.value.pointer == pointer
