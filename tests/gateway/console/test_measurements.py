"""How good the detector is, as staff read it."""

import pytest

from governance.measurement.scoring import leak_bound
from tests.factories.console import MEASURED, World


def test_a_measurement_shows_figures_with_their_bounds(world: World) -> None:
    page = world.client("auditor").get(world.pages()["measurement"]).content.decode()
    assert MEASURED.detector in page
    assert f"{100 * leak_bound(2, 50):.1f} %" in page  # all together
    assert f"{100 * leak_bound(0, 20):.1f} %" in page  # no miss in twenty is no proof of none
    assert "93.5 %" in page  # 29 right of 31 reported
    assert "PERSON" in page
    assert "US_SSN" in page


@pytest.mark.parametrize(
    ("language", "sentence"), [("en", "not measured here"), ("zh-hans", "尚未在此测量")]
)
def test_a_detector_that_nobody_measured_is_named(
    world: World, language: str, sentence: str
) -> None:
    """The world's column plan is of another detector than the measurement."""
    client = world.client("steward", headers={"accept-language": language})
    for address in ("/admin/governance/detectormeasurement/", world.pages()["measurement"]):
        assert sentence in client.get(address).content.decode()


def test_the_list_has_the_newest_first_and_its_bound(world: World) -> None:
    page = world.client("officer").get("/admin/governance/detectormeasurement/").content.decode()
    assert "96.00 %" in page  # 48 of 50 wholly hidden
    assert f"{100 * leak_bound(2, 50):.2f} %" in page


def test_the_api_gives_every_figure(world: World) -> None:
    client = world.client("engineer")
    (one,) = client.get("/api/v1/detector-measurements").json()["results"]
    assert (one["detector"], one["rows"]) == (MEASURED.detector, 40)
    whole = client.get(f"/api/v1/detector-measurements/{world.measured.pk}").json()
    scores = {score["entity"]: score for score in whole["scores"]}
    assert scores["US_SSN"]["leak_at_most"] == pytest.approx(leak_bound(0, 20), abs=1e-4)
    assert scores["PERSON"]["every_character_hidden"] == pytest.approx(28 / 30, abs=1e-4)
