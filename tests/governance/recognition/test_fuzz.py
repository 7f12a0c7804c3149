"""Every pattern on texts that nobody wrote on purpose, and on some that somebody did.

The values are those of the labeled set: check digits right, owners nobody.
"""

import random
import time
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final

import regex
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from governance.measurement.drawing import Draw
from governance.measurement.fakes import FAKES, NAMES
from governance.recognition.builtin import finders
from governance.recognition.folding import fold, shadow
from governance.recognition.rules import Finder, Gate, Rule
from governance.recognition.sweep import sweep

LONG: Final = 20_000
# A pattern that takes time with the square of the text takes 16 times as long for four times as
# much, a linear one 4 times. Below so many seconds nobody can use it, and clocks tell little.
RATIO: Final = 9.0
HARMLESS: Final = 0.08
TRIES: Final = 4
# What can be told without a word beside it.
PLAIN: Final = (
    "CN_ID", "CN_RESIDENCE", "CN_FOREIGN_PR", "CN_MOBILE", "CN_LANDLINE", "CN_USCC", "CN_BANK_CARD",
    "CREDIT_CARD", "EMAIL_ADDRESS", "US_SSN", "IBAN_CODE", "HKID", "TW_ID", "CN_PLATE",
    "MAC_ADDRESS", "IP_ADDRESS", "UUID", "URL", "PHONE_NUMBER", "CN_PASSPORT", "CRYPTO", "US_MBI",
)  # fmt: skip
INVISIBLE: Final = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2069\ufeff\u00ad"
)
_FAKES: Final = {fake.entity: fake for fake in FAKES}


def values(seed: int, entities: Sequence[str] = PLAIN) -> list[str]:
    draw = Draw(seed)
    return [_FAKES[entity].make(draw) for entity in entities]


def samples() -> list[str]:
    """One value of every entity, and what stands around it."""
    draw = Draw(11)
    made = [fake.make(draw) for fake in chain(FAKES, NAMES.values())]
    words = {word for fake in FAKES for word in fake.said.values()}
    return [
        *made,
        *sorted(words),
        "姓名：",
        "先生",
        "Mr. ",
        " Street",
        "省",
        "市",
        "区",
        "路",
        "号",
    ]


SAMPLES: Final = samples()


def spent(finder: Finder, text: str) -> float:
    form = fold(text)
    start = time.process_time()
    for _ in finder.find(form.text, shadow(form.text), ()):
        pass
    return time.process_time() - start


