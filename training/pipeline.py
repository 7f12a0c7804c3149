"""One attempt of a run, between `begin_run` and `finish_run`: read, train, evaluate, seal.

The rule at every step: what is about to touch the data is in the ledger first. So wherever this
process dies, the dataset is charged with at least what happened; and before anything is written
ahead, a checkpoint holds what all draws follow from:

    before the first checkpoint    the attempt costs nothing; who takes it over begins again
    after it                       who takes it over draws what was paid for again, as it was, goes
                                   on from the last snapshot, and pays for what is new
    a checkpoint that is damaged   the attempt is stopped at the price of what was written ahead;
                                   trying again is a person's decision
    after `finish_run` committed   the run is finished; a second message finds the job ended

Rows exist in the clear here only, in memory, and only those of a sealed version.
"""

import logging
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import polars as pl
import torch
from django.conf import settings

from audit.canonical import digest
from audit.errors import DomainError
from governance import leases
from governance.errors import LostLeaseError
from governance.leases import Lease
from governance.models import StoredObject, Tenant
from governance.pulse import Pulse
from governance.rbac import SystemActor, training_worker
from governance.scoping import tenant_scope
from governance.vault import ObjectWriter, discard
from training import checkpoints, ledger
from training.accounting import PLD_LABEL, epsilon, rdp_of
from training.actions.attempts import Made, begin_run, finish_run, stop_run
from training.admission import TRAIN
from training.artifacts import Artifact, from_bytes, to_bytes
from training.backgrounds import ORIGIN, synthetic_background
from training.bounds import buy_bounds
from training.cards import model_card
from training.charges import Charge, Part, covers, training_steps
from training.checkpoints import Kept
from training.columns import columns_of
from training.combining import combined, sections
from training.compression import MeasuredForm, compress, rows_a_second
from training.config import Guarantee, ModelKind, Plan, TrainingConfig
from training.declarations import Declared
from training.distributed import devices
from training.distributed.devices import Place
from training.distributed.supervisor import Calls
from training.dpsgd import Progress, Snapshot, Trained
from training.errors import EngineError, RunStateError
from training.evaluation import Metrics, NoisyCounts, check_classes, count, measure
from training.features import FeatureSpec, column_of
from training.inputs import inputs_of
from training.learning import Material, fit, probabilities
from training.mechanisms import Mechanism, Purpose
from training.models import Run, RunPoint, RunState
from training.planning import check_unchanged, with_features
from training.randomness import fresh_secret
from training.reading import Rows, read
from training.searching import Found, Searched, Trials, search
from training.units import Units
from training.unprotected import MeasuredTwin, Twin, measured, train_twin
from training.write_ahead import write_ahead

CLAIMS: Final = 3  # workers that an attempt may cost before it wrote anything
BACKGROUND_ROWS: Final = 32
BACKGROUND_SEED: Final = 0
# A release without a guarantee: noise that changes no count. Never in a ledger.
_NO_NOISE: Final = 1e-6
_log: Final = logging.getLogger(__name__)


def work(job_id: UUID) -> None:
    """Claim this run's job, carry its attempt out, and write down how it ended.

    Nothing is raised for what went wrong with the run: its state and the log say it. A job that
    somebody else has, that has ended, or whose tenant is at its limit is left alone; a lost lease
    writes nothing more. A job whose devices others have is left waiting.
    """
    _work(job_id, leases.claim)


def work_next(job_id: UUID) -> None:
    """As `work`, of the best job in the queue of this one: a message is a permission to work.

    Devices are taken for one job before it is claimed, so where there are any it is this one.
    """
    _work(job_id, leases.claim_next)


def _work(job_id: UUID, claim: Callable[[UUID], Lease | None]) -> None:
    place = devices.place(job_id)
    if place is None:
        return
    with place:
        lease = claim(job_id) if place.held is None else leases.claim(job_id)
        if lease is None:
            _log.info("job %s found nothing that may be done now", job_id)
            return
        _carry_out(lease, place)
    leases.send_next(TRAIN)  # the place that is free now may be what another waited for


