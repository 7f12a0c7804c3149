"""Check digits against published and verified vectors."""

from collections.abc import Callable

import pytest

from governance.recognition import checksums


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (checksums.mod11_2, "310115188808080024", "310115188808080025"),
        (checksums.mod11_2, "11010518991231004X", "110105189502290015"),  # no 29 February 1895
        (checksums.mod11_2, "11010518991231004x", "11010520990101004X"),  # lower case; the future
        (checksums.id15, "110105000101002", "110105491331002"),  # no thirteenth month
        (checksums.id15, "440305000101001", "990305000101001"),  # no such province
        (checksums.uscc, "91110105000000000U", "91110105000000000A"),
        (checksums.uscc, "1211010540000000X8", "12110105400000000I"),
        (checksums.luhn, "6217000000000000004", "6217000000000000005"),
        (checksums.luhn, "001000000000009", ""),
        (checksums.hkid, "Z000000(1)", "Z000000(2)"),
        (checksums.hkid, "ZZ000000(A)", "ZZ000000"),
        (checksums.taiwan_id, "A100000001", "A100000002"),
        (checksums.taiwan_id, "F200000008", "F20000000"),
    ],
)
def test_a_check_digit_tells_good_from_bad(
    check: Callable[[str], bool], good: str, bad: str
) -> None:
    assert check(good)
    assert not check(bad)


def test_a_first_generation_number_is_upgraded_to_eighteen_digits() -> None:
    assert checksums.upgrade15("110105000101002") == "110105190001010028"


def test_sequence_numbers_from_996_are_of_the_century_before() -> None:
    upgraded = checksums.upgrade15("110105990101996")
    assert upgraded is not None
    assert upgraded[6:10] == "1899"


@pytest.mark.parametrize("text", ["", "1", "１２３", "x" * 18, "1" * 41, "(((((((("])
def test_no_check_raises_on_what_is_not_its_format(text: str) -> None:
    for check in (
        checksums.mod11_2,
        checksums.id15,
        checksums.uscc,
        checksums.luhn,
        checksums.hkid,
        checksums.taiwan_id,
    ):
        assert not check(text)
