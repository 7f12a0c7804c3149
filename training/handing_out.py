"""A released model as a file for another runtime: ONNX, whole, pruned or with 8-bit integers.

What a row must look like travels inside, as the specification's canonical JSON under the key
`features`; `training.features` says how cells become the graph's input.
"""

from dataclasses import dataclass
from pathlib import Path

import onnx

from audit.canonical import canonical
from governance.errors import NotFoundError
from governance.exporting import named_when_done
from governance.rbac import UserActor
from governance.vault import open_object
from training.actions.models import export_model
from training.artifacts import from_bytes
from training.compression import compress
from training.config import Form, Guarantee
from training.errors import ConfigError
from training.models import Model, ModelState, ModelVersion


@dataclass(frozen=True)
class HandedOut:
    """What was written."""

    version: ModelVersion
    form: Form
    digest: str
    size: int


def hand_out(actor: UserActor, model: Model, form: str, out: Path) -> HandedOut:
    """Write the released version of a model to a new file.

    Args:
        actor: the engineer.
        model: which.
        form: one of `training.config.Form`.
        out: a new file.

    Raises:
        ConfigError: `run.forms_invalid`, there is no such form, or not of a waived run's model.
        NotFoundError: `model.no_version`, none is released.
        ArtifactError: `artifact.form_unsupported`.
        InvalidError: `file.exists`, `file.unwritable`.
    """
    try:
        asked = Form(form)
    except ValueError:
        raise ConfigError(
            "there is no such form", code="run.forms_invalid", pointer="/form"
        ) from None
    released = ModelVersion.objects.filter(model=model, state=ModelState.RELEASED)
    version = released.select_related("artifact").order_by("-number").first()
    if version is None:
        raise NotFoundError("this model has no released version", code="model.no_version")
    with open_object(version.artifact) as sealed:
        artifact = from_bytes(sealed.read(), expected=version.artifact_digest)
    if asked is Form.INT8 and artifact.plan.guarantee is Guarantee.WAIVED:
        raise ConfigError(
            "weights without a guarantee are in no temporary file",
            code="run.forms_invalid",
            pointer="/form",
        )
    made = onnx.load_from_string(compress(artifact.network, artifact.spec.width, asked).stored)
    made.metadata_props.add(key="features", value=canonical(artifact.spec.as_dict()).decode())
    made.metadata_props.add(key="artifact", value=version.artifact_digest)
    stored = made.SerializeToString(deterministic=True)
    with named_when_done(out) as file:
        file.write(stored)
        digest = file.digest()
        export_model(actor, version, form=asked.value, file=digest, size=len(stored))
    return HandedOut(version, asked, digest, len(stored))
