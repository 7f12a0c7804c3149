"""Whether a call is allowed: one table of reasons, asked in one fixed order.

A customer who is refused reads the first reason that holds, and the same call is refused with the
same code tomorrow. `admit` is pure: what it judges is read by the caller, at the start of the call
and again, under the row's lock, in the transaction that charges it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from audit.errors import DomainError
from gateway.errors import CredentialError, KeyRefusedError, LicenseError, QuotaError
from gateway.keys import KeyFacts
from gateway.models import Feature, License
from gateway.quotas import EXHAUSTED, LimitTerms, exhausted, wait_for
from gateway.scopes import within


@dataclass(frozen=True)
class Terms:
    """A license, as it was when it was read."""

    id: UUID
    customer_id: UUID
    model_id: UUID
    features: frozenset[str]
    purposes: frozenset[str]
    quota: int
    used: int
    starts_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    suspended_at: datetime | None = None
    regions: frozenset[str] = frozenset()  # none: everywhere
    amended: int = 0  # how often the terms were changed

    @classmethod
    def of(cls, license_: License) -> "Terms":
        """The terms that a row holds."""
        return cls(
            id=license_.id,
            customer_id=license_.customer_id,
            model_id=license_.model_id,
            features=frozenset(license_.features),
            purposes=frozenset(license_.purposes),
            quota=license_.quota,
            used=license_.used,
            starts_at=license_.starts_at,
            expires_at=license_.expires_at,
            revoked_at=license_.revoked_at,
            suspended_at=license_.suspended_at,
            regions=frozenset(license_.regions),
            amended=license_.amended,
        )


@dataclass(frozen=True)
class Call:
    """What is asked, with which key, under which terms.

    Attributes:
        key: the key's facts.
        terms: the license of that key.
        feature: predict or explain.
        purpose: what the caller says the call is for; None says "as licensed", which only a
            license with a single purpose answers.
        model_purposes: what the released version was trained for; None if none is released.
        units: what the call costs.
        now: the moment of judgment.
        limits: those with a quota that concern the call, beside the license's own.
        address: where the call comes from; None where the door has judged it.
        region: where the answer is used, or else where it is made; None if nobody says.
        sunset_at: when that version's service ends; None where no end was announced.
    """

    key: KeyFacts
    terms: Terms
    feature: Feature
    purpose: str | None
    model_purposes: Collection[str] | None
    units: int
    now: datetime
    limits: Sequence[LimitTerms] = ()
    address: str | None = None
    region: str | None = None
    sunset_at: datetime | None = None

    @property
    def stated_purpose(self) -> str | None:
        """What the call is for: as told, or the license's only purpose."""
        if self.purpose is None and len(self.terms.purposes) == 1:
            return next(iter(self.terms.purposes))
        return self.purpose


@dataclass(frozen=True)
class Denial:
    """One reason to refuse: its stable code, what a person reads, and when it holds."""

    code: str
    detail: str
    error: type[DomainError]
    holds: Callable[[Call], bool]

    def raised(self, call: Call | None = None) -> DomainError:
        """The error to raise; that of a quota tells how long the call is to wait."""
        wait = None if call is None else wait_for(self.code, call.limits, call.now)
        if wait is not None:
            return QuotaError(self.detail, code=self.code, wait=wait)
        return self.error(self.detail, code=self.code)


def revoked(key: KeyFacts) -> bool:
    """Whether a key was revoked, whenever: the revoking machine's clock may run ahead of ours."""
    return key.revoked_at is not None


def expired(key: KeyFacts, now: datetime) -> bool:
    """Whether a key's time is over."""
    return now >= key.expires_at


def elsewhere(key: KeyFacts, address: str | None) -> bool:
    """Whether a key is used from where it may not be."""
    return bool(key.networks) and address is not None and not within(address, key.networks)


def covers(key: KeyFacts, scope: str) -> bool:
    """Whether a key may be used for this."""
    return key.scopes is None or scope in key.scopes


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
        "key.address_refused",
        "this API key may not be used from here",
        KeyRefusedError,
        lambda call: elsewhere(call.key, call.address),
    ),
    Denial(
        "key.scope_missing",
        "this API key is not for this",
        KeyRefusedError,
        lambda call: not covers(call.key, call.feature.value),
    ),
    Denial(
        "license.revoked",
        "the license was revoked",
        LicenseError,
        lambda call: call.terms.revoked_at is not None,
    ),
    Denial(
        "license.suspended",
        "the license is suspended",
        LicenseError,
        lambda call: call.terms.suspended_at is not None,
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
        "license.purpose_missing",
        "the license is for several purposes, and the call must name one",
        LicenseError,
        lambda call: call.stated_purpose is None,
    ),
    Denial(
        "license.purpose_differs",
        "the license is for another purpose",
        LicenseError,
        lambda call: call.purpose is not None and call.purpose not in call.terms.purposes,
    ),
    Denial(
        "license.region_missing",
        "the license is for certain regions, and the call must name one",
        LicenseError,
        lambda call: bool(call.terms.regions) and call.region is None,
    ),
    Denial(
        "license.region_differs",
        "the license is for other regions",
        LicenseError,
        lambda call: (
            bool(call.terms.regions)
            and call.region is not None
            and call.region not in call.terms.regions
        ),
    ),
    Denial(
        "model.not_released",
        "no version of this model that the license allows is released",
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
            call.model_purposes is not None and call.stated_purpose not in call.model_purposes
        ),
    ),
    Denial(
        "license.quota_exhausted",
        "the license's quota is used up",
        QuotaError,
        lambda call: call.key.charged and call.terms.used + call.units > call.terms.quota,
    ),
    *(
        Denial(
            code,
            detail,
            QuotaError,
            lambda call, scope=scope: (
                call.key.charged  # type: ignore[misc]  # bound by the loop
                and exhausted(scope, call.limits, call.units, call.now)
            ),
        )
        for scope, (code, detail) in EXHAUSTED.items()
    ),
)


def judge_key(key: KeyFacts, now: datetime, address: str | None = None) -> Denial | None:
    """The first denial that concerns the key alone: judged for every door that a key opens."""
    if revoked(key):
        return DENIALS[0]
    if expired(key, now):
        return DENIALS[1]
    return DENIALS[2] if elsewhere(key, address) else None


def admit(call: Call) -> Denial | None:
    """The first denial that holds, or None."""
    return next((denial for denial in DENIALS if denial.holds(call)), None)
