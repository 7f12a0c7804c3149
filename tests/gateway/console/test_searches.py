"""A private search in the console: what is told of it, and that its price is the whole search's."""

import pytest
from django.urls import reverse

from governance.scoping import tenant_scope
from tests.factories.console import World
from tests.factories.training import SMALL, make_version, trained
from training.models import ModelVersion

CONFIG = {
    **SMALL,
    "search": {"candidates": [{"learning_rate": "0.2"}, {"momentum": "0.5"}], "trials": 2},
}


@pytest.fixture
def found(world: World) -> ModelVersion:
    """A model that a search chose."""
    return trained(world.house, make_version(world.house, "searched"), config=CONFIG)


def test_run_and_model_tell_the_search_in_both_languages(world: World, found: ModelVersion) -> None:
    client = world.client("engineer")
    assert found.run is not None
    with tenant_scope(world.house.id):
        chosen = CONFIG["search"]["candidates"][found.card["search"]["chosen"] - 1]
    ((name, value),) = chosen.items()
    told = {
        reverse("admin:training_run_change", args=[found.run.pk]): (
            ["Trials expected", "private search, geometric", "is told to nobody"],
            ["预期试验次数", "私密搜索，几何分布", "试验次数不告诉任何人"],
        ),
        reverse("admin:training_modelversion_change", args=[found.pk]): (
            [f"{name} = {value}", "Private search", "nor how many there were", "RDP alone"],
            [f"{name} = {value}", "选中", "试验次数也不公开", "隐私损失分布"],
        ),
    }
    for address, (english, chinese) in told.items():
        for sentences, language in ((english, "en"), (chinese, "zh-CN")):
            page = client.get(address, headers={"accept-language": language}).content.decode()
            for sentence in sentences:
                assert sentence in page, (address, sentence)


def test_a_run_without_a_search_says_nothing_of_one(world: World) -> None:
    for name in ("run", "model"):
        page = world.client("engineer").get(world.pages()[name]).content.decode()
        assert "rivate search" not in page
        assert "Trials expected" not in page
