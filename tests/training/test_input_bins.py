"""Public bins of inputs: where a value is counted, and what is not counted at all."""

import pytest

from training.config import Guarantee
from training.features import (
    Binned,
    Category,
    Encoded,
    Feature,
    FeatureSpec,
    Hashed,
    Numeric,
    Pixel,
    Provenance,
    Scale,
    Target,
)
from training.input_bins import NUMBER_BINS, InputBins, added, answers_in
from training.requests import check_row

TARGET = Target("income", ">50K")


def bins_of(*features: Feature, guarantee: Guarantee = Guarantee.DP) -> InputBins:
    return InputBins(FeatureSpec(features, TARGET), guarantee)


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        ("-1e300", 0),
        ("9.999", 0),
        ("10", 1),  # the lower bound is in the first stretch
        ("19.99", 1),
        ("20", 2),
        ("79.99", 7),
        ("80", 7),  # and the upper one in the last
        ("80.0001", 8),
        ("1e300", 8),
        (None, 9),
    ],
)
def test_where_a_number_lies(cell: str | None, place: int) -> None:
    assert bins_of(Numeric("n", 10, 80)).places({"n": cell}) == [place]
    assert bins_of(Binned("n", 10, 80)).places({"n": cell}) == [place]


def test_a_long_scale_has_its_knots_where_the_model_has_them() -> None:
    bins = bins_of(Numeric("gain", 0, 99_999, Scale.LOG))
    values = ["0", "3", "8", "100", "1000", "10000", "50000", "99999", "100000"]
    places = [bins.places({"gain": value})[0] for value in values]
    assert places == sorted(places)
    assert (places[0], places[-2], places[-1]) == (1, 7, 8)
    assert len(set(places)) >= 6  # an even scale would put all but two into one


@pytest.mark.parametrize(("cell", "place"), [("a", 0), ("b", 1), (None, 2), ("c", 2)])
def test_where_a_category_lies(cell: str | None, place: int) -> None:
    assert bins_of(Category("c", ("a", "b"))).places({"c": cell}) == [place]


def test_features_lie_end_to_end_and_are_told_by_name() -> None:
    features = (Category("c", ("a", "b")), Numeric("n", 0, 1), Numeric("m", 0, 1))
    bins = bins_of(*features)
    assert bins.size == 3 + 2 * NUMBER_BINS
    counts = [0] * bins.size
    for row in ({"c": "a", "n": 0.2, "m": None}, {"c": None, "n": "0.2", "m": 7}):
        for place in bins.places(check_row(FeatureSpec(features, TARGET), row)):
            counts[place] += 1
    assert bins.by_feature(counts) == {
        "c": {"0": 1, "2": 1},
        "n": {"2": 2},
        "m": {"9": 1, "8": 1},
    }
    assert answers_in(bins.by_feature(counts)) == 2


@pytest.mark.parametrize("guarantee", Guarantee)
def test_what_has_no_public_bins_is_not_counted(guarantee: Guarantee) -> None:
    """Texts, pixels, and bounds that a waived run took off the rows as they are."""
    bins = bins_of(
        Hashed("note"),
        Encoded("letter"),
        Pixel("p0", 0, 255),
        Numeric("bought", 0, 1, provenance=Provenance.PAID),
        Numeric("declared", 0, 1),
        guarantee=guarantee,
    )
    paid = () if guarantee is Guarantee.WAIVED else ("bought",)
    assert bins.names == (*paid, "declared")
    assert len(bins.places({"bought": "1", "declared": "1"})) == len(bins.names)


def test_sums_of_counts() -> None:
    one, other = {"a": {"0": 1, "3": 2}}, {"a": {"3": 4}, "b": {"1": 1}}
    assert added(one, other) == {"a": {"0": 1, "3": 6}, "b": {"1": 1}}
    assert one == {"a": {"0": 1, "3": 2}}
    assert added({}, {}) == {}
    assert answers_in({}) == 0
