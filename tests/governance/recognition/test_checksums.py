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
        (checksums.organization, "00000000-0", "00000000-1"),
        (checksums.organization, "40000000X", "40000000"),
        (
            checksums.travel_document,
            "E000000008CHN0001018M3001019<<<<<<<<<<<<<<<4",
            "E000000008CHN0001018M3001018<<<<<<<<<<<<<<<4",
        ),
        (checksums.vin, "LSV00000200000000", "LSV00000300000000"),
        (checksums.vin, "1M8GDM9AXKP042788", "1M8GDM9AXKP04278I"),
        (checksums.nir, "100019900000009", "100019900000010"),
        (checksums.nir, "100012A00000035", "100012B00000035"),
        (checksums.burgerservicenummer, "000000012", "000000013"),
        (checksums.my_number, "111111111118", "111111111119"),
        (checksums.my_number, "123456789018", "12345678901"),
        (checksums.nric, "S0000000J", "S0000000A"),
        (checksums.nric, "F0000000X", "A0000000X"),
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


def test_the_check_digit_of_a_machine_readable_passport_number() -> None:
    assert checksums.machine_readable("E00000000") == 8
    assert checksums.machine_readable("G00000000") == 2


@pytest.mark.parametrize("text", ["", "1", "１２３", "x" * 18, "1" * 41, "(((((((("])
def test_no_check_raises_on_what_is_not_its_format(text: str) -> None:
    for check in (
        checksums.mod11_2,
        checksums.id15,
        checksums.uscc,
        checksums.organization,
        checksums.travel_document,
        checksums.vin,
        checksums.nir,
        checksums.burgerservicenummer,
        checksums.my_number,
        checksums.nric,
        checksums.luhn,
        checksums.hkid,
        checksums.taiwan_id,
    ):
        assert not check(text)
