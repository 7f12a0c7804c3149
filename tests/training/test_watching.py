"""Windows of service: when they close, what they find, and the one remedy that is proposed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from audit.errors import DomainError, RefusedError
from audit.models import AuditEntry
from governance import approvals, leases
from governance.actions.proposals import approve_proposal, reject_proposal
from governance.models import Job, Proposal, PurposeGrant
from governance.permissions import ProposalKind
from governance.quality.assessing import assess, write_run
from governance.rbac import SystemActor, watch_of
from governance.scoping import tenant_scope
from tests.factories.people import House, make_house
from tests.factories.training import approve, make_version
from tests.factories.watching import (
    EVEN,
    SKEWED,
    Service,
    card,
    midnight,
    observed_by,
    release,
)
from training import watcher, watching
from training.actions.models import withdraw_model
from training.actions.watching import close_window, propose_rollback
from training.models import (
    Budget,
    BudgetEntry,
    ModelState,
    ModelVersion,
    Run,
    RunState,
    WatchWindow,
)
from training.watching import Decline, Finding, Reference

LINEAR: dict[str, Any] = {"model": "linear", "config": {"steps": 5}}
GOOD, BAD = (300, 270), (300, 200)  # labels, and right answers among them


@pytest.fixture(autouse=True)
def _schedule(settings: Any) -> None:
    settings.WATCH_WINDOW_HOURS = 24
    settings.WATCH_SMALLEST = 200
    settings.WATCH_ACCURACY_SHARE = 0.9


@pytest.fixture
def house(db: None, home: Any) -> House:
    return make_house()


@pytest.fixture
def version(house: House) -> ModelVersion:
    return release(house, make_version(house), **LINEAR)


@pytest.fixture
def service() -> Iterator[Service]:
    with observed_by(Service()) as told:
        yield told


def windows(version: ModelVersion) -> list[WatchWindow]:
    with tenant_scope(version.tenant_id):
        return list(version.windows.order_by("number"))


def proposals(version: ModelVersion) -> list[Proposal]:
    with tenant_scope(version.tenant_id):
        return list(watching.remedies(version))


def look(version: ModelVersion) -> dict[str, int]:
    with tenant_scope(version.tenant_id):
        return watcher.look_at(version)


def entries(event: str) -> list[dict[str, Any]]:
    rows = AuditEntry.objects.filter(event=event).order_by("at")
    return [json.loads(bytes(row.body)) for row in rows]


def bad_days(service: Service, *days: int) -> None:
    for ago in days:
        service.day(ago, labels=BAD)


# Figures


@pytest.mark.parametrize(
    ("served", "psi"),
    [
        ([100, 200, 300, 400], 0.0),
        ([20, 20, 30, 30], 0.098083),  # 0.1·ln 2 − 0.1·ln 0.75
        ([40, 30, 20, 10], 0.91287),  # 0.6·ln 4 + 0.2·ln 1.5
        ([0, 0, 0, 500], 5.160389),  # by hand, an empty bin as 0.0001
    ],
)
def test_golden_stability_indices(served: list[int], psi: float) -> None:
    reference = Reference("card", (0.25, 0.5, 0.75), (100, 200, 300, 400), 0.0)
    assert watching.stability(reference, served)[0] == pytest.approx(psi, abs=5e-5)


def test_golden_wilson_interval() -> None:
    accuracy = watching.accuracy_of(WatchWindow(labeled=200, correct=170))
    assert accuracy is not None
    figures = (accuracy.value, round(accuracy.low, 4), round(accuracy.high, 4))
    assert figures == (0.85, 0.7939, 0.8929)  # as scipy.stats.binomtest has them


def test_chance_grows_with_noise_and_shrinks_with_rows() -> None:
    edges = tuple(i / 18 for i in range(1, 18))

    def chance(each: float, noise: float, served: int) -> float:
        reference = Reference("card", edges, (each,) * 18, noise)
        return watching.stability(reference, [served] * 18)[1]

    few, many, noisy = chance(100, 0, 12), chance(100, 0, 1000), chance(100, 40, 1000)
    assert many < few < noisy
    # Yurdakul and Naranjo (2020): (1/n + 1/m)·χ²(17) at 95 %, 27.59.
    assert few == pytest.approx((1 / 216 + 1 / 1800) * 27.59, rel=0.15)
    assert many == pytest.approx((1 / 18000 + 1 / 1800) * 27.59, rel=0.1)
    assert chance(100, 0, 12) == few  # the draws are no secret


def test_noise_of_the_card_alone_is_no_shift() -> None:
    shifted = WatchWindow(psi=0.4, chance=0.5)
    assert not watching.is_shifted(shifted)
    assert watching.is_shifted(WatchWindow(psi=0.4, chance=0.1))
    assert not watching.is_shifted(WatchWindow(psi=0.25, chance=0.1))  # above, not at
    assert watching.findings(WatchWindow()) == [Finding.UNMEASURED]


# Windows


def test_a_window_holds_its_counts_and_says_so_in_the_log(
    version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=(300, 285), scores=EVEN)
    assert look(version) == {"windows": 1, "proposals": 0}
    [window] = windows(version)
    assert (window.number, window.served_from, window.ends_at) == (1, midnight(10), midnight(8))
    assert (window.labeled, window.correct, window.floor) == (300, 285, 0.81)
    assert (window.scores, window.psi, window.reference) == (EVEN, 0.0, "card")
    [entry] = entries("model.window_closed")
    assert entry["actor"] == "system:watch"
    assert entry["tenant"] == str(version.tenant_id)
    assert entry["facts"] == {
        "number": 1, "ends": int(midnight(8).timestamp() * 1e6), "served": 1800, "labeled": 300,
        "correct": 285, "accuracy": "0.950000", "low": "0.919153", "high": "0.969468",
        "floor": "0.810000", "psi": "0.000000", "chance": f"{window.chance:.6f}",
        "reference": "card", "findings": ["steady"],
    }  # fmt: skip
    assert look(version) == {"windows": 0, "proposals": 0}


def test_too_little_goes_on_into_the_next_window(version: ModelVersion, service: Service) -> None:
    service.day(9, labels=(120, 110))
    assert look(version)["windows"] == 0
    service.day(7, labels=(70, 60))
    assert look(version)["windows"] == 0
    service.day(5, labels=(20, 10))
    assert look(version)["windows"] == 1
    [window] = windows(version)
    assert (window.labeled, window.correct) == (210, 180)
    assert (window.labels_from, window.ends_at) == (midnight(10), midnight(4))
    assert (window.scores, window.psi) == (None, None)


def test_scores_need_no_labels_and_labels_wait_for_more(
    version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=(150, 140), scores=EVEN)
    service.day(8, labels=(60, 50), scores=EVEN)
    assert look(version)["windows"] == 2
    first, second = windows(version)
    assert (first.labeled, first.psi) == (None, 0.0)
    assert (second.labeled, second.correct) == (210, 190)
    assert (second.served_from, second.labels_from) == (midnight(8), midnight(10))


def test_a_boundary_counts_once_it_is_settled(version: ModelVersion, service: Service) -> None:
    service.day(9, labels=GOOD)
    with tenant_scope(version.tenant_id):
        assert watching.due(version, midnight(8) + timedelta(minutes=9)) is None
        closing = watching.due(version, midnight(8) + timedelta(minutes=10))
    assert closing is not None
    assert closing.ends_at == midnight(8)


def test_a_label_that_comes_late_counts_when_it_comes(
    version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=GOOD)
    look(version)
    service.labels[midnight(8) + timedelta(hours=1)] = (250, 225)
    look(version)
    assert [window.labeled for window in windows(version)] == [300, 250]


def test_the_schedule_may_change(version: ModelVersion, service: Service, settings: Any) -> None:
    service.day(9, labels=GOOD)
    look(version)
    settings.WATCH_WINDOW_HOURS = 6
    service.day(7, labels=GOOD)
    look(version)
    assert windows(version)[1].ends_at == midnight(7) + timedelta(hours=18)


@pytest.mark.parametrize(
    ("said", "source"),
    [
        (card(counts=None), "window"),
        (card(counts=[2] * 18), "window"),  # noise left too little
        ({}, "window"),
        (card(counts=[-300, *[100] * 17], noise="9.00"), "card"),
    ],
    ids=["no counts", "too few", "no evaluation", "below zero"],
)
def test_what_scores_are_compared_with(
    house: House, service: Service, said: dict[str, Any], source: str
) -> None:
    version = release(house, make_version(house), said=said, **LINEAR)
    service.day(9, scores=EVEN)
    service.day(8, scores=SKEWED)
    look(version)
    first, second = windows(version)
    assert second.reference == source
    assert second.psi is not None
    assert second.psi > 1
    if source == "window":
        assert (first.psi, first.reference) == (None, "")
        assert watching.findings(first) == [Finding.UNMEASURED]
    if not said:  # without a released figure no accuracy is low
        service.day(7, labels=(300, 1))
        look(version)
        assert windows(version)[2].floor is None


def test_windows_are_only_added(version: ModelVersion, service: Service) -> None:
    service.day(9, labels=GOOD)
    look(version)
    with tenant_scope(version.tenant_id), pytest.raises(DatabaseError), transaction.atomic():
        WatchWindow.objects.update(correct=0)


def test_what_another_pass_closed_is_not_closed_twice(
    version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=GOOD)
    with tenant_scope(version.tenant_id):
        closing = watching.due(version, timezone.now())
        assert closing is not None
        actor = watch_of(version.tenant_id)
        close_window(actor, version, closing=closing)
        with pytest.raises(DomainError) as caught:
            close_window(actor, version, closing=closing)
    assert caught.value.stable_code == "watch.done_already"
    assert len(windows(version)) == 1


def test_people_do_not_do_the_watchs_work(
    house: House, version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=GOOD)
    other = make_house("other")
    with tenant_scope(house.id):
        closing = watching.due(version, timezone.now())
        assert closing is not None
        for actor in (house.engineer, house.officer, house.platform, watch_of(other.id)):
            with pytest.raises(RefusedError):
                close_window(cast("SystemActor", actor), version, closing=closing)
    assert windows(version) == []


# Verdicts


def test_three_windows_below_the_threshold_make_one_proposal(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8)
    assert look(version) == {"windows": 2, "proposals": 0}
    bad_days(service, 7)
    assert look(version) == {"windows": 1, "proposals": 1}
    assert look(version) == {"windows": 0, "proposals": 0}
    bad_days(service, 6)
    assert look(version) == {"windows": 1, "proposals": 0}  # one is open
    [proposal] = proposals(version)
    run = version.run
    assert run is not None
    assert proposal.kind == ProposalKind.MODEL_RETRAINING
    assert proposal.proposer_id == run.requested_by_id
    payload = approvals.payload_of(proposal)
    assert payload == {
        "model_version": str(version.id), "window": 3, "finding": "low",
        "dataset_version": str(run.version_id), "purpose": run.purpose, "target": "income",
        "guarantee": "dp", "epsilon": "1.000000", "config": run.config_digest,
        "plan": payload["plan"], "queue": "train.cpu",
    }  # fmt: skip
    [entry] = entries("model.retraining_proposed")
    assert (entry["outcome"], entry["actor"]) == ("done", "system:watch")
    assert entry["facts"]["config"] == run.config_digest
    assert Run._base_manager.count() == 1  # nothing but a proposal was made
    with tenant_scope(version.tenant_id):
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.engineer, proposal)
        assert caught.value.stable_code == "permission.role_missing"
        with pytest.raises(DomainError) as caught:  # another pass, which looked before
            propose_rollback(
                watch_of(house.id), version, called_for=Decline(3, Finding.LOW), because="x"
            )
    assert caught.value.stable_code == "watch.done_already"
    assert len(proposals(version)) == 1


def test_a_good_window_between_starts_the_count_again(
    version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8)
    service.day(7, labels=GOOD)
    bad_days(service, 6, 5)
    assert look(version) == {"windows": 5, "proposals": 0}


def test_missed_passes_judge_window_by_window(version: ModelVersion, service: Service) -> None:
    bad_days(service, 9, 8, 7)
    service.day(6, labels=GOOD)
    assert look(version) == {"windows": 4, "proposals": 1}
    assert approvals.payload_of(proposals(version)[0])["window"] == 3


def test_one_shifted_window_is_enough(version: ModelVersion, service: Service) -> None:
    service.day(9, scores=EVEN)
    service.day(8, scores=SKEWED)
    assert look(version) == {"windows": 2, "proposals": 1}
    assert approvals.payload_of(proposals(version)[0])["finding"] == "shifted"


def test_killed_between_window_and_proposal(
    version: ModelVersion, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    bad_days(service, 9, 8)
    look(version)
    bad_days(service, 7)
    with monkeypatch.context() as patch:
        patch.setattr(watcher, "propose_retraining", die)
        with pytest.raises(KeyboardInterrupt):
            look(version)
    assert (len(windows(version)), proposals(version)) == (3, [])
    assert look(version) == {"windows": 0, "proposals": 1}
    assert look(version) == {"windows": 0, "proposals": 0}
    assert len(proposals(version)) == 1


def test_what_was_rejected_waits_for_new_evidence(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8, 7)
    look(version)
    with tenant_scope(house.id):
        reject_proposal(house.officer, proposals(version)[0])
    assert look(version) == {"windows": 0, "proposals": 0}
    bad_days(service, 6)
    assert look(version) == {"windows": 1, "proposals": 1}
    assert len(proposals(version)) == 2


# Where the request cannot be made again


def _spend(version: ModelVersion) -> str:
    Budget.objects.update(epsilon_cap="1.2")
    return "budget.exceeded"


def _lower_cap(version: ModelVersion) -> str:
    Budget.objects.update(epsilon_cap="0.5")
    return "budget.over_cap"


def _take_purpose(version: ModelVersion) -> str:
    PurposeGrant.objects.all().delete()
    return "purpose.not_granted"


def _redeclare(version: ModelVersion) -> str:
    assert version.run is not None
    dataset = version.run.version.dataset
    dataset.declarations["columns"]["age"]["high"] = 91
    dataset.save()
    write_run(version.run.version, assess(version.run.version))  # the contract follows from them
    return "run.declarations_changed"


def _no_quality(version: ModelVersion) -> str:
    from governance.models import QualityRun

    QualityRun.objects.update(run_at=timezone.now() - timedelta(days=31))
    return "quality.not_checked"


@pytest.mark.parametrize("what", [_spend, _lower_cap, _take_purpose, _redeclare, _no_quality])
def test_what_cannot_be_trained_again_is_to_be_withdrawn(
    house: House, version: ModelVersion, service: Service, what: Any
) -> None:
    bad_days(service, 9, 8, 7)
    with tenant_scope(house.id):
        code = what(version)
    version = _fresh(version)
    assert look(version) == {"windows": 3, "proposals": 1}
    [proposal] = proposals(version)
    assert proposal.kind == ProposalKind.MODEL_ROLLBACK
    payload = approvals.payload_of(proposal)
    assert (payload["because"], payload["to"]) == (code, None)
    assert entries("model.retraining_proposed")[0]["reason"] == code
    assert entries("model.rollback_proposed")[0]["facts"]["because"] == code
    approve(house, proposal)
    assert _fresh(version).state == ModelState.WITHDRAWN
    assert BudgetEntry._base_manager.count() == 1  # the first run's reservation


def test_a_rollback_leads_to_the_version_before(house: House, service: Service) -> None:
    dataset = make_version(house)
    first = release(house, dataset, **LINEAR)
    second = release(house, dataset, **LINEAR)
    with tenant_scope(house.id):
        Budget.objects.update(epsilon_cap="1.5")
    bad_days(service, 9, 8, 7)
    assert look(second)["proposals"] == 1
    assert look(first)["proposals"] == 0  # is not served
    [proposal] = proposals(second)
    assert approvals.payload_of(proposal)["to"] == str(first.id)
    with tenant_scope(house.id):
        approve_proposal(house.officer, proposal)
        withdraw_model(house.officer, first)  # meanwhile
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.owner, proposal)
    assert caught.value.stable_code == "approval.payload_changed"
    assert _fresh(second).state == ModelState.RELEASED


# What follows from an approval


def test_an_approval_queues_the_run_that_was_read(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8, 7)
    look(version)
    [proposal] = proposals(version)
    approve(house, proposal)
    with tenant_scope(house.id):
        first, again = Run.objects.order_by("created_at")
        assert (again.state, again.config_digest) == (RunState.QUEUED, first.config_digest)
        assert (again.model_name, again.epsilon) == (first.model_name, first.epsilon)
        assert again.requested_by_id == first.requested_by_id
        assert Job.objects.filter(subject=again.reference, kind="train").count() == 1
        assert BudgetEntry.objects.filter(run=again, kind="reserve").count() == 1
    bad_days(service, 6)
    assert look(version) == {"windows": 1, "proposals": 0}  # it is under way
    leases.run_here(again.reference)
    with tenant_scope(house.id):
        made = ModelVersion.objects.get(run=again)
        assert (made.model_id, made.number) == (version.model_id, 2)
        counts = made.card["evaluation"]["release"]["score_counts"]
        assert [len(row) for row in counts] == [18, 18]
        measured = float(made.card["evaluation"]["accuracy"]["value"])
        assert watching.floor_of(made) == pytest.approx(0.9 * measured, abs=1e-6)
    bad_days(service, 5)
    assert look(version) == {"windows": 1, "proposals": 0}  # its model waits for its release
    with tenant_scope(house.id):
        withdraw_model(house.officer, made)
    assert look(version) == {"windows": 0, "proposals": 1}


def test_what_changed_since_is_not_run(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8, 7)
    look(version)
    [proposal] = proposals(version)
    with tenant_scope(house.id), leases.doing_it_here():
        approve_proposal(house.officer, proposal)
        Budget.objects.update(epsilon_cap="1.2")
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.owner, proposal)
        assert caught.value.stable_code == "budget.exceeded"
        Budget.objects.update(epsilon_cap="10", delta="0.000001")
        with pytest.raises(DomainError) as caught:
            approve_proposal(house.owner, proposal)
    assert caught.value.stable_code == "approval.payload_changed"
    assert Run._base_manager.count() == 1


def test_for_what_was_not_trained_here_nothing_is_proposed(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8, 7)
    with tenant_scope(house.id):
        ModelVersion.objects.update(run=None)
    assert look(_fresh(version)) == {"windows": 3, "proposals": 0}
    assert entries("model.retraining_proposed") == []  # nor tried, pass after pass


def test_a_withdrawn_version_is_not_watched(
    house: House, version: ModelVersion, service: Service
) -> None:
    bad_days(service, 9, 8, 7)
    with tenant_scope(house.id):
        withdraw_model(house.officer, version)
    assert watcher.look_at_all() == {"windows": 0, "proposals": 0}


def test_one_version_keeps_no_other_waiting(house: House, service: Service) -> None:
    broken = release(house, make_version(house), said={"evaluation": "none"}, **LINEAR)
    fine = release(house, make_version(house, "others"), **LINEAR)
    service.day(9, labels=GOOD)
    assert watcher.look_at_all() == {"windows": 1, "proposals": 0}
    assert (len(windows(broken)), len(windows(fine))) == (0, 1)
    assert watcher.look_at_all(model="nobody") == {"windows": 0, "proposals": 0}


def _fresh(version: ModelVersion) -> ModelVersion:
    with tenant_scope(version.tenant_id):
        found: ModelVersion = ModelVersion.objects.select_related("run__version__dataset").get(
            pk=version.pk
        )
    return found


def test_the_schedule_is_counted_from_the_epoch() -> None:
    assert watching._next_boundary(datetime(2026, 11, 22, tzinfo=UTC)) == datetime(
        2026, 11, 23, tzinfo=UTC
    )


# Inputs


def inputs(young: int, old: int) -> dict[str, dict[str, int]]:
    """250 answers of the age, and of a city that never moves."""
    return {"age": {"1": young, "7": old}, "city": {"0": 125, "1": 125}}


def test_a_shift_of_inputs_is_a_finding_and_calls_for_a_remedy(
    version: ModelVersion, service: Service
) -> None:
    service.day(9, labels=GOOD, inputs=inputs(200, 50))
    service.day(8, labels=GOOD, inputs=inputs(190, 60))
    assert look(version) == {"windows": 2, "proposals": 0}
    service.day(7, labels=GOOD, inputs=inputs(50, 200))
    assert look(version) == {"windows": 1, "proposals": 1}
    first, second, third = windows(version)
    assert (first.inputs, first.input_drift) == (inputs(200, 50), None)
    assert watching.findings(second) == [Finding.STEADY]
    assert watching.findings(third) == [Finding.INPUTS]
    assert third.input_drift is not None
    assert [one["feature"] for one in third.input_drift] == ["age", "city"]
    # 2 · 0.6 · ln 4
    assert third.input_drift[0]["psi"] == pytest.approx(1.663553, abs=1e-6)
    assert approvals.payload_of(proposals(version)[0])["finding"] == "inputs"
    facts = entries("model.window_closed")[-1]["facts"]
    assert (facts["inputs"], facts["input_psi"]) == (250, "1.663553")
    assert facts["inputs_shifted"] == 1
    assert look(version) == {"windows": 0, "proposals": 0}


def test_too_few_inputs_go_on_into_the_next_window(version: ModelVersion, service: Service) -> None:
    few = {"age": {"1": 120}}
    for ago in (9, 8, 7):
        service.day(ago, labels=GOOD, inputs=few)
    assert look(version) == {"windows": 3, "proposals": 0}
    first, second, third = windows(version)
    assert (first.inputs, second.inputs, third.inputs) == (None, {"age": {"1": 240}}, None)
    assert all(watching.findings(one) == [Finding.STEADY] for one in (first, second, third))


def test_inputs_alone_close_no_window(version: ModelVersion, service: Service) -> None:
    """They come with answers: what has none was not served."""
    service.day(9, inputs=inputs(200, 50))
    assert look(version) == {"windows": 0, "proposals": 0}


def test_killed_between_a_shift_of_inputs_and_its_proposal(
    version: ModelVersion, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    service.day(9, labels=GOOD, inputs=inputs(200, 50))
    look(version)
    service.day(8, labels=GOOD, inputs=inputs(50, 200))
    with monkeypatch.context() as patch:
        patch.setattr(watcher, "propose_retraining", die)
        with pytest.raises(KeyboardInterrupt):
            look(version)
    assert (len(windows(version)), proposals(version)) == (2, [])
    assert look(version) == {"windows": 0, "proposals": 1}
    assert look(version) == {"windows": 0, "proposals": 0}
    assert len(proposals(version)) == 1
