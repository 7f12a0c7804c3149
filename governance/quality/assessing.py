"""The quality of a dataset version: its sketch, its contract, its run; the rows read where needed.

    sealed groups' sketches ─ merged ─► profile ─┬─► breaches of the newest contract ─► QualityRun
    (or the rows, chunk by chunk)                └─► drift from the version before

A version is assessed when it is sealed, and whenever somebody checks it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import F
from django.utils import timezone

from governance.errors import ConflictError, InvalidError, RefusedError
from governance.models import Dataset, DatasetVersion, QualityContract, QualityRun, SealedGroup
from governance.quality.contract import Contract, derived, read_contract
from governance.tenant_keys import keyed_hash
from governance.versions import entries, frames

FRESH: Final = timedelta(days=30)  # control C03: a suite passed within 30 days of training


@dataclass(frozen=True)
class Assessment:
    """What a check found, not written yet.

    Attributes:
        contract: the row that was held against; None for the derived contract.
        profile: {"contract": digest, "summary": for people, "sketch": for the next comparison}.
        breaches: terms that are not met.
        drift: against the version before; empty for a first version.
    """

    contract: QualityContract | None
    profile: dict[str, Any]
    breaches: list[dict[str, Any]]
    drift: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the contract is met."""
        return not self.breaches


def sketch_key(dataset: Dataset) -> bytes:
    """What a dataset's sketches are keyed by: theirs can be compared with one another alone."""
    return keyed_hash(dataset.tenant, "sketch", str(dataset.id).encode())


def contract_row(dataset: Dataset) -> QualityContract | None:
    """The contract in force; None where the derived one is."""
    newest: QualityContract | None = dataset.contracts.order_by("-number").first()
    return newest


def contract_of(
    dataset: Dataset, columns: Iterable[str], row: QualityContract | None = None
) -> Contract:
    """The terms in force for a version with these columns."""
    names = list(columns)
    if row is None:
        return derived(dataset.declarations, names)
    # A column that was dropped since is still asked for: judged, it is a breach.
    told = row.body
    named = {*names, *told.get("columns", {}), told.get("table", {}).get("target") or ""}
    return read_contract(told, named)


def assess(version: DatasetVersion, *, scan: bool = False, most: int | None = None) -> Assessment:
    """Hold a version against its contract, and compare it with the one before.

    Args:
        version: sealed; it need not be saved yet.
        scan: read the rows even where the sketch answers every term.
        most: rows that are read at most: a caller who waits cannot wait for ever.

    Raises:
        ConflictError: `quality.too_large`: more rows than `most` would have to be read.
        ObjectMissingError, SealError: its rows cannot be read.
    """
    from governance.quality.checking import count_failures  # noqa: PLC0415 - polars, pandera
    from governance.quality.drift import compare  # noqa: PLC0415 - as above
    from governance.quality.judging import answered, judge, unanswered  # noqa: PLC0415 - as above
    from governance.quality.profile import summarize  # noqa: PLC0415 - as above

    dataset = version.dataset
    names = names_of(version)
    large = most is not None and version.rows > most
    sketch = kept_sketch(version) if large else sketch_of(version)
    row = contract_row(dataset)
    contract = contract_of(dataset, names, row)
    if (scan and not large) or unanswered(sketch, contract):
        if large:
            raise ConflictError(
                f"more than {most} rows would have to be read: check it from the command line",
                code="quality.too_large",
            )
        failures = count_failures(
            lambda: frames(version), contract, key=sketch_key(dataset), rows=version.rows
        )
    else:
        failures = answered(sketch, contract)
    before = dataset.versions.filter(number__lt=version.number).order_by("-number").first()
    return Assessment(
        contract=row,
        profile={
            "contract": contract.digest(),
            "summary": summarize(sketch, contract, failures, told=kept_columns(version)),
            "sketch": sketch.as_dict(),
        },
        breaches=[breach.as_dict() for breach in judge(sketch, contract, failures)],
        drift={}
        if before is None
        else {"from": before.number, "to": version.number, **compare(sketch_of(before), sketch)},
    )


def write_run(version: DatasetVersion, found: Assessment) -> QualityRun:
    """Write what a check found; called inside an action."""
    run: QualityRun = QualityRun.objects.create(
        tenant_id=version.tenant_id,
        version=version,
        contract=found.contract,
        passed=found.passed,
        profile=found.profile,
        breaches=found.breaches,
        drift=found.drift,
    )
    return run


