"""What a shadow's counts say, for whoever owns the model."""

from typing import Any

from gateway.models import ShadowCounts
from training.models import ModelVersion


def compared(version: ModelVersion) -> list[dict[str, Any]]:
    """A shadow beside each version that answered, summed over hours and processes."""
    sums: dict[int, dict[str, Any]] = {}
    rows = ShadowCounts.objects.filter(version=version).select_related("beside")
    for row in rows.order_by("beside__number"):
        found = sums.setdefault(
            row.beside.number,
            {"beside": row.beside.number, "scored": 0, "labels": 0, "higher": 0, "failed": 0},
        )
        for name in ("scored", "labels", "higher", "failed"):
            found[name] += row.counts[name]
        distances = found.setdefault("distances", [0] * len(row.counts["distances"]))
        found["distances"] = [
            a + b for a, b in zip(distances, row.counts["distances"], strict=True)
        ]
    return list(sums.values())
