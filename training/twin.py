"""A synthetic twin of a dataset version: its columns, and rows of nobody, to develop against.

Without ε no row is read: categories and bounds are the declared ones, each value as likely as the
others, and persons are invented (`governance.anonymization.surrogates`) under a key that is thrown
away. With ε the declared columns follow noisy one-way histograms, charged to the dataset's ledger
like a run: reserved, written ahead before the rows are read, closed afterwards. Columns are drawn
independently of each other, so no row of the twin says more of a row than its marginals do.

Who asks for a twin with ε draws it here, under a lease. Where that process is killed, the sweeper
closes the account when the lease has run out: what was written ahead is the charge, nothing if that
was nothing. A process that comes back after that finds its lease gone, and its file gets no name.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from django.conf import settings

from governance import leases
from governance.anonymization.operators import GRANULARITIES
from governance.anonymization.surrogates import surrogate
from governance.errors import InvalidError, LostLeaseError
from governance.exporting import named_when_done
from governance.models import DatasetVersion, Job
from governance.pulse import Pulse
from governance.rbac import UserActor
from governance.recognition.plan import ColumnPlan, Declared, Kind, PlannedColumn
from governance.suites import DEFAULT_SUITE
from governance.tables.reading import format_of
from governance.tables.writing import chunk_writer
from governance.versions import frames
from training.accounting import calibrate
from training.actions.twins import TWIN, Charged, Drawn, begin_twin, finish_twin, stop_twin
from training.backgrounds import SENTENCES
from training.charges import Charge, Part
from training.errors import ConfigError, LedgerError, RunRefusedError
from training.ledger import protects
from training.marginals import Bins, Counts, bins_of, noisy_marginals
from training.mechanisms import WHOLE, Mechanism, Purpose
from training.models import Budget, Run, RunState
from training.planning import check_subject, parse_epsilon
from training.randomness import secure_source
from training.units import Unit
from training.write_ahead import write_ahead

MOST_ROWS: Final = 10_000_000
_CHUNK: Final = 10_000
_KEY: Final = 32


@dataclass(frozen=True)
class Twin:
    """What was written."""

    rows: int
    columns: tuple[str, ...]
    digest: str
    run: str  # "" where nothing was read
    epsilon: str


def synthesize(
    actor: UserActor, version: DatasetVersion, rows: int, out: Path, epsilon: object = None
) -> Twin:
    """Write a twin to a new file, CSV, JSONL or Parquet by its suffix.

    Args:
        actor: the engineer.
        version: whose columns it has.
        rows: how many rows to draw.
        out: a new file.
        epsilon: ε for its marginals; None to read no row.

    Raises:
        InvalidError: `twin.rows_invalid`, `file.exists`, `file.unwritable`.
        ConfigError: `run.epsilon_invalid`, `run.delta_invalid`.
        RunRefusedError: `twin.nothing_public`, `twin.epsilon_over`, `run.subject_unreadable`,
            `run.subject_changed`.
        BudgetError: `budget.exceeded`, `budget.unreachable`.
        LostLeaseError: this process was silent for so long that the sweeper closed its account.
    """
    if not 0 < rows <= MOST_ROWS:
        raise InvalidError(f"a twin has 1 to {MOST_ROWS} rows", code="twin.rows_invalid")
    form = format_of(out.name)
    plan = ColumnPlan.from_dict(version.plan.as_json())
    planned = [column for column in plan.columns if column.declared is not Declared.DROP]
    bins = _bins(version, planned)
    names = tuple(column.name for column in planned)

    def written(weights: Mapping[str, Counts], charged: Charged | None) -> Drawn:
        with named_when_done(out) as file:
            writer = chunk_writer(file, form, [*names])
            drawing = _Drawing(planned, bins, weights, _encoded(version, planned))
            for first in range(0, rows, _CHUNK):
                writer.write(drawing.rows(min(_CHUNK, rows - first)))
            writer.close()
            drawn = Drawn(rows, form.value, file.digest())
            finish_twin(actor, version, drawn=drawn, charged=charged)
        return drawn

    if epsilon is None:
        begin_twin(actor, version)
        return Twin(rows, names, written({}, None).digest, "", "0")
    release = _release(version, bins, parse_epsilon(epsilon))
    charged = _begun(actor, version, release)
    try:
        with Pulse(charged.lease):
            drawn = written(release.measured(version, bins, charged), charged)
    except BaseException:
        if Run.objects.get(pk=charged.run.pk).state == RunState.RUNNING:
            with suppress(LostLeaseError):
                stop_twin(actor, version, charged=charged)
        raise
    return Twin(rows, names, drawn.digest, charged.run.reference, f"{charged.run.epsilon:f}")


def _bins(version: DatasetVersion, planned: list[PlannedColumn]) -> dict[str, Bins]:
    """Public bins of the columns that hold nothing personal."""
    declared = version.dataset.declarations.get("columns", {})
    target = version.dataset.declarations.get("target", {})
    bins = {}
    for column in planned:
        if column.kind is not Kind.FREE or column.declared is Declared.SUBJECT:
            continue
        said = declared.get(column.name, {})
        if column.name == target.get("column") and not said:
            labels = [target.get("positive"), target.get("negative")]
            said = {"kind": "category", "values": [label for label in labels if label]}
        known = bins_of(said, numeric=column.evidence.numeric)
        if known is not None:
            bins[column.name] = known
    return bins


def _encoded(version: DatasetVersion, planned: list[PlannedColumn]) -> frozenset[str]:
    """Columns of text that an encoder reads."""
    declared = version.dataset.declarations.get("columns", {})
    return frozenset(
        column.name
        for column in planned
        if column.kind is not Kind.TYPED
        and column.declared is not Declared.SUBJECT
        and declared.get(column.name, {}).get("kind") == "encoded"
    )


@dataclass(frozen=True)
class _Release:
    """The one release about a version's rows that a twin is drawn from."""

    epsilon: Decimal
    mechanism: Mechanism
    subject: str | None  # the column of the persons that are protected

    @property
    def charges(self) -> list[Charge]:
        """Every row is read: those that runs train on, and those that they hold out."""
        return [Charge(self.mechanism, part) for part in Part]

    def measured(
        self, version: DatasetVersion, bins: Mapping[str, Bins], charged: Charged
    ) -> dict[str, Counts]:
        """Write ahead, then read: the noisy marginals of every row."""
        write_ahead(charged.run, charged.run.attempt, self.charges, charged.lease)
        return noisy_marginals(
            frames(version), bins, self.mechanism, secure_source(), subject=self.subject
        )


