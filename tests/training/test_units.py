"""Persons as the privacy unit: one coin, one vector of norm C, one row where rows are counted."""

import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from governance.scoping import tenant_scope
from tests.factories.engine import CLIP, records
from tests.factories.people import House, make_house
from tests.factories.training import ask, make_version, rows_of, seal, trained
from training import ledger, pipeline
from training.accounting import make_plan
from training.clipping import ClippingPass, ClosedForm, Hooked
from training.config import Guarantee, Plan, TrainingConfig
from training.distributed.group import ALONE
from training.dpsgd import _Draws, binary_loss, train
from training.errors import EngineError, RunRefusedError
from training.features import column_of
from training.mechanisms import WHOLE
from training.models import Budget, ModelVersion, PrivacyUnit, Run
from training.randomness import seeded_secret
from training.split import held_out_subjects
from training.units import First, Unit, Units, known, numbered

both = pytest.mark.parametrize("make", [ClosedForm, Hooked])
owners = st.lists(st.integers(0, 9), min_size=1, max_size=60)


@pytest.fixture
def house(db: None) -> House:
    return make_house()


class TestUnits:
    @settings(max_examples=80, deadline=None)
    @given(owners, st.sets(st.integers(0, 9)))
    def test_a_unit_is_drawn_whole_and_weighs_one(
        self, listed: list[int], chosen: set[int]
    ) -> None:
        of = np.array(listed, np.int64)
        units = Units.of(of)
        names = np.unique(of)
        assert len(units) == len(names)
        drawn = np.array([i for i, name in enumerate(names) if name in chosen], np.intp)
        rows, shares = units.expand(drawn)
        assert sorted(rows) == [i for i, name in enumerate(listed) if name in chosen]
        for name in chosen & set(listed):
            total = shares[of[rows] == name].astype(np.float64).sum()
            assert 1 - 1e-5 < total <= 1.0

    def test_nobody_is_drawn(self) -> None:
        rows, shares = Units.of(np.array([3, 3, 1])).expand(np.array([], np.intp))
        assert len(rows) == len(shares) == 0

    def test_whose_rows_are_whose(self) -> None:
        named = ["a", None, " a ", "b", "", "  ", "c", "b"]
        assert known(named).tolist() == [True, False, True, True, False, False, True, True]
        numbers = numbered(named)
        assert numbers[0] == numbers[2] != numbers[3] == numbers[7]
        first = First()
        assert first.of(named).tolist() == [True, False, False, True, False, False, True, False]
        assert first.of(["c", "d"]).tolist() == [False, True]


def network(width: int = 6) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, 1))


def vector(engine: ClippingPass, *batch: Any) -> Any:
    found = engine.sum(*batch)
    return np.concatenate([found.watched, found.gradient])


class TestClipping:
    @both
    @pytest.mark.parametrize("scale", [0.01, 1.0, 1e3])
    def test_a_person_moves_the_sum_by_at_most_c(self, make: Any, scale: float) -> None:
        """However many rows they have, and all of them alike: the worst case."""
        features, labels = records(40, 6)
        features = torch.cat([features, features[:1].repeat(500, 1) * scale])
        labels = torch.cat([labels, labels[:1].repeat(500)])
        units = Units.of(np.concatenate([np.arange(40), np.full(500, 40)]))
        engine = make(network(), binary_loss, CLIP)
        sums = []
        for drawn in (np.arange(41), np.arange(40)):
            rows, shares = units.expand(drawn)
            sums.append(vector(engine, features[rows], labels[rows], torch.from_numpy(shares)))
        engine.close()
        moved = float(np.linalg.norm(sums[0] - sums[1]))
        assert moved <= CLIP
        assert scale < 1 or moved > 0.5 * CLIP

    @both
    def test_one_row_each_is_the_sum_of_records(self, make: Any) -> None:
        features, labels = records(33, 6)
        engine = make(network(), binary_loss, CLIP)
        plain = vector(engine, features, labels)
        rows, shares = Units.of(np.arange(33)).expand(np.arange(33))
        shared = vector(engine, features[rows], labels[rows], torch.from_numpy(shares))
        engine.close()
        assert shared == pytest.approx(plain, rel=1e-5, abs=1e-6)

    @both
    def test_a_row_that_is_not_finite_takes_nothing_from_the_others(self, make: Any) -> None:
        features, labels = records(4, 6)
        spoiled = features.clone()
        spoiled[1] = math.inf
        engine = make(network(), binary_loss, CLIP)
        shares = torch.tensor([0.5, 0.5, 1.0, 1.0])
        rest = [0, 2, 3]
        found = vector(engine, spoiled, labels, shares)
        wanted = vector(engine, features[rest], labels[rest], shares[rest])
        engine.close()
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def plan(unit: Unit) -> Plan:
    return Plan(
        rows=50, sampling=WHOLE // 4, steps=40, noise_multiplier=1.0, max_grad_norm=1.0, unit=unit
    )


