"""The models of this process: opened, checked, kept warm; one row in, a score and its reasons out.

Imports torch: the doors reach this module when the first call comes. An artifact is unsealed from
the object store, its SHA-256 compared with the registered one, and its network rebuilt from an
allow-list (`training.artifacts`). Explanations are made against rows that nobody is: the background
follows from the public feature specification, and must have the digest that was registered before
the first call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from audit import explanations
from gateway.errors import ServingError
from governance import vault
from governance.scoping import across_tenants
from training.backgrounds import ORIGIN, synthetic_background
from training.features import FeatureSpec
from training.models import ModelVersion
from training.serving import PLACES, LoadedModel, ModelCache

MODELS: Final = ModelCache()
THRESHOLD: Final = 0.5
_ROWS_AT_MOST: Final = 1_000  # of a background

_BACKGROUNDS_AT_MOST: Final = 256
_backgrounds: dict[str, explanations.Background] = {}


@dataclass(frozen=True)
class Explained:
    """A row's score and label, as in `scores`, and the full record of their explanation."""

    score: float
    label: str | None
    explanation: dict[str, Any]


def loaded(version: ModelVersion) -> LoadedModel:
    """The model of a released version, warm after its first call in this process.

    Raises:
        ArtifactError: the stored bytes are not the registered ones.
        SealError: they do not open.
    """
    return MODELS.get(version.artifact_digest, lambda: _unsealed(version))


def scores(
    model: LoadedModel, rows: Sequence[dict[str, str | None]]
) -> list[tuple[float, str | None]]:
    """Score and label of each checked row.

    Score: probability of the positive label, rounded to `training.serving.PLACES`. Label: the
    positive one from `THRESHOLD` on, else the negative one; None where every other label is
    negative.
    """
    target = model.spec.target
    return [
        (probability, target.positive if probability >= THRESHOLD else target.negative)
        for probability in model.predict_proba(rows).tolist()
    ]


def explained(
    model: LoadedModel,
    version: ModelVersion,
    row: dict[str, str | None],
    *,
    record_id: str,
    commitment: str,
) -> Explained:
    """Score one checked row, and explain the score.

    Args:
        model: of `loaded(version)`.
        version: what the background was registered with.
        row: of `LoadedModel.check_row`.
        record_id: identity of the prediction; seeds the explanation.
        commitment: the keyed hash of the row that the log and the record hold.

    Raises:
        ServingError: the background is not the registered one, or the explanation is of another
            output than the score.
        ExplanationError: a score is not finite.
    """
    ((probability, label),) = scores(model, [row])
    record = explanations.explain_row(
        model.predict_columns,
        [row[name] for name in model.spec.names],
        background(model, version),
        record_id=record_id,
        model_digest=model.digest,
        input_commitment=commitment,
    )
    if abs(float(record["output"]) - probability) > 10**-PLACES:
        raise ServingError(
            "the explanation is of another output than the answer",
            code="serving.explanation_differs",
        )
    return Explained(probability, label, record)


def background(model: LoadedModel, version: ModelVersion) -> explanations.Background:
    """The rows that a version's scores are explained against.

    Raises:
        ServingError: `serving.background_missing`, `serving.background_differs`: they are not those
            of the registration.
    """
    known = _backgrounds.get(model.digest)
    if known is None:
        known = _stated_background(model.spec, version.card)
        if len(_backgrounds) >= _BACKGROUNDS_AT_MOST:
            _backgrounds.clear()
        _backgrounds[model.digest] = known
    if known.digest() != version.background_digest:
        raise ServingError(
            "the background of this model's explanations is not the registered one",
            code="serving.background_differs",
        )
    return known


def _stated_background(spec: FeatureSpec, card: dict[str, Any]) -> explanations.Background:
    """The background that the card states, made again from the feature specification."""
    stated = card.get("background", {})
    rows, seed = stated.get("rows"), stated.get("seed")
    if type(rows) is not int or type(seed) is not int or not 0 < rows <= _ROWS_AT_MOST:
        raise ServingError(
            "the card states no background to explain against", code="serving.background_missing"
        )
    return explanations.Background.from_rows(
        synthetic_background(spec, rows, seed), spec.names, ORIGIN
    )


def _unsealed(version: ModelVersion) -> bytes:
    with (
        across_tenants(reason="a license reaches the model of another tenant"),
        vault.open_object(version.artifact) as reader,
    ):
        return reader.read()
