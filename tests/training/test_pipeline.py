"""One attempt from claim to model version: what it leaves, and what it cost."""

from typing import Any

import pytest
import safetensors.torch

from governance import leases
from governance.models.jobs import JobState
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.attempts import UNBOUNDED, account, fresh, job_of, outcome
from tests.factories.people import House, make_house
from tests.factories.training import DECLARATIONS, approve, ask, make_version, trained
from training import ledger, pipeline
from training.charges import Part, cost
from training.errors import RunRefusedError
from training.mechanisms import Purpose
from training.models import ModelState, ModelVersion, RunPoint, RunState
from training.serving import LoadedModel
from training.split import SHARE, held_out_rows


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def test_the_split_is_fixed_and_reads_nothing_of_the_rows(house: House) -> None:
    version = make_version(house)
    long, short = (held_out_rows(version.dataset_id, rows) for rows in (20_000, 500))
    assert (long[:500] == short).all()
    assert long.mean() == pytest.approx(SHARE, abs=0.01)
    other = make_version(house, "others")
    assert (held_out_rows(other.dataset_id, 500) != short).any()


def test_a_run_becomes_a_registered_version(house: House) -> None:
    version = make_version(house)
    made = trained(house, version, name="income-risk")
    with tenant_scope(house.id):
        run = fresh(made.run)
        known = account(run)
        assert (run.state, job_of(run).state) == (RunState.FINISHED, JobState.DONE)
        assert (made.state, made.number) == (ModelState.REGISTERED, 1)
        # The ledger: every step, in blocks, before the release about the held-out rows.
        assert (known.closed, known.steps) == (True, 45)
        assert [c.mechanism.steps for c in known.ahead] == [20, 20, 5, 1]
        assert known.ahead[-1].part is Part.HELD_OUT
        assert known.ahead[-1].mechanism.purpose is Purpose.EVALUATION
        said = ledger.statement(version.dataset.budget)
        assert 0.99 < said.spent <= 1.0
        assert said.left == pytest.approx(9.0, abs=0.01)
        points = list(RunPoint.objects.filter(run=run).values_list("step", "steps"))
        assert points == [(20, 45), (40, 45), (45, 45)]
        last = run.points.last()
        assert last is not None
        assert last.epsilon == pytest.approx(said.spent)
        # The artifact: sealed, and a model that answers.
        with open_object(made.artifact) as file:
            stored = file.read()
        model = LoadedModel(stored, expected=made.artifact_digest)
        row = model.check_row({"city": "north", "age": 40, "hours": "38.5"})
        assert 0 <= model.predict_proba([row])[0] <= 1  # noise may drive it to the last digit
        assert safetensors.torch.load(stored)
    assert made.card["privacy"]["epsilon_asked"] == "1.0"
    assert made.card["dataset"]["name"] == "people"
    assert made.card["run"] == {"id": str(run.id), "attempt": 1}
    assert [feature["name"] for feature in made.card["preprocessing"]["features"]] == [
        "city", "age", "hours",
    ]  # fmt: skip
    assert made.card["barred_columns"] == {
        "person": "subject",
        "name": "identifier.pseudonym",
        "phone": "identifier.keep",
        "born": "identifier.generalize",
        "note": "prose",
    }
    for event in ("run.requested", "run.begun", "run.finished"):
        assert outcome(event) == ("done", None)


def test_the_background_is_the_one_that_explanations_will_use(house: House) -> None:
    from gateway import serving

    made = trained(house, make_version(house))
    background = serving.background(serving.loaded(made), made)
    assert background.digest() == made.background_digest
    assert len(background.rows) == pipeline.BACKGROUND_ROWS


TEXT: dict[str, Any] = {"kind": "encoded", "encoder": "minilm-l6"}


IGNORED: dict[str, Any] = {"kind": "ignore"}


