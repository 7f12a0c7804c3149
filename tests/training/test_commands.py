"""The command line: one object on stdout, one error on stderr, the exit code by its kind."""

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from audit.canonical import decimal
from audit.models import AuditEntry
from governance import leases
from governance.models import Job
from governance.scoping import across_tenants, tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import PURPOSE, SMALL, ask, make_version, trained
from training.models import BudgetEntry, Run, RunState


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


def command(name: str, *arguments: str, who: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the object printed: the result, or the error."""
    out, error = io.StringIO(), io.StringIO()
    try:
        call_command(name, *arguments, "--as", who, "--json", stdout=out, stderr=error)
    except SystemExit as stopped:
        return int(stopped.code or 0), json.loads(error.getvalue().strip().splitlines()[-1])
    (line,) = out.getvalue().splitlines()
    return 0, json.loads(line)


def train(*arguments: str, who: str = "house-engineer", **changed: str) -> tuple[int, Any]:
    asked = {
        "dataset": "people",
        "target": "income",
        "purpose": PURPOSE,
        "epsilon": "1",
        "config": json.dumps(SMALL),
    }
    asked |= changed
    flags = [part for name, value in asked.items() for part in (f"--{name}", value)]
    return command("train", *flags, *arguments, who=who)


def test_the_whole_way_on_the_command_line(house: House) -> None:
    make_version(house)
    code, run = train("--here")
    assert code == 0
    assert set(run) == {
        "run", "model", "version", "state", "attempt", "guarantee", "proposal", "epsilon_asked",
        "epsilon_spent", "epsilon_spent_dataset", "epsilon_left", "delta", "steps", "auroc",
        "error", "priority", "seconds", "cost", "goes_on_from",
    }  # fmt: skip
    assert (run["state"], run["version"], run["model"]) == ("finished", 1, "people-income")
    assert (run["epsilon_asked"], run["steps"], run["delta"]) == ("1.000000", 45, "0.00001")
    assert 0.99 < float(run["epsilon_spent"]) <= 1
    assert float(run["epsilon_left"]) == pytest.approx(9, abs=0.01)

    statuses = [
        command("release", "people-income", who=f"house-{role}")[1]["status"]
        for role in ("engineer", "engineer", "officer", "tenant_admin")
    ]
    assert statuses == ["awaiting_approval", "awaiting_approval", "awaiting_approval", "released"]
    code, error = command("release", "people-income", who="house-engineer")
    assert (code, error["code"]) == (3, "model.state")

    code, checked = command("recompute_budget", who="house-auditor")
    assert (code, checked["agree"]) == (0, True)
    (budget,) = checked["budgets"]
    assert budget["dataset"] == "people"
    assert budget["recomputed"]["epsilon_spent"] == budget["epsilon_spent"]
    assert budget["recomputed"]["faults"] == []


@pytest.mark.parametrize(
    ("changed", "exit_code", "code"),
    [
        ({"dataset": "nobody"}, 2, "not_found"),
        ({"dataset": "theirs"}, 2, "not_found"),
        ({"purpose": "marketing"}, 3, "purpose.not_granted"),
        ({"target": "salary"}, 2, "run.target_missing"),
        ({"epsilon": "-1"}, 2, "run.epsilon_invalid"),
        ({"epsilon": "nan"}, 2, "run.epsilon_invalid"),
        ({"epsilon": "11"}, 3, "budget.over_cap"),
        ({"dataset-version": "2"}, 3, "run.not_sealed"),
        ({"config": "[1]"}, 2, "run.config_invalid"),
        ({"config": "{"}, 2, "run.config_invalid"),
    ],
)
def test_bad_input_has_one_code_an_entry_and_no_effect(
    house: House, changed: dict[str, str], exit_code: int, code: str
) -> None:
    make_version(house)
    make_version(make_house("other"), "theirs")
    entries = AuditEntry.objects.count()
    found, error = train(**changed)
    assert (found, error["code"]) == (exit_code, code)
    assert set(error) <= {"code", "detail", "pointer"}
    if "config" not in changed:  # a line that cannot be parsed asks for nothing
        assert AuditEntry.objects.count() == entries + 1
    with across_tenants(reason="a test looks"):
        assert not Run.objects.exists()
        assert not Job.objects.exists()


def test_an_unknown_user_is_refused_before_anything(house: House) -> None:
    assert train(who="nobody")[1]["code"] == "actor.unknown"


def test_a_run_over_the_threshold_says_what_it_waits_for(house: House) -> None:
    make_version(house)
    code, run = train("--wait", epsilon="4")
    assert (code, run["state"]) == (0, "awaiting_approval")
    assert run["proposal"]
    for role in ("officer", "tenant_admin"):
        code, approved = command("approve", run["proposal"], "--queue", who=f"house-{role}")
        assert code == 0
    assert approved["complete"]
    with tenant_scope(house.id):
        assert Run.objects.get().state == RunState.QUEUED


def test_waiting_for_a_run_that_fails_tells_its_code(house: House) -> None:
    make_version(house)
    config = json.dumps({**SMALL, "learning_rate": "1e38"})
    code, error = train("--here", config=config)
    assert (code, error["code"]) == (4, "engine.diverged")


def test_waiting_has_an_end(house: House) -> None:
    make_version(house)
    code, error = train("--wait", "--timeout", "0")
    assert (code, error["code"]) == (4, "run.wait_over")
    with tenant_scope(house.id):
        assert Run.objects.get().state == RunState.QUEUED


def test_cancel_and_retry(house: House) -> None:
    run = ask(house, make_version(house))
    code, shown = command("cancel_run", str(run.id), who="house-engineer")
    assert (code, shown["state"]) == (0, "cancelled")
    code, shown = command("retry_run", str(run.id), who="house-engineer")
    assert (code, shown["state"], shown["attempt"]) == (0, "queued", 2)
    code, shown = command("retry_run", str(run.id), who="house-engineer")
    assert (code, shown["code"]) == (3, "run.state")
    code, shown = command("cancel_run", str(run.id), who="house-auditor")
    assert (code, shown["code"]) == (3, "permission.role_missing")
    make_house("other")
    code, shown = command("cancel_run", str(run.id), who="other-engineer")
    assert (code, shown["code"]) == (2, "not_found")


def test_a_search_is_asked_for_by_its_candidates(house: House) -> None:
    make_version(house)
    candidates: list[dict[str, float]] = [{"learning_rate": 0.1}, {"learning_rate": 0.4}]
    asked = {"candidates": candidates, "trials": 3}
    code, said = train("--estimate", "--config", json.dumps({**SMALL, "search": asked}))
    assert (code, said["steps"], said["trials"]) == (0, 45, decimal(3.0, 3))
    candidates[1] = {"steps": 10}
    code, said = train("--estimate", "--config", json.dumps({**SMALL, "search": asked}))
    assert (code, said["code"]) == (2, "search.field_fixed")
    assert said["pointer"] == "/search/candidates/1/steps"


def test_an_estimate_is_printed_and_nothing_is_asked_for(house: House) -> None:
    make_version(house)
    code, said = train("--estimate")
    assert code == 0
    assert set(said) == {
        "guarantee", "epsilon_asked", "delta", "epsilon_left", "epsilon_left_after", "fits",
        "needs_approval", "steps", "trials", "seconds", "basis", "memory_bytes", "cost", "currency",
    }  # fmt: skip
    assert (said["steps"], said["fits"], said["basis"]) == (45, True, "timed_here")
    with tenant_scope(house.id):
        assert not Run.objects.exists()
    code, error = train("--estimate", epsilon="11")
    assert (code, error["code"]) == (3, "budget.over_cap")


def test_a_priority_is_asked_for_and_changed(house: House) -> None:
    make_version(house)
    code, run = train("--priority", "low")
    assert (code, run["priority"]) == (0, "low")
    code, error = train("--priority", "high")
    assert (code, error["code"]) == (3, "permission.role_missing")
    change = ("prioritize_run", run["run"], "--priority", "high")
    code, error = command(*change, who="house-engineer")
    assert (code, error["code"]) == (3, "permission.role_missing")
    code, run = command(*change, who="house-tenant_admin")
    assert (code, run["priority"]) == (0, "high")
    make_house("other")
    code, error = command(*change, who="other-tenant_admin")
    assert (code, error["code"]) == (2, "not_found")
    with across_tenants(reason="a test looks"):
        assert Job.objects.get().priority == 1


def test_here_a_run_waits_for_its_turn(house: House, settings: Any) -> None:
    settings.TRAINING_RUNS_PER_TENANT = 1
    version = make_version(house)
    held = ask(house, version)
    with across_tenants(reason="a test looks"):
        lease = leases.claim(Job.objects.get(subject=held.reference).id)
    assert lease is not None
    code, error = train("--here", "--timeout", "0")
    assert (code, error["code"]) == (4, "run.wait_over")
    with tenant_scope(house.id):
        assert Run.objects.exclude(pk=held.pk).get().state == RunState.QUEUED


def test_what_training_took_is_summed(house: House) -> None:
    model = trained(house, make_version(house), model="linear", config={"steps": 3})
    code, said = command("training_costs", who="house-engineer")
    assert code == 0
    (by_model,), (by_tenant,) = said["models"], said["tenants"]
    assert set(by_model) == {"tenant", "model", "currency", "runs", "seconds", "cost"}
    assert (by_model["model"], by_tenant["model"]) == (model.model.slug, "")
    assert (by_tenant["tenant"], by_tenant["runs"]) == ("house", 1)
    code, error = command("training_costs", who="house-steward")
    assert (code, error["code"]) == (3, "permission.role_missing")


def test_the_cap_is_proposed(house: House) -> None:
    make_version(house)
    code, shown = command("propose_cap", "people", "--epsilon", "3", who="house-steward")
    assert (code, shown["status"]) == (0, "awaiting_approval")
    code, shown = command("propose_cap", "people", "--epsilon", "0", who="house-steward")
    assert (code, shown["code"]) == (2, "run.epsilon_invalid")
    code, shown = command("propose_cap", "people", "--epsilon", "3", who="house-engineer")
    assert (code, shown["code"]) == (3, "permission.role_missing")


def test_a_model_without_a_version_is_not_released(house: House) -> None:
    run = ask(house, make_version(house))
    code, shown = command("release", run.model_name, who="house-engineer")
    assert (code, shown["code"]) == (2, "model.no_version")
    code, shown = command("release", "nothing", who="house-engineer")
    assert (code, shown["code"]) == (2, "not_found")


def test_the_officer_does_not_propose_what_the_engineer_did_not(house: House) -> None:
    made = trained(house, make_version(house), model="linear", config={"steps": 3})
    code, shown = command("release", made.model.slug, who="house-officer")
    assert (code, shown["code"]) == (3, "permission.role_missing")


def test_figures_that_do_not_agree_are_an_error(house: House) -> None:
    version = make_version(house)
    run = ask(house, version)
    leases.run_here(run.reference)
    with tenant_scope(house.id):
        BudgetEntry.objects.create(
            tenant=house.tenant,
            budget=version.dataset.budget,
            run=run,
            attempt=1,
            kind="ahead",
            sequence=99,
            mechanisms=[],
        )
    code, error = command("recompute_budget", "--dataset", "people", who="house-officer")
    assert (code, error["code"]) == (4, "ledger.disagrees")
    code, error = command("recompute_budget", who="house-platform")
    assert (code, error["code"]) == (3, "permission.role_missing")


def test_an_ensemble_on_the_command_line(house: House) -> None:
    make_version(house)
    few = json.dumps({**SMALL, "steps": 3})
    for name in ("a", "b"):
        assert train("--here", "--name", name, config=few)[0] == 0
    flags = ("--model", "ensemble", "--name", "both", "--member", "a@1")
    code, error = train("--here", *flags, config="{}")
    assert (code, error["code"]) == (2, "run.members_invalid")
    code, run = train("--here", *flags, "--member", "b@1", config="{}", epsilon="0.5")
    assert (code, run["state"], run["version"], run["steps"]) == (0, "finished", 1, 0)
    assert 0.49 < float(run["epsilon_spent"]) <= 0.5
    assert command("release", "both", who="house-engineer")[1]["status"] == "awaiting_approval"
    code, checked = command("recompute_budget", who="house-auditor")
    assert checked["agree"]