class TestEngine:
    def test_persons_are_drawn_whole_each_with_probability_q(self) -> None:
        of = np.repeat(np.arange(50), 3)
        secret = seeded_secret(5, allow_seeded=True)
        draws = _Draws(plan(Unit.SUBJECT), secret, ALONE, Units.of(of), size=2)
        seen: Counter[int] = Counter()
        for step in range(1, 41):
            rows, shares, noise = draws.of(step)
            assert shares is not None
            assert len(noise) == 2
            times = Counter(of[rows.numpy()])
            assert set(times.values()) <= {3}
            seen.update(times.keys())
        draws.close()
        assert abs(sum(seen.values()) - 500) < 5 * math.sqrt(50 * 40 * 0.25 * 0.75)

    @pytest.mark.parametrize(
        ("unit", "of", "code"),
        [
            (Unit.RECORD, [0, 0, 1], "engine.unit"),
            (Unit.SUBJECT, None, "engine.unit"),
            (Unit.SUBJECT, [0, 1], "engine.shape"),
        ],
    )
    def test_a_plan_for_other_units_is_refused(
        self, unit: Unit, of: list[int] | None, code: str
    ) -> None:
        features, labels = records(3, 6)
        config = TrainingConfig.for_rows(50, epsilon=1, delta=1e-5, features="")
        with pytest.raises(EngineError) as caught:
            train(
                network(),
                features,
                labels,
                plan=plan(unit),
                config=config,
                secret=seeded_secret(1, allow_seeded=True),
                units=None if of is None else Units.of(np.array(of)),
                on_block=lambda _: pytest.fail("nothing may run"),
            )
        assert caught.value.stable_code == code

    def test_the_unit_is_part_of_the_plan(self) -> None:
        config = TrainingConfig.for_rows(
            500, epsilon=1, delta=1e-5, features="", unit=Unit.SUBJECT, guarantee=Guarantee.DP
        )
        made = make_plan(config, 500)
        assert made.unit is Unit.SUBJECT
        assert Plan.from_dict(made.as_dict()) == made
        assert Plan.from_dict({**made.as_dict(), "unit": "record"}).digest() != made.digest()


class TestRuns:
    def test_a_person_is_in_one_part_and_counted_once(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: dict[str, pl.DataFrame] = {}
        read = pipeline._Attempt._read

        def keep(attempt: Any, declared: Any) -> Any:
            rows = read(attempt, declared)
            seen.update(train=rows.train, counted=rows.counted, held_out=rows.held_out)
            return rows

        monkeypatch.setattr(pipeline._Attempt, "_read", keep)
        version = make_version(house, each=4)
        made = trained(house, version)
        parts = {name: column_of(rows, "person") for name, rows in seen.items()}
        assert set(Counter(parts["train"]).values()) == {4}
        assert set(parts["counted"]) == set(parts["train"])
        for name in ("counted", "held_out"):
            assert set(Counter(parts[name]).values()) == {1}
        assert not set(parts["train"]) & set(parts["held_out"])
        assert len(set(parts["train"]) | set(parts["held_out"])) == 60
        assert "person" not in {f["name"] for f in made.card["preprocessing"]["features"]}
        assert made.card["privacy"]["unit"] == "subject"
        assert "any one person" in made.card["privacy"]["promise"]["en"]
        assert "任何一个人" in made.card["privacy"]["promise"]["zh"]
        with tenant_scope(house.id):
            budget = Budget.objects.get()
            assert budget.unit == PrivacyUnit.SUBJECT
            assert ledger.statement(budget).as_dict()["unit"] == "subject"

    def test_rows_of_nobody_are_left_out(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = make_version(house, name="nobody")
        table = rows_of()
        table["person"][::2] = [None if i % 4 else " " for i in range(0, 240, 2)]
        with tenant_scope(house.id):
            version = seal(house, version.dataset, table, number=2)
        sizes: list[int] = []
        real = train

        def count(network: Any, features: Any, labels: Any, **rest: Any) -> Any:
            sizes.append(len(features))
            return real(network, features, labels, **rest)

        monkeypatch.setattr("training.learning.train", count)
        monkeypatch.setattr("training.asking.check_quality", lambda _: None)
        monkeypatch.setattr("training.actions.attempts.check_quality", lambda _: None)
        trained(house, version)
        held = held_out_subjects(version.dataset_id, table["person"][1::2])
        assert sizes == [int((~held).sum())]

    def test_declared_persons_set_the_rate_and_the_divisor(self, house: House) -> None:
        declarations = {**make_version(house).dataset.declarations, "subjects": 60}
        version = make_version(house, "declared", each=4, declarations=declarations)
        made = Plan.from_dict(ask(house, version, config={"expected_batch": 18, "steps": 45}).plan)
        assert made.rows == 54
        assert made.divisor == pytest.approx(18)

    def test_without_a_subject_column_records_are_protected(self, house: House) -> None:
        run = ask(house, make_version(house, subject=""))
        assert Plan.from_dict(run.plan).unit is Unit.RECORD
        with tenant_scope(house.id):
            assert Budget.objects.get().unit == PrivacyUnit.RECORD

    @pytest.mark.parametrize("operator", ["redact", "mask", "replace", "generalize"])
    def test_a_column_that_tells_nobody_apart_is_refused(self, house: House, operator: str) -> None:
        first = make_version(house)
        with tenant_scope(house.id):
            version = seal(house, first.dataset, rows_of(), number=2, operator=operator)
        self.refused(house, version, "run.subject_unreadable")

    def test_persons_keep_their_names_across_versions(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("training.asking.check_quality", lambda _: None)
        first = make_version(house)
        with tenant_scope(house.id):
            second = seal(house, first.dataset, rows_of(), number=2, operator="token")
            third = seal(house, first.dataset, rows_of(), number=3)
        ask(house, first)
        self.refused(house, second, "run.subject_changed")
        ask(house, third, name="third")

    @staticmethod
    def refused(house: House, version: Any, code: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("training.asking.check_quality", lambda _: None)
            with pytest.raises(RunRefusedError) as caught:
                ask(house, version)
        assert caught.value.stable_code == code
        with tenant_scope(house.id):
            assert not ModelVersion.objects.exists()
            assert Run.objects.filter(version=version).count() == 0
