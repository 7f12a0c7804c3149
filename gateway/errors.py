"""What gateway raises: one root, grown from `audit.errors.DomainError`.

GatewayError
├── CredentialError        key.* auth.*        no credentials, or none that count
├── KeyRefusedError        key.*               the key is good, and not for this
├── LicenseError           license.* model.*   the license does not allow the call
├── TermsChangedError      license.terms_*     the license was amended while a call was answered
├── QuotaError             license.quota_* quota.*   a quota is used up
├── RateError              limit.rate_*        too many calls a second
├── RequestError           request.*           the request cannot be read
├── RowsError              request.*           rows of a batch do not fit the model's schema
├── BusyError              batch.*             too many batches at once, or one that takes too long
├── CallFileError          callfile.*          a file of rows cannot be taken or read
├── CallFileStateError     callfile.*          its state does not allow it
├── IdempotencyError       idempotency.*       a key was used for another body
├── InFlightError          idempotency.*       a call under the same key is being answered
├── FeedbackError          feedback.*         a label cannot be taken
├── StatementError         statement.*         a statement cannot be made
├── ServingError           serving.*           the model cannot be served now: ours
├── OverloadedError        serving.overloaded  more calls wait than can be answered in time
└── DemoTableError         demo.*              the table of the demo is not installed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from audit.errors import DomainError, Kind


class GatewayError(DomainError):
    """Root of what gateway raises."""

    code = "gateway.error"
    headers: Mapping[str, str] = MappingProxyType({})  # of the answer over HTTP


class CredentialError(GatewayError):
    """There are no credentials, or they do not count (any more)."""

    code = "auth.required"
    kind = Kind.UNAUTHENTICATED


class KeyRefusedError(GatewayError):
    """The key is good, and not for this: not from here, or not for what was asked."""

    code = "key.refused"
    kind = Kind.REFUSED


class LicenseError(GatewayError):
    """The license does not allow this call; the code is the first reason in the fixed order."""

    code = "license.refused"
    kind = Kind.REFUSED


class TermsChangedError(GatewayError):
    """The license was amended while the call was answered; the same call may be sent again."""

    code = "license.terms_changed"
    kind = Kind.CONFLICT


class QuotaError(GatewayError):
    """A quota is used up.

    `wait` is how many seconds it stays so at least: until the next period. A quota without periods
    is only raised by people, so that a program is told to come again tomorrow.
    """

    code = "license.quota_exhausted"
    kind = Kind.TOO_MANY

    def __init__(self, detail: str, *, code: str | None = None, wait: int = 24 * 3600) -> None:
        super().__init__(detail, code=code)
        self.headers = {"Retry-After": str(wait)}


class RateError(GatewayError):
    """Too many calls a second. Counted, and recorded once a minute and key."""

    code = "limit.rate_exceeded"
    kind = Kind.TOO_MANY

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__("too many calls: come again when Retry-After is over")
        self.headers = headers


class RequestError(GatewayError):
    """The request cannot be read, or a field of it is wrong. Never quotes what was sent."""

    code = "request.invalid"
    kind = Kind.INVALID


@dataclass(frozen=True)
class Fault:
    """What is wrong with one part of a body, by pointer and code."""

    pointer: str
    code: str
    detail: str


class RowsError(RequestError):
    """Rows of a batch are wrong; `faults` names the first of them, none by what was sent."""

    code = "request.rows_invalid"

    def __init__(self, detail: str, faults: Sequence[Fault]) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)


class BusyError(GatewayError):
    """A batch cannot be answered now: others are, or it would take too long."""

    code = "batch.busy"
    kind = Kind.TOO_MANY


class CallFileError(GatewayError):
    """A file of rows cannot be taken or read. Never quotes it."""

    code = "callfile.unreadable"
    kind = Kind.INVALID


class CallFileStateError(CallFileError):
    """What is asked of a file does not fit the state that it is in."""

    code = "callfile.ended"
    kind = Kind.CONFLICT


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


class StatementError(GatewayError):
    """A statement cannot be made: there is nothing to state, or log and rollups differ."""

    code = "statement.not_reconciled"


class NoLicenseError(StatementError):
    """No license of this customer is the asking tenant's to see."""

    code = "statement.no_license"
    kind = Kind.NOT_FOUND


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