def _release(version: DatasetVersion, bins: Mapping[str, Bins], asked: Decimal) -> _Release:
    """Calibrate what is asked for."""
    if not bins:
        raise RunRefusedError(
            "no column has public bins: declare bounds or categories", code="twin.nothing_public"
        )
    if asked > Decimal(str(settings.RUN_APPROVAL_EPSILON)):
        raise RunRefusedError(
            "a twin takes no more ε than a run takes without an approval", code="twin.epsilon_over"
        )
    budget = Budget.objects.filter(dataset=version.dataset).first()
    delta = settings.DEFAULT_DELTA if budget is None else float(budget.delta)
    if delta >= 1 / max(version.rows, 1):
        raise ConfigError("δ must be below 1 / number of rows", code="run.delta_invalid")
    sigma = calibrate(float(asked), delta, sampling=WHOLE, steps=1)
    subject = check_subject(version) if protects(version.dataset) is Unit.SUBJECT else None
    return _Release(asked, Mechanism(sigma, purpose=Purpose.TWIN), subject)


def _begun(actor: UserActor, version: DatasetVersion, release: _Release) -> Charged:
    """Reserve, and take the job: nobody else is to draw it, and the sweeper ends what is lost."""
    with leases.doing_it_here():
        run = begin_twin(actor, version, epsilon=release.epsilon, charges=release.charges)
    if run is None:
        raise LedgerError("nothing was reserved for this twin", code="ledger.not_reserved")
    lease = leases.claim(Job.objects.get(kind=TWIN, subject=run.reference).pk)
    if lease is None:
        raise LostLeaseError("this process was taken for dead")
    return Charged(run, lease)


class _Drawing:
    """Rows of nobody, chunk by chunk."""

    def __init__(
        self,
        planned: list[PlannedColumn],
        bins: Mapping[str, Bins],
        weights: Mapping[str, Counts],
        encoded: frozenset[str],
    ) -> None:
        self._planned, self._bins, self._weights = planned, bins, weights
        self._encoded = encoded
        self._generator = np.random.default_rng()
        self._keyed = partial(DEFAULT_SUITE.keyed_hash, os.urandom(_KEY))
        self._drawn = 0

    def rows(self, count: int) -> dict[str, list[str | None]]:
        """The next `count` rows."""
        first, self._drawn = self._drawn, self._drawn + count
        return {column.name: self._column(column, first, count) for column in self._planned}

    def _column(self, column: PlannedColumn, first: int, count: int) -> list[str | None]:
        known = self._bins.get(column.name)
        if known is not None:
            return [*known.draw(count, self._weights.get(column.name), self._generator)]
        if column.name in self._encoded:
            return [SENTENCES[n] for n in self._generator.integers(len(SENTENCES), size=count)]
        make = _maker(column)
        return [
            make(f"{column.name} {n}", self._keyed, self._generator)
            for n in range(first, first + count)
        ]


Make = Callable[[str, Callable[[bytes], bytes], np.random.Generator], str]


def _maker(column: PlannedColumn) -> Make:
    """What invents a cell of a column that has no public bins."""
    if column.kind is Kind.PROSE:
        return lambda seed, keyed, _: f"{surrogate(seed, 'PERSON', keyed)}: synthetic text."
    entity = column.entity or "SUBJECT_ID"
    operator = str(column.operator.get("operator", ""))
    if operator == "redact":
        return lambda *_: ""
    if operator == "replace":
        return lambda *_: f"<{entity}>"
    coarser = GRANULARITIES.get(str(column.operator.get("to", "")))

    def make(seed: str, keyed: Callable[[bytes], bytes], generator: np.random.Generator) -> str:
        value = _invented(entity, seed, keyed, generator, str(column.operator.get("to", "")))
        return value if coarser is None else (coarser(value, "") or f"<{entity}>")

    return make


def _invented(
    entity: str, seed: str, keyed: Callable[[bytes], bytes], generator: np.random.Generator, to: str
) -> str:
    if to.startswith("age_"):
        return str(generator.integers(0, 100))
    if to in {"month", "year"} or entity.startswith("DATE"):
        day = np.datetime64("1940-01-01") + generator.integers(0, 25_000)
        return str(day)
    if to.startswith("region_"):
        return f"{generator.choice([11, 12, 31, 44, 50])}0100"
    # The script of the surrogate is that of the seed: half of the names are Chinese.
    return surrogate(seed if generator.random() < 1 / 2 else f"人{seed}", entity, keyed)
