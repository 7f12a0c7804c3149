"""`ingest FILE --name N --purpose P --as USER`: seal, profile, propose a column plan."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from governance import approvals, leases
from governance.actions.datasets import Declared
from governance.doors import DoorCommand
from governance.errors import ConflictError, InvalidError
from governance.intake import take_in
from governance.lookup import own_tenant
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.rbac import UserActor

PIECE: Final = 1 << 20


class Command(DoorCommand):
    """Ingest a table; stops at the proposed plan, which somebody else approves."""

    help = "Ingest a table: CSV, JSONL, Parquet or .xlsx"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the file and what is declared of it."""
        parser.add_argument("file", help="the table, or - for standard input")
        parser.add_argument("--name", required=True)
        parser.add_argument("--purpose", required=True, help="one or several, with commas between")
        parser.add_argument("--regime", default="", help="eu, cn, ca: with commas between")
        parser.add_argument("--language", default="zh,en")
        parser.add_argument("--subject-column", default="")
        parser.add_argument("--format", default="", help="where the file's name does not say")
        parser.add_argument("--encoding", default="", help="where detection would be wrong")
        parser.add_argument(
            "--declare", type=Path, help="JSON of public bounds, categories and the target"
        )
        parser.add_argument("--queue", action="store_true", help="leave profiling to the workers")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Take the file in, and profile it here unless told to leave it to the workers."""
        tenant = own_tenant(actor)
        file = options["file"]
        declared = Declared(
            name=options["name"],
            purposes=_split(options["purpose"]),
            regimes=_split(options["regime"]),
            languages=_split(options["language"]),
            subject_column=options["subject_column"],
            format=options["format"] or Path(file).suffix.lstrip(".") if file != "-" else "csv",
            encoding=options["encoding"],
            declarations=_declarations(options["declare"]),
        )
        if options["queue"]:
            dataset = take_in(actor, tenant, _pieces(file), declared)
        else:
            with leases.doing_it_here():
                dataset = take_in(actor, tenant, _pieces(file), declared)
            leases.run_here(dataset.reference)
        return _told(dataset)


def _told(dataset: Dataset) -> dict[str, Any]:
    dataset.refresh_from_db()
    if dataset.state == DatasetState.FAILED:
        raise InvalidError(dataset.error_detail, code=dataset.error_code)
    if dataset.state not in {DatasetState.PROPOSED, DatasetState.QUARANTINED}:
        raise ConflictError("the dataset has moved on", code="dataset.busy")
    proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
    return {
        "dataset": dataset.name,
        "version": None,
        "proposal": None if proposal is None else str(proposal.id),
        "status": _status(dataset, proposal is not None),
        "rows": dataset.rows,
        "entities": dataset.entity_counts,
    }


def _status(dataset: Dataset, proposed: bool) -> str:  # noqa: FBT001 - one fact, one place
    if proposed:
        return "awaiting_approval"
    return "awaiting_proposal" if dataset.state == DatasetState.PROPOSED else "queued"


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


def _pieces(file: str) -> Iterator[bytes]:
    if file == "-":
        while piece := sys.stdin.buffer.read(PIECE):
            yield piece
        return
    try:
        with Path(file).open("rb") as source:
            while piece := source.read(PIECE):
                yield piece
    except OSError:
        raise InvalidError("the file cannot be read", code="file.unreadable") from None


def _declarations(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        declared = json.loads(file.read_text())
    except (OSError, ValueError):
        raise InvalidError(
            "the declarations are not JSON", code="declarations.unreadable"
        ) from None
    if not isinstance(declared, dict):
        raise InvalidError("the declarations are not an object", code="declarations.unreadable")
    return declared
