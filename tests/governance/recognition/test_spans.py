"""Settling overlaps uncovers nothing."""

import time

from hypothesis import given
from hypothesis import strategies as st

from governance.recognition.spans import Span, resolve

TEXT = "abcdefghijklmnopqrstuvwxyz"
SPANS = st.lists(
    st.builds(
        lambda start, length, entity, score, checked: Span(
            start, start + length, entity, score, checked
        ),
        st.integers(0, 18),
        st.integers(1, 8),
        st.sampled_from(["PERSON", "CN_ID", "URL", "EMAIL_ADDRESS"]),
        st.sampled_from([0.5, 0.8, 1.0]),
        st.booleans(),
    ),
    max_size=8,
)


@given(SPANS)
def test_what_was_covered_stays_covered_without_overlap(spans: list[Span]) -> None:
    settled = resolve(spans, TEXT)
    covered = [i for span in settled for i in range(span.start, span.end)]
    assert len(covered) == len(set(covered))
    assert set(covered) == {i for span in spans for i in range(span.start, span.end)}
    assert settled == sorted(settled, key=lambda s: s.start)


def test_a_proven_span_beats_a_longer_one_and_the_rest_of_it_remains() -> None:
    settled = resolve([Span(0, 6, "PERSON", 0.9), Span(3, 9, "CN_ID", 1.0, True)], TEXT)
    assert [(s.start, s.end, s.entity) for s in settled] == [(0, 3, "PERSON"), (3, 9, "CN_ID")]


def test_what_is_left_of_a_loser_is_dropped_when_it_is_only_punctuation() -> None:
    settled = resolve([Span(0, 3, "CN_ID", 1.0, True), Span(0, 5, "PERSON", 0.9)], "abc, d")
    assert [(s.start, s.end) for s in settled] == [(0, 3)]


def test_many_spans_are_settled_in_little_time() -> None:
    """Two hundred thousand beside each other, and one over a hundred thousand others."""
    beside = [Span(n, n + 1, "UUID", 0.5) for n in range(0, 400_000, 2)]
    start = time.process_time()
    assert resolve(reversed(beside), "a" * 400_000) == beside
    over = [*beside[:50_000], Span(0, 100_000, "URL", 0.4, checked=False)]
    assert resolve(over, "a" * 100_000) == [over[-1]]
    assert time.process_time() - start < 10
