"""The shared cache stores JSON and refuses what JSON cannot say."""

import pickle

import pytest

from gateway.caching import JsonSerializer


@pytest.mark.parametrize("value", [1, -5, 1.5, "名", None, True, [1, "a"], {"a": {"b": [None]}}])
def test_round_trip(value: object) -> None:
    stored = JsonSerializer().dumps(value)
    raw = str(stored).encode() if isinstance(stored, int) else stored
    assert JsonSerializer().loads(raw) == value


def test_integers_stay_bare_so_that_redis_can_count() -> None:
    assert JsonSerializer().dumps(7) == 7
    assert JsonSerializer().dumps(True) == b"true"


def test_a_pickle_is_not_read() -> None:
    with pytest.raises(UnicodeDecodeError):
        JsonSerializer().loads(pickle.dumps({"a": 1}))


def test_an_object_is_not_stored() -> None:
    with pytest.raises(TypeError):
        JsonSerializer().dumps(object())
