"""A stored measurement as the doors show it: counts turned into shares. Loads no model."""

from typing import Any

from governance.measurement.scoring import Count, Scores, summed
from governance.models import ColumnPlanVersion, DetectorMeasurement, Tenant


def shown(made: DetectorMeasurement) -> dict[str, Any]:
    """Every figure of a measurement, shares with four digits."""
    counts = counts_of(made)
    return {
        "id": str(made.id),
        "detector": made.detector,
        "rules": made.rules,
        "rows": made.rows,
        "totals": [Scores.of(count).as_dict() for count in summed(counts, "shape", "language")],
        "scores": [Scores.of(count).as_dict() for count in counts],
    }


def counts_of(made: DetectorMeasurement) -> list[Count]:
    """What was counted."""
    return [Count.from_dict(stored) for stored in made.counts]


def unmeasured(tenant: Tenant) -> str:
    """The detector of the tenant's newest column plan, when nobody measured it; else "".

    The version of the detector in force is known to the workers, which have its models; what they
    used last stands in the plans.
    """
    newest = (
        ColumnPlanVersion.objects.filter(tenant=tenant)
        .order_by("-created_at")
        .values_list("detector", flat=True)
        .first()
    )
    if not newest or DetectorMeasurement.objects.filter(tenant=tenant, detector=newest).exists():
        return ""
    return newest