def _carry_out(lease: Lease, place: Place) -> None:
    with tenant_scope(lease.tenant_id):
        run = Run.objects.select_related("version__dataset", "tenant").get(
            pk=lease.subject.partition(":")[2]
        )
        try:
            _Attempt(run, lease, place).carry_out()
        except LostLeaseError:
            _log.warning("job %s went to another worker", lease.job_id)
        except _Cancelled:
            _stop(run, lease, RunState.CANCELLED, "run.cancelled")
        except DomainError as error:
            _stop(run, lease, RunState.FAILED, error.stable_code)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not hang
            # Type and place alone: a parser's message may quote the cell that it choked on.
            _log.error("%s failed: %s", run.reference, _place(error))
            _stop(run, lease, RunState.FAILED, "internal")


class _Cancelled(Exception):  # noqa: N818 - somebody's wish, not an error
    """Somebody asked this run to stop."""


def _place(error: Exception) -> str:
    """An error's type, where it was raised, and the last line of this package that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).parent == Path(__file__).parent]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (frames[-1], *ours[-1:])]
    return f"{type(error).__name__} at {' from '.join(dict.fromkeys(places))}"


def _stop(run: Run, lease: Lease, state: RunState, code: str) -> None:
    try:
        stop_run(training_worker(run.tenant_id), run, lease=lease, state=state, code=code)
    except LostLeaseError:
        _log.warning("job %s went to another worker", lease.job_id)


@dataclass(frozen=True)
class _Scored:
    """What is known about the held-out rows."""

    counts: NoisyCounts
    metrics: Metrics
    forms: tuple[MeasuredForm, ...]
    twin: MeasuredTwin | None


class _Attempt:
    """The newest attempt of one run, under one lease."""

    def __init__(self, run: Run, lease: Lease, place: Place) -> None:
        self.run = run
        self.lease = lease
        self.place = place
        self.worker: SystemActor = training_worker(run.tenant_id)
        self.plan = Plan.from_dict(run.plan)
        self.config = TrainingConfig.from_dict(run.config_json())
        self.private = self.plan.guarantee is Guarantee.DP
        self.kept = Kept(fresh_secret())
        self.paid: tuple[Charge, ...] = ()  # by a worker that died
        self.found: Found | None = None  # by a search
        self._taken_up = False
        self._kept_at = -math.inf

    def carry_out(self) -> None:
        """From the claim to `finish_run`."""
        self._look_around()
        declared = check_unchanged(self.run)
        self.run = begin_run(
            self.worker,
            self.run,
            lease=self.lease,
            noise_source=self.kept.secret.name.split()[0],
            step=self.kept.step,
        )
        with Pulse(self.lease):
            if not self._taken_up:
                checkpoints.keep(self.run, self.kept, self.lease)
            self._beat("read", 0)
            rows = self._read(declared)
            curve: Sequence[Progress] = ()
            if self.config.model is ModelKind.ENSEMBLE:
                stored_bytes = combined(self.run, self.config, self.plan)
            else:
                stored_bytes, curve = self._learned(declared, rows)
            artifact = from_bytes(stored_bytes)
            self._beat("evaluate", artifact.executed)
            twin = self._twin(artifact.spec, rows)
            scored = self._evaluate(artifact, declared, rows.held_out, twin)
            made = self._made(artifact, stored_bytes, curve, scored, declared)
            self._finish(made)

    def _learned(self, declared: Declared, rows: Rows) -> tuple[bytes, Sequence[Progress]]:
        """A trained model's artifact, and its curve."""
        spec = self._complete(declared, rows.counted)
        material = self._material(spec, rows)
        trained = (
            self._search(material, rows.held_out) if self.plan.stopping else self._train(material)
        )
        if trained.stopped:
            raise _Cancelled
        stored_bytes = to_bytes(
            trained.state,
            config=with_features(self.config, spec),
            plan=self.plan,
            spec=spec,
            executed=trained.executed,
        )
        return stored_bytes, trained.curve

    def _look_around(self) -> None:
        """Take up what a dead worker kept; refuse what keeps killing workers."""
        if self.lease.beat(stage="prepare", of=self.plan.steps):
            raise _Cancelled
        if self.place.waited_too_long:
            raise EngineError("other jobs have the devices", code="engine.devices_busy")
        known = ledger.line(self.run)
        row = checkpoints.find(self.run)
        before = row.fence if row is not None and row.job == self.lease.job_id else 0
        if (known.touched and row is None) or self.lease.fence - before > CLAIMS:
            raise RunStateError(
                "the worker of this attempt was lost: trying again is a new attempt",
                code="run.worker_lost",
            )
        if row is not None:
            self.kept = checkpoints.read(self.run, row)
            self.paid = tuple(known.ahead)
            self._taken_up = True
            _log.info("%s goes on from step %d", self.run.reference, self.kept.step)

    def _read(self, declared: Declared) -> Rows:
        """The columns that the run needs, of the sealed version."""
        features = [feature.name for feature in declared.features]
        needed = [*features, declared.target.column, *declared.groups]
        return read(self.run.version, needed, self.plan.unit)

    def _complete(self, declared: Declared, rows: pl.DataFrame) -> FeatureSpec:
        """The specification; bounds that nobody declared are bought first."""
        if self.kept.spec is not None:
            return self.kept.spec
        if not declared.unbounded:
            spec = declared.complete({})
        else:
            sigma = self._buy(Purpose.BOUNDS)
            source = self.kept.secret.stream("bounds")
            spec = declared.complete(buy_bounds(rows, declared.unbounded, sigma, source).bounds)
        self.kept = replace(self.kept, spec=spec)
        return spec

    def _buy(self, purpose: Purpose) -> float:
        """Pay for what the plan does before its first step; its noise multiplier."""
        bought = [paid for paid in self.plan.paid if paid.purpose is purpose]
        self._pay([Charge(paid) for paid in bought])
        return bought[0].noise_multiplier if self.private else _NO_NOISE

    def _material(self, spec: FeatureSpec, rows: Rows) -> Material:
        """The training rows, encoded; a boosted model's numbers of rows are bought."""
        labels = torch.from_numpy(spec.encode_target(rows.train))
        usable = torch.isfinite(labels)  # the plan's public N still counts the others
        if not self.private:
            check_classes(labels[usable].numpy())
        boosted = self.config.model is ModelKind.EBM
        return Material(
            spec,
            inputs_of(self.config, spec, rows.train)[usable],
            labels[usable],
            None if rows.owners is None else Units.of(rows.owners[usable.numpy()]),
            self._buy(Purpose.HISTOGRAM) if boosted else None,
            self.kept.secret,
        )

    def _train(self, material: Material) -> Trained:
        done = self.kept.step
        for shown in () if self.kept.snapshot is None else self.kept.snapshot.curve:
            self._draw(shown)  # a worker may have died between keeping a block and showing it

        def on_block(steps: int) -> None:
            self._write_ahead([Charge(self.plan.event(steps))] if self.private else [])

        def on_progress(progress: Progress) -> None:
            nonlocal done
            done = progress.step
            self._draw(progress)

        def cancelled() -> bool:
            self.place.check()
            return self.lease.beat(stage="train", done=done)

        return fit(
            material,
            config=self.config,
            plan=self.plan,
            secret=self.kept.secret,
            ranks=None if self.place.here else self.place.ranks,
            calls=Calls(on_block, self._keep, on_progress, cancelled),
            after=self.kept.snapshot,
            paid=training_steps(self.paid),
        )

    def _search(self, material: Material, held_out: pl.DataFrame) -> Trained:
        """The best trial; from here on the run's configuration is that trial's.

        The whole search is written ahead before the first trial begins, on both parts of the rows.
        """
        steps, score = self._reserved(Purpose.TRAINING), self._reserved(Purpose.SELECTION)
        self._pay([steps, score])
        before = self.kept.search or Searched()
        self.kept = replace(self.kept, search=before)

        def cancelled() -> bool:
            self.place.check()
            return self.lease.beat(stage="search")  # and not how far it is

        best = search(
            self.config,
            self.plan,
            self.kept.secret,
            Trials(
                material,
                held_out=inputs_of(self.config, material.spec, held_out),
                labels=material.spec.encode_target(held_out),
                sigma=score.mechanism.noise_multiplier,
                ranks=None if self.place.here else self.place.ranks,
                cancelled=cancelled,
                on_kept=self._keep,
                on_trial=self._keep_trials,
            ),
            before=before,
            after=self.kept.snapshot,
        )
        if best is None:
            raise _Cancelled
        if best.trained is None:
            raise EngineError("the best trial came to nothing", code="search.nothing_usable")
        self.found = Found(self.config, best.candidate, best.score, score.mechanism)
        self.config = self.config.variant(best.candidate)
        self.plan = self.plan.trial(self.config.max_grad_norm)
        for shown in best.trained.curve:
            self._draw(shown)
        return best.trained

    def _keep(self, take: Callable[[], Snapshot]) -> None:
        """Replace the checkpoint, unless the last one is fresh."""
        if self._is_due():
            self.kept = replace(self.kept, snapshot=take())
            self._store()

    def _keep_trials(self, searched: Searched) -> None:
        """Remember which trials are over: at once, for the next snapshot is of the trial after."""
        self.kept = replace(self.kept, search=searched, snapshot=None)
        if self._is_due():
            self._store()

    def _is_due(self) -> bool:
        return time.monotonic() - self._kept_at >= settings.CHECKPOINT_SECONDS

    def _store(self) -> None:
        checkpoints.keep(self.run, self.kept, self.lease)
        self._kept_at = time.monotonic()

    def _draw(self, progress: Progress) -> None:
        """A point of the live curves, once. It was noised inside the charged mechanism."""
        point = asdict(progress)
        step = point.pop("step")
        spent = rdp_of(self.plan.mechanisms(progress.step))
        RunPoint.objects.get_or_create(
            run=self.run,
            attempt=self.run.attempt,
            step=step,
            defaults={
                "tenant_id": self.run.tenant_id,
                "epsilon": epsilon(spent, self.config.delta),
                **point,
            },
        )

    def _twin(self, spec: FeatureSpec, rows: Rows) -> Twin | None:
        """The same without noise, where it was asked for; it pays for nothing and is never kept."""
        if not self.config.twin:
            return None

        def cancelled(done: int) -> bool:
            self.place.check()
            return self.lease.beat(stage="twin", done=done)

        made = train_twin(
            self.config, self.plan, spec, rows, secret=self.kept.secret, cancelled=cancelled
        )
        if made is None:
            raise _Cancelled
        return made

    def _evaluate(
        self, artifact: Artifact, declared: Declared, rows: pl.DataFrame, twin: Twin | None
    ) -> _Scored:
        """One noisy release about the held-out rows, written ahead like a step."""
        charge = self._evaluation()
        inputs = artifact.spec.width
        forms = [compress(artifact.network, inputs, form) for form in self.config.forms]
        self._pay([charge])
        read_rows = inputs_of(artifact.config, artifact.spec, rows)
        counts = count(
            probabilities(artifact.network, read_rows),
            artifact.spec.encode_target(rows),
            {name: column_of(rows, name) for name in declared.groups},
            declared.groups,
            charge.mechanism,
            self.kept.secret.stream("evaluation"),
            others={
                **{one.form.value: one.predict(read_rows.numpy()) for one in forms},
                **({} if twin is None else twin.scores(read_rows)),
            },
        )
        return _Scored(
            counts,
            measure(counts),
            tuple(
                MeasuredForm(
                    one.form,
                    one.size,
                    rows_a_second(one.predict, inputs),
                    measure(counts.others[one.form.value]),
                )
                for one in forms
            ),
            measured(twin, counts),
        )

    def _evaluation(self) -> Charge:
        """What was reserved for the held-out rows."""
        if not self.private:
            return Charge(Mechanism(_NO_NOISE, purpose=Purpose.EVALUATION), Part.HELD_OUT)
        return self._reserved(Purpose.EVALUATION)

    def _reserved(self, purpose: Purpose) -> Charge:
        reserved = ledger.line(self.run).reserved
        return next(charge for charge in reserved if charge.mechanism.purpose is purpose)

    def _made(
        self,
        artifact: Artifact,
        stored_bytes: bytes,
        curve: Sequence[Progress],
        scored: _Scored,
        declared: Declared,
    ) -> Made:
        version = self.run.version
        background = background_of(artifact.spec)
        card: dict[str, Any] = {
            **model_card(
                artifact,
                name=self.run.model_name,
                purpose=self.run.purpose,
                dataset={
                    "name": version.dataset.name,
                    "version": str(version.number),
                    "digest": version.digest,
                },
                randomness=self.kept.secret.name,
                source=declared.source,
                curve=curve,
                counts=scored.counts,
                metrics=scored.metrics,
                forms=scored.forms,
                twin=scored.twin,
                search=self.found,
            ),
            "run": {"id": str(self.run.id), "attempt": self.run.attempt},
            "barred_columns": dict(columns_of(version).barred),
            "background": background,
        }
        if artifact.members:
            card |= sections(self.run, card)
        figure = card["privacy"].get(PLD_LABEL)
        return Made(
            stored=_sealed(self.run.tenant, stored_bytes),
            artifact_digest=artifact.digest,
            background_digest=background["digest"],
            card=card,
            card_digest=digest(card),
            epsilon_pld=None if figure is None else float(figure),
            auroc=None if (auroc := scored.metrics.auroc) is None else auroc.value,
        )

    def _finish(self, made: Made) -> None:
        try:
            finish_run(self.worker, self.run, lease=self.lease, made=made)
        except DomainError:
            # Only where it is certain that nothing was committed; else the vault's sweep decides.
            discard(made.stored)
            raise

    def _pay(self, charges: Sequence[Charge]) -> None:
        """Write ahead what a dead worker did not."""
        if not (self.private and self.paid and covers(self.paid, charges)):
            self._write_ahead(charges if self.private else [])

    def _write_ahead(self, charges: Sequence[Charge]) -> None:
        write_ahead(self.run, self.run.attempt, charges, self.lease)

    def _beat(self, stage: str, done: int) -> None:
        if self.lease.beat(stage=stage, done=done):
            raise _Cancelled


def background_of(spec: FeatureSpec) -> dict[str, Any]:
    """Which invented rows explanations compare with, fixed when the model is registered.

    The digest is that of `audit.explanations.Background`, computed without loading shap.
    """
    rows = synthetic_background(spec, BACKGROUND_ROWS, BACKGROUND_SEED)
    cells = [[row[name] for name in spec.names] for row in rows]
    return {
        "rows": BACKGROUND_ROWS,
        "seed": BACKGROUND_SEED,
        "origin": ORIGIN,
        "digest": digest({"features": list(spec.names), "rows": cells, "origin": ORIGIN}),
    }


def _sealed(tenant: Tenant, stored_bytes: bytes) -> StoredObject:
    with ObjectWriter(tenant, "artifact") as writer:
        writer.write(stored_bytes)
        return writer.finish()
