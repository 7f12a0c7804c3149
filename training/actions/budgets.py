"""How much privacy a dataset may spend."""

from decimal import Decimal

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.models import Dataset, Proposal
from governance.permissions import Permission, ProposalKind
from governance.rbac import UserActor
from training import ledger
from training.errors import ConfigError
from training.mechanisms import exact
from training.planning import parse_epsilon

LARGEST_CAP = Decimal(100)  # as the settings' default: beyond, ε promises nothing to anybody


@action(Event.BUDGET_PROPOSED, requires=Permission.BUDGET_PROPOSE)
def propose_cap(record: Record, actor: UserActor, dataset: Dataset, *, epsilon: object) -> Proposal:
    """Propose another ε cap for a dataset; officer and tenant admin decide.

    A cap below what is spent takes nothing back: it refuses every further run. δ never changes, or
    figures of different runs could not be composed.

    Raises:
        ConfigError: `run.epsilon_invalid`, `budget.cap_invalid`.
    """
    cap = parse_epsilon(epsilon)
    if cap > LARGEST_CAP:
        raise ConfigError(
            f"an ε cap is at most {LARGEST_CAP}", code="budget.cap_invalid", pointer="/epsilon"
        )
    budget = ledger.budget_of(dataset)
    proposal = approvals.propose(
        ProposalKind.EPSILON_CAP,
        budget,
        {"budget": str(budget.id), "epsilon_cap": f"{cap:f}", "before": f"{budget.epsilon_cap:f}"},
        proposer_id=actor.user_id,
        tenant_id=dataset.tenant_id,
    )
    record.facts(epsilon=f"{cap:f}", delta=exact(float(budget.delta)), proposal=proposal.reference)
    return proposal
