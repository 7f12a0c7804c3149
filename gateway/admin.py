"""The console's sections, where Django looks for them: importing registers."""

from gateway.console import (
    budgets,
    callfiles,
    datasets,
    devices,
    entries,
    examinations,
    fetches,
    licenses,
    measurements,
    models,
    people,
    proposals,
    quality,
    releases,
    rules,
    runs,
    usage,
)

__all__ = [
    "budgets", "callfiles", "datasets", "devices", "entries", "examinations", "fetches", "licenses",
    "measurements", "models", "people", "proposals", "quality", "releases", "rules", "runs",
    "usage",
]  # fmt: skip
