"""The memory of a whole ingest does not grow with the file: each size in a process of its own."""

from typing import Final

from tests.benchmarks.ingesting.growth import measured

SMALL: Final = 2_000_000  # bytes: a group, and models that are loaded
LARGE: Final = 20_000_000
MOST: Final = 1.15


def test_ten_times_the_file_takes_the_same_memory() -> None:
    small, large = measured(SMALL), measured(LARGE)
    assert large["rows"] > 9 * small["rows"]
    assert large["peak"] <= MOST * small["peak"]
