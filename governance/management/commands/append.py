"""`append FILE… --dataset N --as USER`: more rows, under the plan in force where it covers them."""

from argparse import ArgumentParser
from typing import Any

from governance import approvals, queueing
from governance.doors import DoorCommand
from governance.errors import InvalidError
from governance.files import incoming
from governance.intake import append
from governance.lookup import find
from governance.models import Dataset
from governance.models.datasets import DatasetState
from governance.permissions import ProposalKind
from governance.rbac import UserActor

_STATUS = {
    DatasetState.SEALED: "sealed",
    DatasetState.PROPOSED: "awaiting_approval",
}


class Command(DoorCommand):
    """Append a batch; ends in a sealed version, or at a plan that somebody else approves."""

    help = "Append files of the same columns to a sealed dataset"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the files and the dataset."""
        parser.add_argument("files", nargs="+", metavar="FILE", help="as with ingest")
        parser.add_argument("--dataset", required=True, help="name or id")
        parser.add_argument("--format", default="", help="where a file's name does not say")
        parser.add_argument("--encoding", default="", help="where detection would be wrong")
        queueing.add_arguments(parser, "the work")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Take the files in, and do what follows here unless told to leave it to the workers."""
        dataset = find(actor, Dataset, options["dataset"])
        files = incoming(options["files"], format=options["format"], encoding=options["encoding"])
        with queueing.enqueuing(options):
            batch = append(actor, dataset, files)
        dataset = queueing.see_to(dataset, options, self.stderr)
        batch.refresh_from_db()
        if dataset.error_code:
            raise InvalidError(dataset.error_detail, code=dataset.error_code)
        version = dataset.versions.first()
        proposal = approvals.latest(ProposalKind.COLUMN_PLAN, dataset)
        waits = dataset.state == DatasetState.PROPOSED and proposal is not None
        return {
            "dataset": dataset.name,
            "batch": batch.number,
            "status": _STATUS.get(DatasetState(dataset.state), "queued"),
            "version": None if version is None else version.number,
            "proposal": str(proposal.id) if waits and proposal is not None else None,
            "rows": dataset.rows,
        }
