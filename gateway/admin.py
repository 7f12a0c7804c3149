"""The console's sections, where Django looks for them: importing registers."""

from gateway.console import (
    budgets,
    datasets,
    entries,
    licenses,
    models,
    people,
    proposals,
    runs,
)

__all__ = [
    "budgets", "datasets", "entries", "licenses", "models", "people", "proposals", "runs",
]  # fmt: skip
