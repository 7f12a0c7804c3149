"""Which released version of a model answers which calls.

    full      the newest one answers what no canary answers
    canary    a share of the calls, each by its name, so that a replay comes to the same version
    shadow    none: it is scored beside, and nobody is shown what it says

Whatever its part, a version answers nothing before two people released it. After its end of service
(`sunset_at`) it answers nothing either: where there is another, that one does.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from training.models import ModelVersion, Service

_PARTS: Final = 10_000  # of all calls: a hundredth of a percent


@dataclass(frozen=True)
class Parts:
    """The versions of a model that have a part in its service.

    Attributes:
        full: answers all calls but the canary's. Where every one has ended, the newest of these:
            whoever asks is told that it has.
        canary, shadow: None where there is none.
    """

    full: ModelVersion | None
    canary: ModelVersion | None = None
    shadow: ModelVersion | None = None


def ended(version: ModelVersion, now: datetime) -> bool:
    """Whether a version's service has ended."""
    return version.sunset_at is not None and now >= version.sunset_at


def parts(released: Iterable[ModelVersion], now: datetime) -> Parts:
    """Of a model's released versions, the newest first, those that have a part."""
    kept = list(released)
    going = [version for version in kept if not ended(version, now)]

    def newest(of: list[ModelVersion], service: Service) -> ModelVersion | None:
        return next((version for version in of if version.service == service), None)

    return Parts(
        full=newest(going, Service.FULL) or newest(kept, Service.FULL),
        canary=newest(going, Service.CANARY),
        shadow=newest(going, Service.SHADOW),
    )


def is_drawn(canary: ModelVersion, name: str) -> bool:
    """Whether the call of this name is one of the canary's share.

    The name of a call under the caller's own `Idempotency-Key` is a keyed hash of that key, any
    other is random: nobody chooses the version that answers. Each canary draws anew.
    """
    drawn = hashlib.sha256(f"{canary.pk}\n{name}".encode()).digest()[:8]
    return int.from_bytes(drawn) % _PARTS < canary.share * _PARTS // 100
