"""What a license agrees: its terms as one value, checked as a whole, with a digest.

The terms at issue and after each amendment are told by their digest in the log, and in full in the
amendments' rows, so that "what was agreed on that day" is a question with one answer.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from django.utils import timezone

from audit.canonical import LARGEST, digest
from gateway.gcra import checked_rate
from gateway.models import Feature, License
from gateway.moments import LONGEST, in_days, microseconds
from gateway.releases import released_version
from governance.errors import ConflictError, InvalidError, RefusedError
from governance.models import Purpose
from training.models import Model
from training.rollouts import ended

# What an amendment may change; the term is a renewal's.
AMENDABLE: Final = (
    *("features", "purposes", "regions", "quota", "version", "seats", "trial"),
    *("rate", "burst"),
)
LONGEST_TRIAL: Final = timedelta(days=30)
REGION: Final = r"^[a-z][a-z0-9-]{1,39}$"
SEVERAL: Final = 64  # purposes or regions of one license, at most
MOST_SEATS: Final = 10_000


_REGION: Final = re.compile(REGION)


def is_region(text: str) -> bool:
    """Whether `text` is a region: an ISO 3166-1 alpha-2 code or a slug, in lower case."""
    return _REGION.fullmatch(text) is not None


@dataclass(frozen=True)
class Agreement:
    """The terms of one license.

    Attributes:
        version: the number of the version that answers; None: the newest released one (`stable`).
        features, purposes, regions: sorted, each once; no region means everywhere.
        quota: units in all.
        seats: how many keys may open it at a time; None: any number.
        trial: at most `LONGEST_TRIAL` long, one for each customer and model.
        rate, burst: calls a second, and at once; None: any number.
    """

    version: int | None
    features: tuple[str, ...]
    purposes: tuple[str, ...]
    regions: tuple[str, ...]
    quota: int
    seats: int | None
    trial: bool
    rate: int | None
    burst: int | None
    starts_at: datetime
    expires_at: datetime

    @classmethod
    def of(cls, license_: License) -> Self:
        """The terms that a row holds."""
        return cls(
            version=license_.version,
            features=tuple(license_.features),
            purposes=tuple(license_.purposes),
            regions=tuple(license_.regions),
            quota=license_.quota,
            seats=license_.seats,
            trial=license_.trial,
            rate=license_.rate,
            burst=license_.burst,
            starts_at=license_.starts_at,
            expires_at=license_.expires_at,
        )

    def fields(self) -> dict[str, Any]:
        """As the row holds them."""
        return {
            "version": self.version,
            "features": list(self.features),
            "purposes": list(self.purposes),
            "regions": list(self.regions),
            "quota": self.quota,
            "seats": self.seats,
            "trial": self.trial,
            "rate": self.rate,
            "burst": self.burst,
            "starts_at": self.starts_at,
            "expires_at": self.expires_at,
        }

    def told(self) -> dict[str, Any]:
        """As JSON: moments in microseconds since the Unix epoch."""
        return {
            **self.fields(),
            "starts_at": microseconds(self.starts_at),
            "expires_at": microseconds(self.expires_at),
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of `told`, in hexadecimal."""
        return digest(self.told())

    def amended(self, changes: Mapping[str, Any]) -> Self:
        """These terms with some of them changed.

        Raises:
            InvalidError: `license.amendment_invalid`: what is named is not amended, or nothing is.
            ConflictError: `license.not_a_trial`: a paid license does not become one.
        """
        if not changes or not changes.keys() <= set(AMENDABLE):
            raise InvalidError(
                "an amendment changes one or more of the terms that can be amended",
                code="license.amendment_invalid",
            )
        made = replace(self, **{name: _tidy(value) for name, value in changes.items()})
        rate, burst = checked_rate(made.rate, made.burst)
        made = replace(made, rate=rate, burst=burst)
        if made == self:
            raise InvalidError("these are the terms already", code="license.amendment_invalid")
        if made.trial and not self.trial:
            raise ConflictError(
                "a paid license does not become a trial",
                code="license.not_a_trial",
                pointer="/trial",
            )
        return made

    def check(self, model: Model) -> None:
        """Judge all terms that do not depend on the moment.

        Raises:
            InvalidError: `license.features_invalid`, `license.purposes_invalid`,
                `license.regions_invalid`, `license.quota_invalid`, `license.seats_invalid`,
                `license.term_invalid`, `license.trial_too_long`, `limit.rate_invalid`,
                `limit.burst_invalid`; the pointer names the term.
            RefusedError: `purpose.unknown`.
            ConflictError: `model.not_released`.
        """
        _require(
            bool(self.features) and set(self.features) <= set(Feature.values),
            "name one or more of the features that there are",
            code="license.features_invalid",
            pointer="/features",
        )
        _require(
            0 < len(self.purposes) <= SEVERAL,
            f"name 1 to {SEVERAL} purposes",
            code="license.purposes_invalid",
            pointer="/purposes",
        )
        _require(
            len(self.regions) <= SEVERAL and all(map(is_region, self.regions)),
            f"regions are country codes or slugs in lower case, {SEVERAL} at most",
            code="license.regions_invalid",
            pointer="/regions",
        )
        _require(
            0 < self.quota <= LARGEST,
            "a quota is a whole number from 1 to 2**53 - 1",
            code="license.quota_invalid",
            pointer="/quota",
        )
        _require(
            self.seats is None or 0 < self.seats <= MOST_SEATS,
            f"seats are a whole number from 1 to {MOST_SEATS}",
            code="license.seats_invalid",
            pointer="/seats",
        )
        checked_rate(self.rate, self.burst)
        _require(
            self.starts_at < self.expires_at <= in_days(LONGEST),
            "a license ends after it starts, within a hundred years",
            code="license.term_invalid",
            pointer="/expires_at",
        )
        _require(
            not self.trial or self.expires_at - self.starts_at <= LONGEST_TRIAL,
            f"a trial lasts {LONGEST_TRIAL.days} days at most",
            code="license.trial_too_long",
            pointer="/expires_at",
        )
        declared = Purpose.objects.filter(tenant_id=model.tenant_id, slug__in=self.purposes)
        if declared.count() != len(self.purposes):
            raise RefusedError(
                "the model's owner declared no such purpose",
                code="purpose.unknown",
                pointer="/purposes",
            )
        found = released_version(model.id, self.version)
        if found is None or ended(found, timezone.now()):
            raise ConflictError(
                "no such version of this model is released",
                code="model.not_released",
                pointer="/version",
            )


def tidy(values: Collection[str]) -> tuple[str, ...]:
    """Sorted, each once."""
    return tuple(sorted(set(values)))


def _tidy(value: Any) -> Any:
    return tidy(value) if isinstance(value, list | tuple | set | frozenset) else value


def _require(holds: bool, detail: str, *, code: str, pointer: str) -> None:  # noqa: FBT001 - the condition
    if not holds:
        raise InvalidError(detail, code=code, pointer=pointer)
