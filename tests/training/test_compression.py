"""Other forms of a model: what they compute, what they weigh, and what leaves the house."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from audit.canonical import canonical
from audit.errors import DomainError
from audit.models import AuditEntry
from governance.errors import NotFoundError
from governance.scoping import tenant_scope
from governance.vault import open_object
from tests.factories.people import House, make_house
from tests.factories.training import SMALL, approve, make_version, trained
from training.actions.models import propose_release
from training.artifacts import Artifact, from_bytes
from training.compression import compress, deflated, pruned, rows_a_second, running, scores_of
from training.config import Form, Guarantee, TrainingConfig
from training.errors import ArtifactError, ConfigError
from training.handing_out import hand_out
from training.models import Model, ModelVersion
from training.onnx import to_onnx
from training.serving import LoadedModel


def dense() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 1)).requires_grad_(False)


def images() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Unflatten(1, (1, 6, 6)),
        nn.Conv2d(1, 3, 3, 1, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(3, 2, (2, 3), (1, 2)),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(16, 1, bias=False),
    ).requires_grad_(False)


NETWORKS = {"dense": (dense, 12), "images": (images, 36)}
both = pytest.mark.parametrize("which", NETWORKS)


def rows(width: int) -> Any:
    return np.random.default_rng(5).standard_normal((40, width), dtype=np.float32)


@both
def test_onnx_computes_the_same(which: str) -> None:
    make, width = NETWORKS[which]
    found = compress(make(), width, Form.ONNX).predict(rows(width))
    assert found == pytest.approx(scores_of(make())(rows(width)), abs=1e-6)


@both
def test_the_same_weights_give_the_same_bytes(which: str) -> None:
    make, width = NETWORKS[which]
    for form in Form:
        assert compress(make(), width, form).stored == compress(make(), width, form).stored


@both
def test_eight_bits_are_near(which: str) -> None:
    make, width = NETWORKS[which]
    network = make()
    small = compress(network, width, Form.INT8)
    assert np.abs(small.predict(rows(width)) - scores_of(network)(rows(width))).max() < 0.03
    assert b"INT8" in small.stored or any(
        tensor.data_type == onnx.TensorProto.INT8
        for tensor in onnx.load_from_string(small.stored).graph.initializer
    )


@both
@pytest.mark.parametrize("form", [Form.PRUNED, Form.ONNX])
def test_these_forms_are_never_in_a_file(
    which: str, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a waived run may hold rows by heart, and a process may be killed."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    make, width = NETWORKS[which]
    assert compress(make(), width, form).stored


def test_weights_without_a_guarantee_are_not_given_to_what_writes_files() -> None:
    asked = {"epsilon": 1, "delta": 1e-5, "features": "", "guarantee": "waived"}
    assert TrainingConfig.from_dict({**asked, "forms": ["onnx", "pruned"]}).forms
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({**asked, "forms": ["int8"]})
    assert caught.value.stable_code == "run.forms_invalid"


@both
def test_half_of_the_weights_are_zero_and_the_network_is_left_alone(which: str) -> None:
    make, width = NETWORKS[which]
    network = make()
    weights = torch.cat([p.flatten() for p in pruned(network).parameters() if p.ndim > 1])
    assert abs(int((weights == 0).sum()) - len(weights) / 2) <= 1
    kept = weights[weights != 0].abs().min()
    before = torch.cat([p.flatten() for p in network.parameters() if p.ndim > 1])
    assert int((before.abs() >= kept).sum()) == int((weights != 0).sum())
    for name, value in make().state_dict().items():
        assert torch.equal(network.state_dict()[name], value)
    form = compress(network, width, Form.PRUNED)
    assert form.predict(rows(width)) == pytest.approx(running(form.stored)(rows(width)), abs=1e-6)
    assert form.size < deflated(to_onnx(network, width))


def test_a_layer_without_a_counterpart_is_refused() -> None:
    with pytest.raises(ArtifactError) as caught:
        to_onnx(nn.Sequential(nn.Linear(2, 2), nn.GELU(), nn.Linear(2, 1)), 2)
    assert caught.value.stable_code == "artifact.form_unsupported"


def test_speed_is_a_rate_and_leaves_the_threads_alone() -> None:
    threads = torch.get_num_threads()
    assert rows_a_second(scores_of(dense()), 12) > 0
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("forms", [["zip"], ["onnx", "onnx"], "onnx", [1]])
def test_forms_that_there_are_not(forms: object) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_dict({"epsilon": 1, "delta": 1e-5, "features": "", "forms": forms})
    assert caught.value.stable_code == "run.forms_invalid"


@pytest.fixture
def house(db: None) -> House:
    return make_house()


def handed(house: House, version: ModelVersion, out: Path, form: str = "onnx") -> Any:
    with tenant_scope(house.id):
        return hand_out(house.engineer, Model.objects.get(), form, out)


def test_the_card_holds_what_each_form_gains_and_loses(house: House, tmp_path: Path) -> None:
    """And the released model leaves as a file that says the same of a row."""
    config = {**SMALL, "forms": ["pruned", "onnx", "int8"]}
    version = trained(house, make_version(house), config=config)
    said = version.card["forms"]
    assert set(said["forms"]) == {"pruned", "onnx", "int8"}
    for one in said["forms"].values():
        assert one["bytes"] > 0
        assert one["rows_a_second"] > 0
        assert {"auroc", "accuracy", "auroc_change", "accuracy_change", "groups"} <= set(one)
        assert set(one["groups"]["sex"]) == {
            "impact_ratio", "four_fifths", "selection_gap", "odds_difference", "equalized_odds",
        }  # fmt: skip
    assert "none is chosen" in said["served"]
    out = tmp_path / "model.onnx"
    with pytest.raises(NotFoundError) as caught:
        handed(house, version, out)
    assert (caught.value.stable_code, out.exists()) == ("model.no_version", False)
    with tenant_scope(house.id):
        approve(house, propose_release(house.engineer, version))
    done = handed(house, version, out)
    model = onnx.load(out)
    kept = {prop.key: prop.value for prop in model.metadata_props}
    with tenant_scope(house.id), open_object(version.artifact) as sealed:
        loaded = LoadedModel(sealed.read())
    assert kept["features"] == canonical(loaded.spec.as_dict()).decode()
    assert kept["artifact"] == version.artifact_digest
    row = {"age": "40", "hours": "50", "city": "north"}
    encoded = loaded.spec.encode({name: [row.get(name)] for name in loaded.spec.names})
    (score,) = running(out.read_bytes())(encoded)
    asked = {name: row.get(name) for name in loaded.spec.names}
    assert score == pytest.approx(float(loaded.predict_proba([asked])[0]), abs=2e-6)
    entry = AuditEntry.objects.filter(event="model.exported").order_by("-at")[0]
    facts = json.loads(bytes(entry.body))["facts"]
    assert (facts["file"], facts["form"]) == (done.digest, "onnx")


@pytest.mark.parametrize(
    ("who", "form", "code"),
    [("engineer", "zip", "run.forms_invalid"), ("steward", "onnx", "permission.role_missing")],
)
def test_what_is_refused_leaves_no_file(
    house: House, tmp_path: Path, who: str, form: str, code: str
) -> None:
    version = trained(house, make_version(house))
    assert version.card["forms"] is None
    with tenant_scope(house.id):
        approve(house, propose_release(house.engineer, version))
        with pytest.raises(DomainError) as caught:
            hand_out(getattr(house, who), Model.objects.get(), form, tmp_path / "model.onnx")
    assert caught.value.stable_code == code
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_of_a_waived_model_are_not_handed_out(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = trained(house, make_version(house))
    with tenant_scope(house.id):
        approve(house, propose_release(house.engineer, version))

    def waived(*given: Any, **named: Any) -> Artifact:
        artifact = from_bytes(*given, **named)
        plan = replace(artifact.plan, guarantee=Guarantee.WAIVED, noise_multiplier=0.0)
        return replace(artifact, plan=plan)

    monkeypatch.setattr("training.handing_out.from_bytes", waived)
    with pytest.raises(ConfigError) as caught:
        handed(house, version, tmp_path / "model.onnx", "int8")
    assert caught.value.stable_code == "run.forms_invalid"
    assert list(tmp_path.iterdir()) == []
