"""What gateway raises: one root, grown from `audit.errors.DomainError`."""

from audit.errors import DomainError


class GatewayError(DomainError):
    """Root of what gateway raises."""

    code = "gateway.error"
