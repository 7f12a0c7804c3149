"""Background rows for explanations that never were anybody: walked from public declarations.

Real rows as a background would be a release outside the run's ε. These rows come from the feature
specification and a seed alone. Columns are stratified (a Latin hypercube): n rows visit n evenly
spaced points of each numeric range and repeat each category value equally often.
"""

from typing import Final

import numpy as np

from training.errors import FeatureError
from training.features import Category, Encoded, Feature, FeatureSpec, Numeric

ORIGIN = "synthetic: feature specification and seed, no data"

# Of no person and of no subject in particular: what a text is compared with.
SENTENCES: Final = (
    "This is a text.",
    "The matter was discussed and will be looked at again.",
    "Please find the details below.",
    "Nothing unusual was noticed today.",
    "There was a question, and it was answered.",
    "It took longer than expected.",
    "Everything went as planned.",
    "More information is needed before a decision can be made.",
)


def synthetic_background(spec: FeatureSpec, rows: int, seed: int) -> list[dict[str, str | None]]:
    """`rows` invented rows by column name.

    A hashed column is missing in all of them, because no public value of it is known; an encoded
    one holds sentences that say little.

    Raises:
        FeatureError: fewer than one row is asked for.
    """
    if rows < 1:
        raise FeatureError("a background needs at least one row", code="feature.background_empty")
    generator = np.random.Generator(np.random.Philox(seed))
    columns = {
        feature.name: _column(feature, generator.permutation(rows), rows)
        for feature in spec.features
    }
    return [{name: column[row] for name, column in columns.items()} for row in range(rows)]


def _column(feature: Feature, order: np.ndarray, rows: int) -> list[str | None]:
    if isinstance(feature, Numeric):
        return [feature.value_at((int(place) + 0.5) / rows) for place in order]
    if isinstance(feature, Category):
        return [feature.values[int(place) % len(feature.values)] for place in order]
    if isinstance(feature, Encoded):
        return [SENTENCES[int(place) % len(SENTENCES)] for place in order]
    return [None] * rows
