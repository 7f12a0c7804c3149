"""Tokens back to what they stand for: asked with a reason, approved by two, used once."""

import re
from collections.abc import Sequence
from typing import Final

from audit.events import Event
from audit.recording import Record, action
from governance import approvals
from governance.anonymization.operators import Token
from governance.errors import InvalidError
from governance.models import Dataset, Proposal
from governance.permissions import Permission, ProposalKind
from governance.rbac import UserActor
from governance.tenant_keys import operator_keys

MOST: Final = 100  # tokens in one proposal: this is for a case, not for undoing a dataset
REASONS: Final = frozenset({"subject_request", "legal_order", "fraud_case", "error_correction"})
_TOKEN: Final = re.compile(r"[0-9a-f]{34,4096}")
_ENTITY: Final = re.compile(r"[A-Z][A-Z0-9_]{1,40}")


@action(Event.REVEAL_PROPOSED, requires=Permission.REVEAL_PROPOSE)
def propose_reveal(
    record: Record,
    actor: UserActor,
    dataset: Dataset,
    *,
    entity: str,
    tokens: Sequence[str],
    reason: str,
) -> Proposal:
    """Ask for the values behind some tokens; officer and tenant admin decide.

    Raises:
        InvalidError: `reveal.reason_unknown`, `reveal.tokens_invalid`.
    """
    if reason not in REASONS:
        raise InvalidError("the reason is not one of the known ones", code="reveal.reason_unknown")
    payload = _payload(entity, tokens)
    proposal = approvals.propose(
        ProposalKind.REVEAL,
        dataset,
        {**payload, "reason": reason},
        proposer_id=actor.user_id,
        tenant_id=dataset.tenant_id,
    )
    record.facts(proposal=proposal.reference, reason=reason, tokens=len(tokens))
    return proposal


@action(Event.TOKENS_REVEALED, requires=Permission.REVEAL_USE)
def reveal_tokens(record: Record, actor: UserActor, dataset: Dataset) -> list[str]:
    """The values behind the tokens of the approved proposal, in its order; the approval is used up.

    Raises:
        RefusedError: an approval lacks, is stale or used.
        OperatorError: a token is not one of this tenant's and entity's: one opaque failure.
    """
    del actor  # asked already, and the approval that it answered with is used up here
    proposal = approvals.use(ProposalKind.REVEAL, dataset)
    asked = approvals.payload_of(proposal)
    token = Token(operator_keys(dataset.tenant))
    values = [token.reveal(value, asked["entity"]) for value in asked["tokens"]]
    record.facts(proposal=proposal.reference, tokens=len(values))
    return values


def _payload(entity: str, tokens: Sequence[str]) -> dict[str, object]:
    good = _ENTITY.fullmatch(entity) and 0 < len(tokens) <= MOST
    if not good or not all(_TOKEN.fullmatch(token) for token in tokens):
        raise InvalidError(
            f"1 to {MOST} tokens of one entity are revealed at a time", code="reveal.tokens_invalid"
        )
    return {"entity": entity, "tokens": list(tokens)}
