"""What governance raises: one root, grown from `audit.errors.DomainError`."""

from audit.errors import DomainError, Kind


class GovernanceError(DomainError):
    """Root of what governance raises."""

    code = "governance.error"


class SealError(GovernanceError):
    """A sealed object, key or token does not open. One error for every cause, on purpose.

    Telling a wrong key from a changed byte, a missing segment or another object's identity would
    give whoever tampers an oracle; the detail is therefore a constant.
    """

    code = "crypto.open_failed"

    def __init__(self) -> None:
        super().__init__("the sealed data does not open")


class SuiteError(GovernanceError):
    """A suite id that is not known here, or a key of a length that the suite does not take."""

    code = "crypto.suite_unknown"


class KeyFileError(GovernanceError):
    """The root key file is missing, malformed, or readable by others."""

    code = "crypto.key_file"


class KeyVersionError(GovernanceError):
    """A key version is asked for that the provider or the tenant does not have."""

    code = "crypto.key_version"


class ObjectMissingError(GovernanceError):
    """A stored object's row is there and its sealed bytes are not."""

    code = "objects.missing"


class ErasedError(GovernanceError):
    """What is asked for was erased: its key was deleted on purpose."""

    code = "crypto.erased"
    kind = Kind.NOT_FOUND


class UploadError(GovernanceError):
    """An upload was refused: too large, without a tenant, more than one file, or broken off."""

    code = "upload.refused"
    kind = Kind.INVALID


class OperatorError(GovernanceError):
    """An operator's configuration is wrong, or the operator cannot do what was asked."""

    code = "anonymize.operator_invalid"
    kind = Kind.INVALID


class UnscopedError(GovernanceError):
    """Tenant data was queried outside a tenant's scope: a fault of ours."""

    code = "scope.missing"


class NotFoundError(GovernanceError):
    """There is no such thing, or it is not yours to know of: the two look the same."""

    code = "not_found"
    kind = Kind.NOT_FOUND


class InvalidError(GovernanceError):
    """The input is bad."""

    code = "invalid"
    kind = Kind.INVALID


class RefusedError(GovernanceError):
    """A purpose, a right or an approval is missing."""

    code = "refused"
    kind = Kind.REFUSED


class ConflictError(GovernanceError):
    """The state does not allow it now."""

    code = "conflict"
    kind = Kind.CONFLICT


class LostLeaseError(GovernanceError):
    """Another worker holds the job now; what this one did must not be written."""

    code = "job.lost_lease"
    kind = Kind.CONFLICT


class TableError(GovernanceError):
    """A table cannot be read or written; `governance.tables.faults` lists the codes and details.

    The detail names rows and columns by number. A column by name only where the caller named it:
    in a file whose header row is missing, the first person stands where the names should.
    """

    code = "table.invalid"
    kind = Kind.INVALID
