"""What a call rests on: its license, the customer, and the version that is served, read together.

Remembered for `LIFE` seconds a process, as keys are. That is never what decides: the transaction
that charges a call asks license, key and release again, and a call that it turns down is judged
once more by rows read afresh (`gateway.calls`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from gateway.aging import LIFE, Aging
from gateway.authentication import KeyActor
from gateway.licensing import Call, Terms
from gateway.models import Feature, License
from gateway.quotas import Limits
from gateway.releases import parts_of, released_version
from governance.lookup import find
from governance.models import Tenant
from governance.scoping import across_tenants
from training.models import Model, ModelVersion
from training.rollouts import Parts, is_drawn

CAPACITY: Final = 10_000  # licenses


@dataclass(frozen=True)
class Standing:
    """One license as it was when it was read.

    Attributes:
        license: with its model.
        terms: what it says.
        customer: who holds it.
        version: what answers: the version it is bound to, or the newest released one of its model
            that answers all calls; None if none is.
        purposes: what that version was trained for; None without one.
        canary, shadow: versions with these parts; None where the license is bound to a version.
        limits: the rates and quotas of its calls.
    """

    license: License
    terms: Terms
    customer: Tenant
    version: ModelVersion | None
    purposes: frozenset[str] | None
    limits: Limits
    canary: ModelVersion | None = None
    shadow: ModelVersion | None = None

    @property
    def sunset_at(self) -> datetime | None:
        """When the service of what answers ends."""
        return None if self.version is None else self.version.sunset_at

    def call(
        self,
        actor: KeyActor,
        *,
        feature: Feature,
        units: int,
        purpose: str | None = None,
        region: str | None = None,
    ) -> Call:
        """A call under this license, as every door has it judged and charged.

        Args:
            actor: the key, and where it calls from.
            feature: what is asked for.
            units: what it costs.
            purpose: as the caller says.
            region: likewise; where calls are answered stands for one that nobody says.
        """
        return Call(
            key=actor.facts,
            terms=self.terms,
            feature=feature,
            purpose=purpose,
            model_purposes=self.purposes,
            units=units,
            now=timezone.now(),
            limits=self.limits.quotas(actor.facts.id),
            address=actor.address,
            region=region or settings.SERVING_REGION or None,
            sunset_at=self.sunset_at,
        )

    def drawn(self, name: str) -> "Standing":
        """As it is for the call of this name: with the canary as what answers, if it is drawn.

        A canary that was trained for another purpose than what answers the others is not drawn.
        """
        if self.canary is None or not is_drawn(self.canary, name):
            return self
        purposes = _purposes(self.canary)
        if purposes != self.purposes:
            return self
        return replace(self, version=self.canary, purposes=purposes)


class Standings:
    """What was read of licenses lately, in this process."""

    def __init__(self, *, life: float = LIFE, clock: Callable[[], float] = time.monotonic) -> None:
        self._life, self._clock = life, clock
        self._known: Aging[tuple[UUID, UUID], Standing] = Aging(CAPACITY)

    def find(self, actor: KeyActor, *, fresh: bool = False) -> Standing:
        """What calls of this key rest on; `fresh` reads it now. The customer's scope is open.

        Raises:
            NotFoundError: the key's license is not its customer's; recorded.
        """
        began = self._clock()
        place = actor.tenant_id, actor.facts.license_id
        known = None if fresh else self._known.get(place, began - self._life)
        if known is not None:
            return known[0]
        standing = _read(actor)
        self._known.put(place, began, standing)
        return standing

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()


STANDINGS: Final = Standings()


def _read(actor: KeyActor) -> Standing:
    license_ = find(actor, License, str(actor.facts.license_id))
    with across_tenants(reason="a license reaches the model of another tenant"):
        license_.model = Model.objects.get(pk=license_.model_id)
    if license_.version is None:
        found = parts_of(license_.model_id)
    else:
        found = Parts(released_version(license_.model_id, license_.version))
    version = found.full
    return Standing(
        license=license_,
        terms=Terms.of(license_),
        customer=Tenant.objects.get(pk=actor.tenant_id),
        version=version,
        purposes=None if version is None else _purposes(version),
        limits=Limits.of(license_),
        canary=found.canary,
        shadow=found.shadow,
    )


def _purposes(version: ModelVersion) -> frozenset[str]:
    """What a version was trained for. One that was not trained here says so in its card."""
    if version.run is not None:
        return frozenset({version.run.purpose})
    return frozenset({str(version.card.get("purpose", ""))})
