"""A target of one class: no figure is made of noise; rows are judged where they may be."""

import json
from typing import Any

import pytest

from audit.models import AuditEntry
from governance import approvals, leases
from governance.actions.quality import set_contract
from governance.models import DatasetVersion
from governance.quality.assessing import assess, write_run
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import (
    DECLARATIONS,
    approve,
    ask,
    make_version,
    rows_of,
    seal,
    trained,
)
from training import watching
from training.admission import approval_needed
from training.cards import TOO_FEW
from training.following import told
from training.models import Run, RunState

ROWS = 600


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def one_class(house: House, **made: Any) -> DatasetVersion:
    """A version in which everybody has the same label; a derived contract would stop it."""
    first = make_version(house, rows=ROWS, **made)
    table = rows_of(ROWS)
    table["income"] = ["<=50K" for _ in table["income"]]
    with tenant_scope(house.id):
        version = seal(house, first.dataset, table, rows=ROWS, number=2)
        set_contract(house.steward, version.dataset, body={})
        write_run(version, assess(version))
    return version


def test_private_rows_train_and_the_card_says_what_it_cannot(house: House) -> None:
    made = trained(house, one_class(house), epsilon="3")
    evaluation = made.card["evaluation"]
    assert evaluation["auroc"] is None
    of_groups = ("impact_ratio", "four_fifths", "odds_difference", "equalized_odds")
    assert evaluation["not_measured"] == dict.fromkeys(("auroc", *of_groups), TOO_FEW)
    assert all(evaluation["groups"]["sex"][name] is None for name in of_groups)
    assert evaluation["accuracy"] is not None
    with tenant_scope(house.id):
        run = Run.objects.select_related("version__dataset").get(model_version=made)
        assert told(run)["auroc"] is None
        # What is watched are accuracy and scores, which both are there.
        assert watching.floor_of(made) is not None
    entry = AuditEntry.objects.get(event="run.finished")
    assert "auroc" not in json.loads(bytes(entry.body))["facts"]


@pytest.mark.parametrize("guarantee", ["public-data", "waived"])
def test_rows_that_may_be_looked_at_are(house: House, guarantee: str) -> None:
    run = ask(house, one_class(house, declarations={**DECLARATIONS, "public": True}),
              guarantee=guarantee)  # fmt: skip
    if guarantee == "waived":
        with tenant_scope(house.id):
            kind = approval_needed(run)
            assert kind is not None
            proposal = approvals.latest(kind, run)
            assert proposal is not None
        approve(house, proposal)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        run.refresh_from_db()
    assert (run.state, run.error_code) == (RunState.FAILED, "run.one_class")
