"""A model version's way after training: proposed for release, released by approval, withdrawn."""

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.models import Proposal
from governance.permissions import Permission, ProposalKind
from governance.rbac import Actor, UserActor
from training import members
from training.errors import ModelStateError
from training.models import ModelState, ModelVersion


@action(Event.RELEASE_PROPOSED, requires=Permission.MODEL_RELEASE_PROPOSE)
def propose_release(record: Record, actor: UserActor, version: ModelVersion) -> Proposal:
    """Propose that a registered version be served; officer and tenant admin decide.

    They approve exactly these weights with exactly this card: both digests are in the payload.

    Raises:
        ModelStateError: it is released or withdrawn.
    """
    if version.state != ModelState.REGISTERED:
        raise ModelStateError(f"this model version is {version.state}")
    proposal = approvals.propose(
        ProposalKind.MODEL_RELEASE,
        version,
        {
            "version": str(version.id),
            "artifact": version.artifact_digest,
            "card": version.card_digest,
            "guarantee": version.guarantee,
        },
        proposer_id=actor.user_id,
        tenant_id=version.tenant_id,
    )
    record.facts(
        proposal=proposal.reference, artifact=version.artifact_digest, card=version.card_digest
    )
    return proposal


@action(Event.MODEL_EXPORTED, requires=Permission.MODEL_EXPORT)
def export_model(
    record: Record, actor: UserActor, version: ModelVersion, *, form: str, file: str, size: int
) -> None:
    """Write down that a released version leaves the house, before its file gets its name.

    Args:
        record: filled here.
        actor: the engineer.
        version: a released one: what two people approved is what leaves.
        form: which form of it.
        file: SHA-256 of the file.
        size: its bytes.

    Raises:
        ModelStateError: it is not released.
    """
    del actor
    if ModelVersion.objects.get(pk=version.pk).state != ModelState.RELEASED:
        raise ModelStateError("only a released model version is handed out")
    record.facts(artifact=version.artifact_digest, form=form, file=file, size=size)


@action(Event.MODEL_WITHDRAWN, requires=Permission.MODEL_WITHDRAW)
def withdraw_model(record: Record, actor: Actor, version: ModelVersion) -> ModelVersion:
    """Stop serving a version, for good; a version that was withdrawn is never released again.

    Ensembles that hold it are withdrawn with it, each with an entry of its own.

    Raises:
        ModelStateError: it is withdrawn already.
    """
    del actor
    version = ModelVersion.objects.select_for_update().get(pk=version.pk)
    if version.state == ModelState.WITHDRAWN:
        raise ModelStateError("this model version is withdrawn already")
    version.state = ModelState.WITHDRAWN
    version.save(update_fields=["state"])
    members.withdraw_ensembles(record, version)
    record.facts(artifact=version.artifact_digest)
    return version
