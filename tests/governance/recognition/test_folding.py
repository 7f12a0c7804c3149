"""Folding hides nothing and loses no place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.recognition.folding import fold, shadow


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("１３８００１３８０００", "13800138000"),
        ("手机：１３８", "手机:138"),
        ("138\u200b0013\u20608000", "13800138000"),
        ("\u202e13800138000\u202c", "13800138000"),
        ("⑩号", "10号"),
        ("٠١٢٣", "0123"),
        ("𝟏𝟑𝟖", "138"),
        ("138–0013–8000", "138-0013-8000"),
        ("plain", "plain"),
    ],
)
def test_a_text_folds_to_what_it_stands_for(text: str, folded: str) -> None:
    assert fold(text).text == folded


@given(st.text(max_size=60))
def test_every_folded_stretch_leads_back_into_the_text(text: str) -> None:
    form = fold(text)
    for place in range(len(form.text)):
        start, end = form.original(place, place + 1)
        assert 0 <= start < end <= len(text)


@given(st.text(max_size=60))
def test_the_shadow_is_as_long_and_ascii(text: str) -> None:
    ghost = shadow(text)
    assert len(ghost) == len(text)
    assert ghost.isascii()


def test_a_hidden_identifier_maps_back_to_all_its_characters() -> None:
    text = "证\u200b1\u200b38-0013-8000。"
    form = fold(text)
    place = form.text.index("138")
    start, end = form.original(place, place + len("138-0013-8000"))
    assert text[start:end] == "1\u200b38-0013-8000"
