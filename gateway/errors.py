"""What gateway raises: one root, grown from `audit.errors.DomainError`.

GatewayError
├── CredentialError        key.* auth.*        no credentials, or none that count
├── LicenseError           license.* model.*   the license does not allow the call
├── QuotaError             license.quota_*     the license is used up
├── RequestError           request.*           the request cannot be read
├── IdempotencyError       idempotency.*       a key was used for another body
├── InFlightError          idempotency.*       a call under the same key is being answered
├── FeedbackError          feedback.*         a label cannot be taken
├── ServingError           serving.*           the model cannot be served now: ours
├── OverloadedError        serving.overloaded  more calls wait than can be answered in time
└── DemoTableError         demo.*              the table of the demo is not installed
"""

from audit.errors import DomainError, Kind


class GatewayError(DomainError):
    """Root of what gateway raises."""

    code = "gateway.error"


class CredentialError(GatewayError):
    """There are no credentials, or they do not count (any more)."""

    code = "auth.required"
    kind = Kind.UNAUTHENTICATED


class LicenseError(GatewayError):
    """The license does not allow this call; the code is the first reason in the fixed order."""

    code = "license.refused"
    kind = Kind.REFUSED


class QuotaError(GatewayError):
    """The license's quota is used up."""

    code = "license.quota_exhausted"
    kind = Kind.TOO_MANY


class RequestError(GatewayError):
    """The request cannot be read, or a field of it is wrong. Never quotes what was sent."""

    code = "request.invalid"
    kind = Kind.INVALID


class IdempotencyError(GatewayError):
    """An idempotency key came back with another body."""

    code = "idempotency.body_differs"
    kind = Kind.INVALID


class InFlightError(GatewayError):
    """A call under the same idempotency key is being answered right now."""

    code = "idempotency.in_flight"
    kind = Kind.CONFLICT


class FeedbackError(GatewayError):
    """A label cannot be taken: the model does not know it, or it comes too late."""

    code = "feedback.label_unknown"
    kind = Kind.INVALID


class FeedbackConflictError(FeedbackError):
    """Another label was told for the same prediction before."""

    code = "feedback.conflict"
    kind = Kind.CONFLICT


class ServingError(GatewayError):
    """A released model, or its explanations' background, is not what was registered."""

    code = "serving.failed"


class OverloadedError(GatewayError):
    """More calls wait than can be answered in time; nothing of this one was charged or begun."""

    code = "serving.overloaded"

    def __init__(self, *, retry_after: int) -> None:
        """Say after how many seconds it is worth to come again."""
        super().__init__("too many calls wait: send it again a little later")
        self.retry_after = retry_after


class DemoTableError(GatewayError):
    """The public table that the demo is built from is not installed, or is not that table."""

    code = "demo.table_missing"
    kind = Kind.NOT_FOUND


class DemoHomeError(GatewayError):
    """This home holds a house that no demo founded, which a demo must not write into."""

    code = "demo.home_taken"
    kind = Kind.CONFLICT


class DemoStoppedError(GatewayError):
    """The demo could not go on; its detail says where."""

    code = "demo.stopped"