def facts_of(run: QualityRun) -> dict[str, Any]:
    """What the log is told of a check: counts, and no column's name."""
    return {
        "version": run.version.reference,
        "quality": run.reference,
        "passed": run.passed,
        "breaches": len(run.breaches),
        "contract": run.profile["contract"],
    }


def newest_run(version: DatasetVersion) -> QualityRun | None:
    """The newest check of a version against the contract in force."""
    found: QualityRun | None = (
        version.quality_runs.filter(contract=contract_row(version.dataset))
        .order_by("-run_at")
        .first()
    )
    return found


def check_met(version: DatasetVersion) -> None:
    """Refuse a version that its contract does not let through.

    Raises:
        RefusedError: `quality.not_checked`: not held against the contract in force within 30 days,
            or the declarations that a derived contract is made of have changed;
            `quality.contract_unmet`.
    """
    dataset = version.dataset
    row = contract_row(dataset)
    runs = version.quality_runs.filter(contract=row, run_at__gte=timezone.now() - FRESH)
    newest = (
        runs.order_by("-run_at").annotate(held=F("profile__contract")).values("passed", "held")
    ).first()
    wanted = contract_of(dataset, names_of(version), row).digest()
    if newest is None or newest["held"] != wanted:
        raise RefusedError(
            "the quality of this version was not checked within 30 days", code="quality.not_checked"
        )
    if not newest["passed"]:
        raise RefusedError(
            "this version does not meet its quality contract", code="quality.contract_unmet"
        )


def compare_versions(old: DatasetVersion | None, new: DatasetVersion) -> dict[str, Any]:
    """The drift from one version of a dataset to another; from None, there is none.

    Raises:
        ConflictError: `quality.not_sketched`: a version from before there were sketches; a check
            of it reads its rows and makes one.
    """
    from governance.quality.drift import compare  # noqa: PLC0415 - polars

    if old is None:
        return {
            "from": None, "to": new.number, "rows": [0, new.rows], "level": "stable", "added": [],
            "removed": [], "columns": [],
        }  # fmt: skip
    sketches = [kept_sketch(version) for version in (old, new)]
    return {"from": old.number, "to": new.number, **compare(*sketches)}


def kept_sketch(version: DatasetVersion) -> Any:
    """The `TableSketch` of a version, without reading its rows.

    It is what an earlier check kept, or else those of its sealed groups, added up.

    Raises:
        ConflictError: `quality.not_sketched`: a group was sealed without one, or under another key.
    """
    from governance.quality.sketches import TableSketch  # noqa: PLC0415 - polars

    key = sketch_key(version.dataset)
    kept = (
        QualityRun.objects.filter(version_id=version.pk)
        .order_by("-run_at")
        .values_list("profile__sketch", flat=True)
        .first()
    )
    try:
        if kept:
            return TableSketch.from_dict(kept, key=key)
        sketch = TableSketch(names_of(version), key=key)
        for entry in entries(version):
            told = SealedGroup.objects.filter(stored_id=entry.stored).values_list("sketch").first()
            sketch.merge(TableSketch.from_dict(told[0] if told else {}, key=key))
    except InvalidError:
        raise ConflictError(
            "this version has no sketch yet: check its quality first", code="quality.not_sketched"
        ) from None
    return sketch


def sketch_of(version: DatasetVersion) -> Any:
    """The `TableSketch` of a version, made of its rows where it has none.

    Raises:
        ObjectMissingError, SealError: the rows must be read and cannot.
    """
    from governance.quality.checking import sketched  # noqa: PLC0415 - polars

    try:
        return kept_sketch(version)
    except ConflictError:
        return sketched(frames(version), names_of(version), sketch_key(version.dataset))


def names_of(version: DatasetVersion) -> list[str]:
    """The columns of a version, in order."""
    return [column["name"] for column in _columns(version)]


def kept_columns(version: DatasetVersion) -> set[str]:
    """The columns that the plan keeps as they are: their numbers may be told."""
    return {column["name"] for column in _columns(version) if column.get("kind") == "free"}


def _columns(version: DatasetVersion) -> list[dict[str, Any]]:
    """As the version lists them, or failing that its plan."""
    planned = version.columns or version.plan.as_json().get("columns", [])
    return [column for column in planned if column.get("declared") != "drop"]
