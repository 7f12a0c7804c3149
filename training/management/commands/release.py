"""`release MODEL --as USER`: propose a model's release, or approve the proposal that is open."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from governance import approvals
from governance.actions.proposals import approve_proposal
from governance.doors import DoorCommand
from governance.lookup import find
from governance.permissions import ProposalKind
from governance.rbac import UserActor
from training.actions.models import propose_release
from training.lookup import releasable
from training.models import Model, ModelState, ModelVersion


class Command(DoorCommand):
    """The engineer proposes, the officer and the tenant admin approve: the same command for all."""

    help = "Release the newest version of a model"

    def arguments(self, parser: ArgumentParser) -> None:
        """Add the model."""
        parser.add_argument("model", help="name or id")

    def run(self, actor: UserActor, options: dict[str, Any]) -> dict[str, Any]:
        """Propose where nothing is open; approve where this person's approval can be meant."""
        version = releasable(find(actor, Model, options["model"]))
        proposal = approvals.latest(ProposalKind.MODEL_RELEASE, version)
        if proposal is None or not proposal.is_open(timezone.now()):
            proposal = propose_release(actor, version)
        elif proposal.proposer_id != actor.user_id or actor.roles() & set(proposal.roles):
            approve_proposal(actor, proposal)
        version = ModelVersion.objects.select_related("model").get(pk=version.pk)
        released = version.state == ModelState.RELEASED
        return {
            "model": version.model.slug,
            "version": version.number,
            "state": version.state,
            "guarantee": version.guarantee,
            "proposal": str(proposal.id),
            "status": "released" if released else "awaiting_approval",
        }
