"""`approve PROPOSAL --as USER`: say yes; with the last yes, what was proposed happens."""

from argparse import ArgumentParser
from typing import Any

from governance import leases, queueing
from governance.actions.proposals import approve_proposal
from governance.doors import DoorCommand
from governance.lookup import find
from governance.models import Dataset, Proposal
from governance.permissions import ProposalKind
from governance.rbac import UserActor


class Command(DoorCommand):
    """Approve a proposal; what it sets off runs here, unless `--queue` leaves it to the workers."""

    help = "Approve a proposal"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the proposal."""
        parser.add_argument("proposal", help="the proposal's id")
        queueing.add_arguments(parser, "what follows")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Approve, and see to what follows."""
        proposal = find(actor, Proposal, options["proposal"])
        with queueing.enqueuing(options):
            approved = approve_proposal(actor, proposal)
        if approved.complete:
            self._see_to(proposal, options)
        result: dict[str, Any] = {
            "proposal": str(proposal.id),
            "kind": proposal.kind,
            "role": approved.role,
            "complete": approved.complete,
            "subject": proposal.subject,
        }
        if proposal.kind == ProposalKind.COLUMN_PLAN.value:
            dataset = Dataset.objects.get(pk=proposal.subject.partition(":")[2])
            version = dataset.versions.first()
            result |= {
                "dataset": dataset.name,
                "status": dataset.state,
                "version": None if version is None else version.number,
                "rows": None if version is None else version.rows,
                "leaks": None if version is None else version.leaks,
            }
            if dataset.error_code:
                result["error"] = dataset.error_code
        return result

    def _see_to(self, proposal: Proposal, options: dict[str, Any]) -> None:
        """Do what the approval set off, or follow those who do."""
        if proposal.kind == ProposalKind.COLUMN_PLAN.value:
            dataset = Dataset.objects.get(pk=proposal.subject.partition(":")[2])
            queueing.see_to(dataset, options, self.stderr)
        elif not options["queue"]:
            leases.run_here(proposal.subject)