def test_text_and_numbers_train_one_model_which_is_served_and_explained(house: House) -> None:
    from audit.explanations import explain_row, verify_record
    from gateway import serving

    columns = {**DECLARATIONS["columns"], "note": TEXT}
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    with pytest.raises(RunRefusedError) as caught:  # a text is no target, encoded or not
        ask(house, version, target="note", positive="<PERSON> called")
    assert caught.value.stable_code == "run.target_barred"
    made = trained(house, version, model="linear", config={"steps": 3, "expected_batch": 40})
    assert "note" not in made.card["barred_columns"]
    (told,) = (f for f in made.card["preprocessing"]["features"] if f["name"] == "note")
    assert (told["kind"], told["encoder"]) == ("encoded", "minilm-l6")
    model = serving.loaded(made)
    background = serving.background(model, made)
    row = model.check_row({"city": "north", "note": "He asked twice.", "age": 40, "hours": None})
    record = explain_row(
        model.predict_columns, [row[name] for name in model.spec.names], background,
        record_id="1", model_digest=model.digest, input_commitment="c",
    )  # fmt: skip
    assert verify_record(record).failed == ()
    other = model.predict_proba([row, {**row, "note": "All is well."}])
    assert other[0] != other[1]


def test_adapters_train_by_the_same_run(house: House) -> None:
    columns = {**DECLARATIONS["columns"], "note": TEXT} | dict.fromkeys(
        ("city", "age", "hours"), IGNORED
    )
    version = make_version(house, declarations={**DECLARATIONS, "columns": columns})
    made = trained(
        house, version, model="lora",
        config={"steps": 2, "expected_batch": 6, "lora_rank": 2, "lora_layers": 1},
    )  # fmt: skip
    with tenant_scope(house.id):
        run = fresh(made.run)
        assert account(run).steps == 2
        with open_object(made.artifact) as file:
            stored = file.read()
    assert len(stored) < 50_000
    assert made.card["model"]["kind"] == "lora"
    assert made.card["model"]["parameters"] == 2 * 2 * (2 * 384) + 385
    assert made.card["training"]["config"]["lora_layers"] == 1
    model = LoadedModel(stored, expected=made.artifact_digest)
    assert 0 <= model.predict_proba([model.check_row({"note": "called again"})])[0] <= 1


def test_a_second_run_of_the_name_is_the_next_version(house: House) -> None:
    version = make_version(house)
    first, second = trained(house, version), trained(house, version, model="linear",
        config={"steps": 5})  # fmt: skip
    assert (first.model, first.number, second.number) == (second.model, 1, 2)
    with tenant_scope(house.id):
        said = ledger.statement(version.dataset.budget)
    assert said.spent < 2.0  # composed, not added
    assert said.spent > max(attempt.spent for attempt in said.attempts)


def test_undeclared_bounds_are_paid_for_before_the_first_step(house: House) -> None:
    made = trained(house, make_version(house, declarations=UNBOUNDED))
    known = account(fresh(made.run))
    assert [charge.mechanism.purpose for charge in known.ahead] == [
        Purpose.BOUNDS, *[Purpose.TRAINING] * 3, Purpose.EVALUATION,
    ]  # fmt: skip
    hours = next(f for f in made.card["preprocessing"]["features"] if f["name"] == "hours")
    assert hours["provenance"] == "paid"
    assert cost(known.ahead, 1e-5) <= 1.0


@pytest.mark.parametrize("guarantee", ["public-data", "waived"])
def test_a_run_without_a_guarantee_says_so_everywhere(house: House, guarantee: str) -> None:
    version = make_version(house, declarations={**UNBOUNDED, "public": True})
    run = ask(house, version, guarantee=guarantee)
    if guarantee == "waived":
        from governance import approvals
        from governance.permissions import ProposalKind

        assert run.state == RunState.AWAITING_APPROVAL
        with tenant_scope(house.id):
            proposal = approvals.latest(ProposalKind.RUN_WAIVER, run)
        assert proposal is not None
        approve(house, proposal)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        made = ModelVersion.objects.get(run=run)
        assert made.guarantee == guarantee
        assert made.card["privacy"]["guarantee"] == guarantee
        # Without noise, counts of people stay out of the card.
        told = made.card["evaluation"]["release"]
        assert ("score_counts" in told) is (guarantee == "public-data")
        known = account(fresh(run))
        assert (known.ahead, known.touched, known.closed) == ([], True, True)
        said = ledger.statement(version.dataset.budget)
        assert said.spent == 0
        assert said.unprotected == ((run.reference,) if guarantee == "waived" else ())
