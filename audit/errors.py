"""The error tree that every package grows from.

    DomainError                 code, kind, detail
    ├── AuditError              this package
    ├── GovernanceError         governance.errors
    ├── TrainingError           training.errors
    └── GatewayError            gateway.errors

A door (HTTP, command line) looks at `kind` alone to choose a status or an exit code, and prints
`code` and `detail`. Neither may hold personal data: a detail names fields, rows and limits, never
a value.
"""

from enum import StrEnum
from typing import ClassVar


class Kind(StrEnum):
    """What went wrong, as far as a door needs to know."""

    INVALID = "invalid"  # the input is bad: HTTP 400 or 422, exit 2
    NOT_FOUND = "not_found"  # not there, or not yours to know of: HTTP 404, exit 2
    UNAUTHENTICATED = "unauthenticated"  # no or bad credentials: HTTP 401, exit 3
    REFUSED = "refused"  # a right, purpose, budget or approval is missing: HTTP 403, exit 3
    CONFLICT = "conflict"  # the state does not allow it now: HTTP 409, exit 3
    TOO_MANY = "too_many"  # a rate or quota is used up: HTTP 429, exit 3
    FAILED = "failed"  # ours: HTTP 500, exit 4


class DomainError(Exception):
    """An error that a user may see: a stable code, a kind, a sentence without personal data.

    Subclasses set `code` and `kind`; a raise may narrow the code.
    """

    code: ClassVar[str] = "error"
    kind: ClassVar[Kind] = Kind.FAILED

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.stable_code = code or type(self).code
        self.pointer = pointer  # RFC 6901, where one input field is to blame

    def as_dict(self) -> dict[str, str]:
        """The object that every door prints."""
        shown = {"code": self.stable_code, "detail": self.detail}
        if self.pointer is not None:
            shown["pointer"] = self.pointer
        return shown


class AuditError(DomainError):
    """Root of what audit raises."""

    code = "audit.error"


class UndeclaredFactError(AuditError):
    """An action recorded a fact that its event does not declare, or of another type."""

    code = "audit.undeclared_fact"


class NestedActionError(AuditError):
    """An action called another action: what two share is a private function."""

    code = "audit.nested_action"


class RefusedError(AuditError):
    """The actor may not do this; `code` is the decision's reason."""

    code = "permission.denied"
    kind = Kind.REFUSED


class CanonicalError(AuditError):
    """A value has no canonical form (a float, a non-string key, a lone surrogate)."""

    code = "audit.not_canonical"


class ProofError(AuditError):
    """A proof, a signature or a digest does not hold. Never says which secret part failed."""

    code = "audit.proof_invalid"


class EquivocationError(AuditError):
    """The tree to be signed contradicts what this signer signed before."""

    code = "audit.equivocation"


class TriggerError(AuditError):
    """An append-only table is not protected as its migration says."""

    code = "audit.triggers_missing"


class BundleError(AuditError):
    """A bundle cannot be read: a file is missing, too large, or malformed."""

    code = "audit.bundle_malformed"
    kind = Kind.INVALID


class LicenseFileError(AuditError):
    """A license file or a revocation list is malformed, out of its time, or says no."""

    code = "license_file.malformed"
    kind = Kind.REFUSED


class KeyMissingError(AuditError):
    """A signing key is not where the settings say it is."""

    code = "audit.key_missing"
