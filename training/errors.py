"""What training raises: one root, grown from `audit.errors.DomainError`."""

from audit.errors import DomainError


class TrainingError(DomainError):
    """Root of what training raises."""

    code = "training.error"
