"""What the watch over released models writes: a closed window, and the remedy that it proposes."""

from typing import Any

from django.utils import timezone

from audit.canonical import decimal
from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.models import Proposal
from governance.permissions import Permission, ProposalKind
from governance.rbac import SystemActor
from training import ledger, retraining, watching
from training.errors import ModelStateError, RunRefusedError, WatchError
from training.input_bins import answers_in
from training.models import ModelState, ModelVersion, Run, WatchWindow
from training.watching import Closing, Decline


@action(Event.WINDOW_CLOSED, requires=Permission.MODEL_WATCH)
def close_window(
    record: Record, actor: SystemActor, version: ModelVersion, *, closing: Closing
) -> WatchWindow:
    """Write a window with its figures.

    Raises:
        WatchError: another pass closed it.
        ModelStateError: the version was withdrawn meanwhile.
    """
    del actor
    _locked(version)
    last = WatchWindow.objects.filter(version=version).order_by("number").last()
    if closing.number != (1 if last is None else last.number + 1):
        raise WatchError("another pass closed this window")
    window = WatchWindow.objects.create(
        tenant_id=version.tenant_id,
        version=version,
        number=closing.number,
        served_from=closing.served_from,
        labels_from=closing.labels_from,
        ends_at=closing.ends_at,
        scores=closing.scores,
        psi=closing.psi,
        chance=closing.chance,
        reference=closing.reference,
        labeled=closing.labeled,
        correct=closing.correct,
        floor=closing.floor,
        inputs=closing.inputs,
        input_drift=closing.input_drift,
    )
    record.facts(
        number=window.number,
        ends=int(window.ends_at.timestamp() * 1_000_000),
        findings=[finding.value for finding in watching.findings(window)],
        **_figures(window),
    )
    return window


@action(Event.RETRAINING_PROPOSED, requires=Permission.MODEL_WATCH)
def propose_retraining(
    record: Record, actor: SystemActor, version: ModelVersion, *, called_for: Decline
) -> Proposal:
    """Propose the version's own request again, on the newest sealed version of its dataset.

    In the name of the engineer who made the request; officer and tenant admin decide. Nothing is
    reserved until they have.

    Raises:
        WatchError: another pass proposed a remedy.
        ModelStateError: the version was withdrawn meanwhile.
        RefusedError, RunRefusedError, ConfigError, FeatureError, BudgetError: the request cannot be
            made again (`training.retraining.same_again`).
    """
    del actor
    first = _first_run(_unanswered(version))
    newest = retraining.newest_sealed(first)
    run = retraining.same_again(version, newest, ledger.budget_of(newest.dataset))
    said = retraining.told(run)
    proposal = approvals.propose(
        ProposalKind.MODEL_RETRAINING,
        version,
        {**_called(version, called_for), **said},
        proposer_id=first.requested_by_id,
        tenant_id=version.tenant_id,
    )
    record.facts(
        proposal=proposal.reference,
        window=called_for.window,
        finding=called_for.finding.value,
        version=run.version.reference,
        epsilon=said["epsilon"],
        config=said["config"],
        plan=said["plan"],
    )
    return proposal


@action(Event.ROLLBACK_PROPOSED, requires=Permission.MODEL_WATCH)
def propose_rollback(
    record: Record, actor: SystemActor, version: ModelVersion, *, called_for: Decline, because: str
) -> Proposal:
    """Propose that the version be withdrawn: the one released before it is served, or none.

    Args:
        record: filled here.
        actor: the watch.
        version: what declines.
        called_for: the window and what it found.
        because: the code of what keeps it from being trained again.

    Raises:
        WatchError: another pass proposed a remedy.
        ModelStateError: the version was withdrawn meanwhile.
        RunRefusedError: `run.not_trained_here`: there is nobody in whose name to propose.
    """
    del actor
    first = _first_run(_unanswered(version))
    after = retraining.next_best(version)
    proposal = approvals.propose(
        ProposalKind.MODEL_ROLLBACK,
        version,
        {
            **_called(version, called_for),
            "because": because,
            "artifact": version.artifact_digest,
            "to": None if after is None else str(after.id),
        },
        proposer_id=first.requested_by_id,
        tenant_id=version.tenant_id,
    )
    record.facts(
        proposal=proposal.reference,
        window=called_for.window,
        finding=called_for.finding.value,
        because=because,
        artifact=version.artifact_digest,
        **({} if after is None else {"to": after.reference}),
    )
    return proposal


def _locked(version: ModelVersion) -> ModelVersion:
    found: ModelVersion = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if found.state != ModelState.RELEASED:
        raise ModelStateError(f"this model version is {found.state}")
    return found


def _unanswered(version: ModelVersion) -> ModelVersion:
    """The version under its row lock, if nobody has proposed a remedy meanwhile."""
    found = _locked(version)
    if watching.open_remedy(found, timezone.now()) or watching.decline(found) is None:
        raise WatchError("a remedy was proposed already")
    return found


def _first_run(version: ModelVersion) -> Run:
    if version.run is None:
        raise RunRefusedError("this version was not trained here", code="run.not_trained_here")
    return version.run


def _called(version: ModelVersion, called_for: Decline) -> dict[str, Any]:
    return {
        "model_version": str(version.id),
        "window": called_for.window,
        "finding": called_for.finding.value,
    }


def _figures(window: WatchWindow) -> dict[str, Any]:
    """The facts of what was measured, and of nothing else."""
    facts: dict[str, Any] = {}
    accuracy = watching.accuracy_of(window)
    if accuracy is not None:
        facts |= {
            "labeled": window.labeled,
            "correct": window.correct,
            "accuracy": decimal(accuracy.value),
            "low": decimal(accuracy.low),
            "high": decimal(accuracy.high),
        }
    if window.scores is not None:
        facts["served"] = sum(window.scores)
    for name in ("floor", "psi", "chance"):
        if getattr(window, name) is not None:
            facts[name] = decimal(getattr(window, name))
    if window.reference:
        facts["reference"] = window.reference
    if window.inputs is not None:
        facts["inputs"] = answers_in(window.inputs)
    if window.input_drift:
        worst = window.input_drift[0]
        facts["input_psi"] = decimal(worst["psi"])
        facts["input_chance"] = decimal(worst["chance"])
        facts["inputs_shifted"] = len(watching.moved_inputs(window))
    return facts
