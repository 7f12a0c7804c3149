"""`ingest FILE… --name N --purpose P --as USER`: seal, profile, propose a column plan."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from governance import approvals, column_plans, queueing
from governance.actions.datasets import Declared
from governance.doors import DoorCommand
from governance.errors import ConflictError, InvalidError
from governance.files import incoming
from governance.intake import take_in
from governance.lookup import own_tenant
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.rbac import UserActor
from governance.recognition.regimes import REGIMES
from governance.sources import doors as sources
from governance.sources.fetching import ask


class Command(DoorCommand):
    """Ingest a table; stops at the proposed plan, which somebody else approves."""

    help = "Ingest a table of one file or several: CSV, JSONL, Parquet or .xlsx"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the files and what is declared of the table."""
        parser.add_argument(
            "files",
            nargs="*",
            metavar="FILE",
            help="files of the same columns, a folder of such files, or - for standard input",
        )
        sources.add_arguments(parser)
        parser.add_argument("--name", required=True)
        parser.add_argument("--purpose", required=True, help="one or several, with commas between")
        parser.add_argument(
            "--regime", default="", help="laws with commas between: " + ", ".join(REGIMES)
        )
        parser.add_argument("--language", default="zh,en")
        parser.add_argument("--subject-column", default="")
        parser.add_argument(
            "--sensitive", default="", help="special categories it holds: health, religion, …"
        )
        parser.add_argument("--format", default="", help="where a file's name does not say")
        parser.add_argument("--encoding", default="", help="where detection would be wrong")
        parser.add_argument(
            "--declare", type=Path, help="JSON of public bounds, categories and the target"
        )
        queueing.add_arguments(parser, "profiling")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Take the files in, and profile them here unless told to leave it to the workers."""
        declared = Declared(
            name=options["name"],
            purposes=_split(options["purpose"]),
            regimes=_split(options["regime"]),
            languages=_split(options["language"]),
            subject_column=options["subject_column"],
            declarations=_declarations(options["declare"]),
            sensitive=_split(options["sensitive"]),
        )
        sources.check(options)
        if options["source"]:
            return self._fetch(actor, declared, options)
        files = incoming(options["files"], format=options["format"], encoding=options["encoding"])
        with queueing.enqueuing(options):
            dataset = take_in(actor, own_tenant(actor), files, declared)
        return _told(queueing.see_to(dataset, options, self.stderr))

    def _fetch(
        self, actor: UserActor, declared: Declared, options: dict[str, Any]
    ) -> dict[str, Any]:
        """The same, of a source; where that is left to the workers, the fetch tells of it."""
        with queueing.enqueuing(options):
            fetch = ask(
                actor, own_tenant(actor), options["source"], options["select"], declared=declared
            )
        dataset = sources.brought(fetch, options)
        if dataset is None:
            return {**_nothing_yet(declared.name), "fetch": str(fetch.id)}
        return {**_told(queueing.see_to(dataset, options, self.stderr)), "fetch": str(fetch.id)}


def _told(dataset: Dataset) -> dict[str, Any]:
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
        "undeclared_sensitive": column_plans.undeclared_sensitive(dataset),
    }


def _nothing_yet(name: str) -> dict[str, Any]:
    return {
        "dataset": name,
        "version": None,
        "proposal": None,
        "status": "queued",
        "rows": None,
        "entities": {},
        "undeclared_sensitive": {},
    }


def _status(dataset: Dataset, proposed: bool) -> str:  # noqa: FBT001 - one fact, one place
    if proposed:
        return "awaiting_approval"
    return "awaiting_proposal" if dataset.state == DatasetState.PROPOSED else "queued"


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())


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