def grows(finder: Finder, seed: str, length: int = LONG) -> float:
    """How many times as long a text takes that is four times as long; 0 where neither matters."""
    long = (seed * length)[:length]
    least = float("inf")
    for _ in range(TRIES):
        taken = spent(finder, long)
        if taken < HARMLESS:
            return 0.0
        least = min(least, taken / max(spent(finder, long[: length // 4]), 1e-4))
        if least < RATIO:
            return least
    return least


def test_the_measure_tells_a_square_from_a_line() -> None:
    squares = Rule("squares", "PERSON", regex.compile(r"[0-9]+[X-Z]"), Gate.NUMBER, 0.9, 0.9)
    # A busy machine may stretch the short run of one measurement, hardly of three.
    assert any(grows(squares, "1", 14_000) > RATIO for _ in range(3))
    line = Rule("line", "PERSON", regex.compile(r"(?<![0-9])[0-9]++[X-Z]"), Gate.NUMBER, 0.9, 0.9)
    assert grows(line, "1", 14_000) < RATIO


@st.composite
def hostile(draw: st.DrawFn) -> str:
    """A piece that begins like a value and does not end like one, perhaps several of them."""
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        whole = draw(st.sampled_from(SAMPLES))
        piece = whole[: draw(st.integers(1, len(whole)))]
        change: Callable[[str], str] = draw(
            st.sampled_from([_same, _last_changed, _doubled, str.upper, str.lower])
        )
        pieces.append(
            change(piece) + draw(st.sampled_from(["", "", " ", "-", ".", "，", "a", "1"]))
        )
    return "".join(pieces)


def _same(piece: str) -> str:
    return piece


def _last_changed(piece: str) -> str:
    return piece[:-1] + chr((ord(piece[-1]) + 1) % 0xD000)


def _doubled(piece: str) -> str:
    return "".join(c + c for c in piece)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_pattern_takes_time_with_the_length(data: st.DataObject) -> None:
    """Prefixes of what the patterns look for, near misses, and mixtures, over and over."""
    seed = data.draw(hostile())
    slow = {
        getattr(finder, "name", finder.entity): ratio
        for finder in finders(("cn", "us", "eu"))
        if not _another_library(finder) and (ratio := grows(finder, seed)) >= RATIO
    }
    assert slow == {}


def _another_library(finder: Finder) -> bool:
    """Whether it is libphonenumber: linear, but at 0.1 ms a digit and region; see `test_sweep`."""
    return finder.entity == "PHONE_NUMBER" and not isinstance(finder, Rule)


# Neither letters, digits nor what an identifier may hold: anything else may stand beside one.
around: Final = st.text(
    alphabet=st.sampled_from(
        "的请将这个客户于今天以及万元号码是，。：；！？（）【】、“”《》 \n\t,;!?()[]{}\"'|~^"
    ),
    max_size=12,
)


def uncovered(texts: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[str]:
    """The texts of which a letter or digit within the span is in no hit."""
    covered = [set[int]() for _ in texts]
    for hit in sweep(texts):
        covered[hit.row].update(range(hit.start, hit.end))
    return [
        texts[row]
        for row, (start, end) in enumerate(spans)
        if any(texts[row][i].isalnum() and i not in covered[row] for i in range(start, end))
    ]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), around, around)
@example(1, "", "")
@example(2, "（", "）转账")
def test_an_identifier_is_found_whatever_stands_beside_it(
    seed: int, before: str, after: str
) -> None:
    made = values(seed)
    texts = [f"{before}{value}{after}" for value in made]
    spans = [(len(before), len(before) + len(value)) for value in made]
    assert uncovered(texts, spans) == []


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.randoms(use_true_random=False), st.integers(1, 6))
def test_invisible_characters_inside_hide_nothing(
    seed: int, rng: random.Random, count: int
) -> None:
    texts, spans = [], []
    for value in values(seed):
        hidden = list(value)
        for _ in range(count):
            hidden.insert(rng.randint(0, len(hidden)), rng.choice(INVISIBLE))
        text = f"请核对{''.join(hidden)}谢谢"
        texts.append(text)
        spans.append((3, len(text) - 2))
    assert uncovered(texts, spans) == []


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_full_width_forms_hide_nothing(seed: int, rng: random.Random) -> None:
    """Any of the characters, not only all of them."""
    texts = [
        "".join(
            chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and rng.random() < 0.5 else c for c in value
        )
        for value in values(seed)
    ]
    assert uncovered(texts, [(0, len(text)) for text in texts]) == []


letters: Final = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "0123456789aZ汉字" + INVISIBLE + "ＡＢ１２㍿㎏ﬁ½①℡…™\u3000\u0660\u06f1𝟎𝟗é\u0301"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(letters, st.data())
def test_offsets_lead_back_exactly(text: str, data: st.DataObject) -> None:
    """A folded stretch comes from the stretch that it is said to come from, and from no less."""
    form = fold(text)
    if not form.text:
        return
    start = data.draw(st.integers(0, len(form.text) - 1))
    end = data.draw(st.integers(start + 1, len(form.text)))
    first, last = form.original(start, end)
    assert 0 <= first < last <= len(text)
    again = fold(text[first:last]).text
    assert form.text[start:end] in again
    # No wider than its first and last characters: each of them folds to a part of the stretch.
    assert fold(text[first]).text[:1]
    assert fold(text[last - 1]).text[-1:]
    assert fold(text[first + 1 : last]).text != again or last - first == 0
    assert fold(text[:first]).text + again + fold(text[last:]).text == form.text
