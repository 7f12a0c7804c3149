"""Whether a call is allowed: one table of reasons, asked in one fixed order.

A customer who is refused reads the first reason that holds, and the same call is refused with the
same code tomorrow. `admit` is pure: what it judges is read by the caller, at the start of the call
and again, under the row's lock, in the transaction that charges it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from audit.errors import DomainError
from gateway.errors import CredentialError, LicenseError, QuotaError
from gateway.keys import KeyFacts
from gateway.models import Feature, License


@dataclass(frozen=True)
class Terms:
    """A license, as it was when it was read."""

    id: UUID
    customer_id: UUID
    model_id: UUID
    features: frozenset[str]
    purpose: str
    quota: int
    used: int
    starts_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, license_: License) -> "Terms":
        """The terms that a row holds."""
        return cls(
            id=license_.id,
            customer_id=license_.customer_id,
            model_id=license_.model_id,
            features=frozenset(license_.features),
            purpose=license_.purpose,
            quota=license_.quota,
            used=license_.used,
            starts_at=license_.starts_at,
            expires_at=license_.expires_at,
            revoked_at=license_.revoked_at,
        )


@dataclass(frozen=True)
class Call:
    """What is asked, with which key, under which terms.

    Attributes:
        key: the key's facts.
        terms: the license of that key.
        feature: predict or explain.
        purpose: what the caller says the call is for; None says "as licensed".
        model_purposes: what the released version was trained for; None if none is released.
        units: what the call costs.
        now: the moment of judgment.
        sunset_at: when that version's service ends; None where no end was announced.
    """

    key: KeyFacts
    terms: Terms
    feature: Feature
    purpose: str | None
    model_purposes: Collection[str] | None
    units: int
    now: datetime
    sunset_at: datetime | None = None


@dataclass(frozen=True)
class Denial:
    """One reason to refuse: its stable code, what a person reads, and when it holds."""

    code: str
    detail: str
    error: type[DomainError]
    holds: Callable[[Call], bool]

    def raised(self) -> DomainError:
        """The error to raise."""
        return self.error(self.detail, code=self.code)


def revoked(key: KeyFacts) -> bool:
    """Whether a key was revoked, whenever: the revoking machine's clock may run ahead of ours."""
    return key.revoked_at is not None


def expired(key: KeyFacts, now: datetime) -> bool:
    """Whether a key's time is over."""
    return now >= key.expires_at


# Before these stand `key.malformed` and `key.unknown`, which `gateway.keys` raises: until a key is
# authenticated there is no license to speak of.
DENIALS: Final = (
    Denial(
        "key.revoked",
        "this API key was revoked",
        CredentialError,
        lambda call: revoked(call.key),
    ),
    Denial(
        "key.expired",
        "this API key has expired",
        CredentialError,
        lambda call: expired(call.key, call.now),
    ),
    Denial(
        "license.revoked",
        "the license was revoked",
        LicenseError,
        lambda call: call.terms.revoked_at is not None,
    ),
    Denial(
        "license.not_started",
        "the license has not started",
        LicenseError,
        lambda call: call.now < call.terms.starts_at,
    ),
    Denial(
        "license.expired",
        "the license has expired",
        LicenseError,
        lambda call: call.now >= call.terms.expires_at,
    ),
    Denial(
        "license.other_customer",
        "the license is another customer's",
        LicenseError,
        lambda call: call.key.tenant_id != call.terms.customer_id,
    ),
    Denial(
        "license.feature_missing",
        "the license does not cover this feature",
        LicenseError,
        lambda call: call.feature.value not in call.terms.features,
    ),
    Denial(
        "license.purpose_differs",
        "the license is for another purpose",
        LicenseError,
        lambda call: call.purpose is not None and call.purpose != call.terms.purpose,
    ),
    Denial(
        "model.not_released",
        "no version of this model is released",
        LicenseError,
        lambda call: call.model_purposes is None,
    ),
    Denial(
        "model.sunset",
        "the service of this model version has ended, as was announced",
        LicenseError,
        lambda call: call.sunset_at is not None and call.now >= call.sunset_at,
    ),
    Denial(
        "model.purpose_differs",
        "the released version was trained for another purpose",
        LicenseError,
        lambda call: (
            call.model_purposes is not None and call.terms.purpose not in call.model_purposes
        ),
    ),
    Denial(
        "license.quota_exhausted",
        "the license's quota is used up",
        QuotaError,
        lambda call: call.key.charged and call.terms.used + call.units > call.terms.quota,
    ),
)


def judge_key(key: KeyFacts, now: datetime) -> Denial | None:
    """The first denial that concerns the key alone: judged for every door that a key opens."""
    if revoked(key):
        return DENIALS[0]
    return DENIALS[1] if expired(key, now) else None


def admit(call: Call) -> Denial | None:
    """The first denial that holds, or None."""
    return next((denial for denial in DENIALS if denial.holds(call)), None)
