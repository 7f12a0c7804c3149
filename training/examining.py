"""One examination, between its request and its end: read, attack, and release what may leave.

    loss      the model's losses on a balanced sample of its training rows and of held-out rows.
              Not public: noisy counts, written ahead before a row is read. Public: exact
    lira      shadow models of the same configuration, each on a random half of all rows; the other
              half is the next one's, so that every record is missing from every second model
    engine    canaries through the training loop with the run's own q, T, σ and C

Where a worker dies, the job is taken again, up to `CLAIMS` times. What was written ahead is not
written twice: the counts that the dead worker drew were in its memory alone, so what the next one
draws is still the one release that was paid for. A worker that lost its lease cannot commit its
own. Rows exist in the clear here only, in memory, and only those of a sealed version.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn

from audit.canonical import decimal
from audit.errors import DomainError
from governance import leases
from governance.errors import LostLeaseError
from governance.leases import Lease
from governance.models import DatasetVersion
from governance.pulse import Pulse
from governance.rbac import examining_worker
from governance.scoping import tenant_scope
from governance.vault import open_object
from training import ledger, members
from training.accounting import epsilon, rdp_of
from training.actions.examinations import finish_examination, stop_examination
from training.admission import check_purpose
from training.artifacts import Artifact, from_bytes
from training.auditing import canaries
from training.auditing.membership import lira
from training.auditing.released import Claim, Membership, from_scores, noisy_threshold_attack
from training.auditing.verdict import Verdict, audit_engine
from training.charges import covers
from training.clipping import ClosedForm
from training.config import ModelKind, Plan
from training.dpsgd import binary_loss
from training.errors import ExaminationError, ExaminationStateError
from training.examination import Examination, ExaminationKind
from training.inputs import ahead_of, inputs_of, network_of
from training.learning import learn
from training.mechanisms import Purpose
from training.models import Guarantee, Run
from training.planning import is_public
from training.randomness import fresh_secret, secure_source
from training.reading import read
from training.units import Unit
from training.write_ahead import write_ahead

CLAIMS: Final = 3  # workers that an examination may cost
SAMPLE: Final = 5_000  # records of each side
_DRAWS: Final = 5.0  # expected draws of a record, and records of a step, that the draws' test needs
_CANARIES: Final = 1_000
_HARDLY_ANY: Final = 1e-6  # noise of numbers of rows, where the run had no guarantee
_CELLS: Final = 5_000_000  # of the table of draws: 40 MB
_log: Final = logging.getLogger(__name__)

Vector = npt.NDArray[np.float64]


def work(job_id: UUID) -> None:
    """Claim an examination's job, carry it out, and write down how it ended.

    Nothing is raised for what went wrong with it: its state and the log say that. A job that
    somebody else has, or that has ended, is left alone; a lost lease writes nothing more.
    """
    lease = leases.claim(job_id)
    if lease is None:
        return
    with tenant_scope(lease.tenant_id):
        examination = Examination.objects.select_related(
            "run", "version__artifact", "version__run__version__dataset"
        ).get(pk=lease.subject.partition(":")[2])
        try:
            _Attempt(examination, lease).carry_out()
        except LostLeaseError:
            _log.warning("job %s went to another worker", job_id)
        except DomainError as error:
            _stop(examination, lease, error.stable_code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not hang
            # The type alone: a message may quote the cell that it choked on.
            _log.error("%s failed: %s", examination.reference, type(error).__name__)
            _stop(examination, lease, "internal")


def _stop(examination: Examination, lease: Lease, code: str) -> None:
    try:
        stop_examination(
            examining_worker(examination.tenant_id), examination, lease=lease, code=code
        )
    except LostLeaseError:
        _log.warning("job %s went to another worker", lease.job_id)


@dataclass(frozen=True)
class _Rows:
    """A sealed version's rows as the model reads them, and a balanced sample of both sides.

    Of a person with several rows, the first alone: one cell of each count is theirs.

    Attributes:
        features: (n, …) of every unit's row, held-out ones included.
        labels: (n,) NaN where a row has no usable label.
        members, outsiders: indexes of sampled training rows, and of as many held-out rows.
    """

    features: torch.Tensor
    labels: torch.Tensor
    members: npt.NDArray[np.int_]
    outsiders: npt.NDArray[np.int_]


class _Attempt:
    """One examination, under one lease."""

    def __init__(self, examination: Examination, lease: Lease) -> None:
        self.examination = examination
        self.lease = lease
        self.version = examination.version
        self.trained: Run = self._trained_by()
        self.data: DatasetVersion = self.trained.version
        self._done = 0
        self._known: _Rows | None = None

    def carry_out(self) -> None:
        """From the claim to `finish_examination`."""
        if self.lease.fence > CLAIMS:
            raise ExaminationStateError(
                "several workers died over this examination", code="examination.worker_lost"
            )
        check_purpose(self.data, self.trained.purpose)
        found: dict[str, dict[str, Any]] = {}
        doing: dict[str, Callable[[Artifact], tuple[dict[str, Any], list[str]]]] = {
            ExaminationKind.LOSS: self._loss,
            ExaminationKind.LIRA: self._lira,
            ExaminationKind.ENGINE: self._engine,
        }
        objections: list[str] = []
        with Pulse(self.lease):
            artifact = self._artifact()
            for kind in self.examination.kinds:
                self._beat(kind)
                found[kind], against = doing[kind](artifact)
                objections += [f"{kind}.{name}" for name in against]
                self._done += 1
            self._beat("finish")
            figures = {
                "model": self.version.reference,
                "artifact": self.version.artifact_digest,
                "claim": self._claim_told(),
                **found,
                "objections": objections,
            }
            finish_examination(
                examining_worker(self.examination.tenant_id),
                self.examination,
                lease=self.lease,
                figures=figures,
            )

    def _trained_by(self) -> Run:
        run = self.version.run
        if run is None:
            raise ExaminationError("this model was not trained here", code="examination.no_run")
        return run

    def _artifact(self) -> Artifact:
        with open_object(self.version.artifact) as reader:
            return from_bytes(reader.read(), expected=self.version.artifact_digest)

    def _delta(self) -> float:
        """δ of the dataset's budget: a run with a DP guarantee was reserved from it."""
        return float(self.data.dataset.budget.delta)

    def _claim(self) -> Claim | None:
        """What the model's run promises each record; nothing without a DP guarantee.

        Of an ensemble: what its members' runs and its own promise together.
        """
        if self.version.guarantee != Guarantee.DP:
            return None
        delta = self._delta()
        return Claim(ledger.spent_together(members.runs_behind(self.version), delta), delta)

    def _claim_told(self) -> dict[str, str] | None:
        claim = self._claim()
        return (
            None
            if claim is None
            else {"epsilon": decimal(claim.epsilon), "delta": decimal(claim.delta, 15)}
        )

    def _loss(self, artifact: Artifact) -> tuple[dict[str, Any], list[str]]:
        """The loss threshold attack: of noisy counts, or exact where nobody is behind the rows."""
        account = self.examination.run
        if account is None:
            self._check_public()
            losses = _losses(artifact, self._rows(artifact))
            inside, outside = (side[~np.isnan(side)] for side in losses)
            return _told(from_scores(-inside, -outside, self._claim()))
        known = ledger.account(account, account.attempt)
        if not covers(known.ahead, known.reserved):  # a worker that died may have
            write_ahead(account, account.attempt, known.reserved, self.lease)
        inside, outside = _losses(artifact, self._rows(artifact))
        mechanism = known.reserved[0].mechanism
        return _told(
            noisy_threshold_attack(inside, outside, mechanism, secure_source(), self._claim())
        )

    def _lira(self, artifact: Artifact) -> tuple[dict[str, Any], list[str]]:
        """The likelihood ratio attack against shadow models of our own engine: exact figures."""
        if self.version.guarantee != Guarantee.WAIVED:
            self._check_public()
        rows = self._rows(artifact)
        usable = np.flatnonzero(torch.isfinite(rows.labels).numpy())
        sampled = np.concatenate([rows.members, rows.outsiders])
        asked = sampled[np.isin(sampled, usable)]
        losses, included = [], []
        for pair in range(self.examination.shadows // 2):
            order = usable[np.argsort(secure_source().gaussian(len(usable)), kind="stable")]
            middle = len(order) // 2
            for place, half in enumerate((order[:middle], order[middle:])):
                self._beat(ExaminationKind.LIRA)
                shadow = self._shadow(artifact, rows, half)
                losses.append(_losses_at(shadow, rows, asked))
                included.append(np.isin(asked, half))
                self._done += 1
                _log.info("shadow model %d of %s", 2 * pair + place + 1, self.examination.pk)
        scores = lira(
            _losses_at(artifact.network, rows, asked), np.array(losses), np.array(included)
        )
        of_members = np.isin(asked, rows.members)
        found, against = _told(from_scores(scores[of_members], scores[~of_members], self._claim()))
        return {**found, "shadows": self.examination.shadows}, against

    def _shadow(self, artifact: Artifact, rows: _Rows, half: npt.NDArray[np.int_]) -> nn.Module:
        """A network trained as the model was, on some of the rows."""
        network = network_of(artifact.config, artifact.spec)
        bought = [one for one in artifact.plan.paid if one.purpose is Purpose.HISTOGRAM]
        made = learn(
            network,
            ahead_of(network, rows.features[half]),
            rows.labels[half],
            plan=replace(artifact.plan, rows=len(half), unit=Unit.RECORD),
            config=artifact.config,
            spec=artifact.spec,
            histogram_noise=bought[0].noise_multiplier if bought else _HARDLY_ANY,
            secret=fresh_secret(),
            on_block=lambda _: None,  # nothing of it leaves but in figures that may be exact
        )
        network.load_state_dict(made.state)
        return network.eval()

    def _engine(self, artifact: Artifact) -> tuple[dict[str, Any], list[str]]:
        """The audit of the loop with this run's q, T, σ and C, on invented records."""
        if artifact.config.model is ModelKind.EBM:
            raise ExaminationError(
                "canaries go through the loop of DP-SGD, which did not train this model",
                code="examination.no_engine",
            )
        closed = ClosedForm.takes(network_of(artifact.config, artifact.spec))
        path = canaries.Path.CLOSED if closed else canaries.Path.HOOKED
        plan = engine_plan(artifact.plan)
        delta = self._delta()
        verdict = audit_engine(plan, epsilon(rdp_of(plan), delta), delta, [fresh_secret()], path)
        testable = draws_testable(plan)
        told = {
            **verdict.as_dict(),
            "draws_testable": testable,
            "steps_of_run": artifact.plan.steps,
        }
        return told, _broken(verdict, testable=testable)

    def _rows(self, artifact: Artifact) -> _Rows:
        """The columns that the model reads, of every row, and who is sampled."""
        if self._known is None:
            spec = artifact.spec
            parts = read(self.data, [*spec.names, spec.target.column], artifact.plan.unit)
            inside, outside = len(parts.counted), len(parts.held_out)
            table = pl.concat([parts.counted, parts.held_out])
            size = min(SAMPLE, inside, outside)
            self._known = _Rows(
                inputs_of(artifact.config, spec, table),
                torch.from_numpy(spec.encode_target(table)),
                _some(np.arange(inside), size),
                _some(np.arange(inside, inside + outside), size),
            )
        return self._known

    def _check_public(self) -> None:
        """Refuse exact figures of rows that were public when they were asked for, and are not."""
        if not is_public(self.data.dataset.declarations):
            raise ExaminationError(
                "these rows are not declared public any more", code="examination.not_private"
            )

    def _beat(self, stage: str) -> None:
        self.lease.beat(stage=stage, done=self._done)


def engine_plan(plan: Plan) -> Plan:
    """The run's plan, of canaries in place of its rows.

    As many canaries as a step needs for the test of its draws, and of a long run as many steps as
    the table of draws has room for: q, σ and C stay, and the claim is of the steps that run.
    """
    wanted = int(np.ceil(2 * _DRAWS / plan.sample_rate))
    rows = min(canaries.MOST, max(_CANARIES, wanted))
    return replace(
        plan,
        rows=rows,
        steps=min(plan.steps, _CELLS // rows),
        paid=(),
        unit=Unit.RECORD,
        stopping=0,  # one trial, where there were several
    )


def draws_testable(plan: Plan) -> bool:
    """Whether there are draws enough for the approximations of `auditing.participation`."""
    return min(plan.steps, plan.rows) * plan.sample_rate >= _DRAWS


def _broken(verdict: Verdict, *, testable: bool) -> list[str]:
    """Which checks the engine failed, out of those that can be judged."""
    failed = [name for name, holds in verdict.checks.items() if not holds]
    return [name for name in failed if testable or name != "poisson"]


def _told(found: Membership) -> tuple[dict[str, Any], list[str]]:
    return found.as_dict(), ["ceiling"] if found.refutes else []


def _some(places: npt.NDArray[np.int_], size: int) -> npt.NDArray[np.int_]:
    """`size` of the places, each set as likely as any other."""
    order = np.argsort(secure_source().gaussian(len(places)), kind="stable")
    return places[order[:size]]


def _losses(artifact: Artifact, rows: _Rows) -> tuple[Vector, Vector]:
    """The model's losses on both sides' samples, NaN where a row has no usable label."""
    return (
        _losses_at(artifact.network, rows, rows.members),
        _losses_at(artifact.network, rows, rows.outsiders),
    )


def _losses_at(network: nn.Module, rows: _Rows, places: npt.NDArray[np.int_]) -> Vector:
    """(n,) losses of some rows."""
    with torch.inference_mode():
        logits = network(rows.features[places]).double()
        losses: Vector = binary_loss(logits, rows.labels[places].double()).numpy()
    return losses
