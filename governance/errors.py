"""What governance raises: one root, grown from `audit.errors.DomainError`."""

from audit.errors import DomainError


class GovernanceError(DomainError):
    """Root of what governance raises."""

    code = "governance.error"
