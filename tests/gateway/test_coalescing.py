"""Work for many threads is done by one of them, each gets its own result, nobody is forgotten."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.coalescing import Coalescer
from gateway.shedding import Line


def line() -> Line:
    """One in which everybody may wait."""
    return Line(room=lambda: 100, patience=lambda: 60.0)


def test_alone_it_is_done_at_once() -> None:
    def work(items: Sequence[int]) -> list[int]:
        return [item * 2 for item in items]

    assert Coalescer(work, line=line()).submit(21) == 42


def test_who_comes_meanwhile_is_done_together() -> None:
    batches: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int]:
        batches.append(len(items))
        if len(batches) == 1:
            entered.set()
            assert go_on.wait(10)
        return [item * 2 for item in items]

    coalescer: Coalescer[int, int] = Coalescer(work, line=line(), most=4)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(coalescer.submit, 0)
        assert entered.wait(10)
        others = [pool.submit(coalescer.submit, number) for number in range(1, 7)]
        until = time.monotonic() + 10
        while len(coalescer._waiting) < 6 and time.monotonic() < until:
            time.sleep(0.001)
        go_on.set()
        assert first.result() == 0
        assert [one.result() for one in others] == [2, 4, 6, 8, 10, 12]
    assert batches == [1, 4, 2]


def test_an_error_of_one_is_its_own() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(items: Sequence[int]) -> list[int | BaseException]:
        if items == [0]:
            entered.set()
            go_on.wait(10)
        return [KeyError(item) if item == 2 else item for item in items]

    coalescer: Coalescer[int, int] = Coalescer(work, line=line())
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(coalescer.submit, 0)
        entered.wait(10)
        others = [pool.submit(coalescer.submit, number) for number in (1, 2, 3)]
        while len(coalescer._waiting) < 3:
            time.sleep(0.001)
        go_on.set()
        assert first.result() == 0
        assert others[0].result() == 1
        with pytest.raises(KeyError):
            others[1].result()
        assert others[2].result() == 3


def test_work_that_fails_fails_for_all_of_it_and_the_next_goes_on() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise RuntimeError
        return list(items)

    coalescer: Coalescer[int, int] = Coalescer(work, line=line())
    with pytest.raises(RuntimeError):
        coalescer.submit(13)
    assert coalescer.submit(7) == 7


def test_nobody_is_forgotten_and_nothing_is_done_twice() -> None:
    done: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        done.extend(items)
        return [-item for item in items]

    coalescer: Coalescer[int, int] = Coalescer(work, line=line(), most=3)

    def many(thread: int) -> bool:
        numbers = range(thread * 500, thread * 500 + 500)
        return all(coalescer.submit(number) == -number for number in numbers)

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(many, range(12)))
    assert sorted(done) == list(range(6000))
    assert not coalescer._waiting
    assert not coalescer._led
