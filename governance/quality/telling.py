"""What the doors tell of a version's quality: one shape for command line, API and console."""

from collections.abc import Mapping
from typing import Any

from governance.models import Dataset, DatasetVersion, QualityRun
from governance.quality.assessing import contract_of, contract_row, names_of, newest_run


def told_quality(version: DatasetVersion) -> dict[str, Any]:
    """The newest check against the contract in force; `passed` null where there is none yet."""
    run = newest_run(version)
    if run is not None:
        return told_run(run)
    contract = told_contract(version.dataset, version)
    return {
        "dataset": version.dataset.name,
        "version": version.number,
        "passed": None,
        "run_at": None,
        "contract": {"number": contract["number"], "digest": contract["digest"]},
        "breaches": [],
        "profile": {},
        "drift": None,
    }


def told_run(run: QualityRun) -> dict[str, Any]:
    """A check, without the sketch."""
    return {
        "dataset": run.version.dataset.name,
        "version": run.version.number,
        "passed": run.passed,
        "run_at": run.run_at.isoformat(),
        "contract": {
            "number": None if run.contract is None else run.contract.number,
            "digest": run.profile["contract"],
        },
        "breaches": run.breaches,
        "profile": run.profile["summary"],
        "drift": run.drift or None,
    }


def told_contract(dataset: Dataset, version: DatasetVersion | None) -> dict[str, Any]:
    """The contract in force: as it was set, or (`number` null) as it follows from declarations."""
    row = contract_row(dataset)
    contract = contract_of(dataset, names_of(version) if version else (), row)
    return {
        "dataset": dataset.name,
        "number": None if row is None else row.number,
        "digest": contract.digest(),
        "body": contract.as_dict(),
    }


def worst(drift: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of a told comparison that ask for something, the worst first."""
    moved = [column for column in drift.get("columns", ()) if column["level"] != "stable"]
    return sorted(moved, key=lambda column: (column["level"] != "act", -(column["psi"] or 0)))
