"""Screening leaves out only what no finder could have found: proved against a search everywhere."""

import random
from collections.abc import Sequence

import pytest
import re2
import regex
from faker import Faker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.recognition.builtin import finders
from governance.recognition.charsets import CASELESS
from governance.recognition.entities import CATALOG, context_pattern
from governance.recognition.folding import fold, shadow
from governance.recognition.gates import conditions
from governance.recognition.rules import REPORT, Rule, needs
from governance.recognition.spans import Span
from governance.recognition.sweep import LONGEST, MARGIN, screen, sweep, sweep_texts
from tests.governance.recognition.test_sweep import BUILT_IN, VECTORS, planted

REGIMES = [("cn", "us"), ("cn",), ("us",), ("eu",)]
GOOD = [label + value for _, good, bad, label in VECTORS for value in (*good, *bad)]
VALUES = [*GOOD, *(value for _, value in BUILT_IN)]
FRAMES = [
    "{}",
    " {}",
    "请核对{}谢谢",
    "see {} now",
    "{}.",
    "x{}",
    "{}9",
    "（{}）",
    "-{}-",
    "手机{}",
]


def everywhere(
    texts: Sequence[str], regimes: tuple[str, ...], spoken: Sequence[str]
) -> list[set[tuple[int, Span]]]:
    """For each text what every finder finds in it by itself, with the finder's number."""
    found = []
    for text in texts:
        ghost = shadow(text)
        found.append(
            {
                (number, span)
                for number, finder in enumerate(finders(regimes))
                for span in finder.find(text, ghost, spoken)
            }
        )
    return found


def assert_nothing_left_out(
    texts: Sequence[str], regimes: tuple[str, ...], spoken: Sequence[str]
) -> None:
    folded = [fold(text).text for text in texts]
    expected = everywhere(folded, regimes, spoken)
    for threshold in (0.0, REPORT):
        candidates = screen(regimes).candidates(folded, spoken, threshold)
        for place, spans in enumerate(expected):
            for number, span in spans:
                if span.score >= threshold:
                    assert place in candidates.get(number, ()), (texts[place], span)


@pytest.mark.parametrize("regimes", REGIMES)
@pytest.mark.parametrize("spoken", [(), ("PHONE_NUMBER", "CN_ID15", "CN_QQ", "US_SSN")])
def test_no_vector_is_left_out(regimes: tuple[str, ...], spoken: tuple[str, ...]) -> None:
    """Together, so that texts are left out one by one, not the chunk as a whole."""
    texts = [frame.format(value) for value in VALUES for frame in FRAMES]
    assert_nothing_left_out([*texts, *("plain", "12.5", "红色", "") * 40], regimes, spoken)


def test_nothing_planted_is_left_out() -> None:
    texts = [value for values in planted().values() for value in values]
    random.Random(3).shuffle(texts)
    assert_nothing_left_out(texts[:1500], ("cn", "us", "eu"), ())


PIECES = [
    *"0123456789 -./:()+xX@,，。号",
    "\n",
    "a",
    "E",
    "Q",
    "王",
    "路",
    "市",
    "QQ",
    "微信",
    "ext",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
            st.sampled_from(VALUES),
            st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(REGIMES),
)
def test_no_embedding_is_left_out(
    parts: list[tuple[str, str, str]], regimes: tuple[str, ...]
) -> None:
    texts = [before + value + after for before, value, after in parts]
    assert_nothing_left_out([*texts, "".join(texts)], regimes, ())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=40).map("".join), max_size=4))
def test_no_telephone_number_is_left_out(texts: list[str]) -> None:
    assert_nothing_left_out(texts, ("us",), ())


@pytest.mark.parametrize(
    "finder", finders(), ids=lambda finder: getattr(finder, "name", finder.entity)
)
def test_every_built_in_finder_has_needs_that_re2_reads(finder: Rule) -> None:
    for need in needs(finder):
        assert need.conditions
        for condition in need.conditions:
            assert re2.compile(condition.pattern)


@pytest.mark.parametrize("entity", [e.name for e in CATALOG if e.context])
def test_a_context_word_holds_its_condition(entity: str) -> None:
    words = context_pattern(entity)
    assert words is not None
    texts = [w for e in CATALOG if e.name == entity for w in e.context]
    for condition in conditions(words):
        for text in (f for w in texts for f in (w, w.upper(), f"客户{w}：", f"a {w}, b")):
            if words.search(text):
                assert re2.search(condition.pattern, text), (text, condition)


PATTERNS = [
    (r"(?<![0-9A-Za-z])(?:(?=\d{4,6}(?!\d))1\d+)(?![0-9A-Za-z])", regex.ASCII),
    (r"(?<=(?:QQ|qq)号?[:： ]?)[1-9]\d{4,10}", regex.ASCII),
    (r"[王李]{1,2}(?=先生|女士)|(?<=姓名[:：])[一-龥]{2,3}", regex.ASCII),
    (r"([0-9a-f]{2})([:-])[0-9a-f]{2}\2\1", regex.ASCII | regex.IGNORECASE),
    (r"(?>a+)b|a++c", 0),
    (r"\bk\w+s\b", regex.IGNORECASE),
    (r"x.y", regex.DOTALL),
    (r"x\Sy\W", regex.ASCII),
    (r"(?:ab){2,}?[^a-f]$", 0),
]
ALPHABET = "ab1c王李先生女士姓名：:-0QqKkſK sxy\n号"


@settings(max_examples=400, deadline=None)
@given(st.text(st.sampled_from(ALPHABET), max_size=14), st.sampled_from(PATTERNS))
def test_a_condition_holds_wherever_its_pattern_matches(
    text: str, pattern: tuple[str, int]
) -> None:
    compiled = regex.compile(*pattern)
    found = conditions(compiled)
    assert found
    if compiled.search(text):
        for condition in found:
            assert re2.search(condition.pattern, text), condition


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab1-王 0x:"), max_size=12))
def test_a_condition_of_a_shadowed_pattern_reads_the_text_itself(text: str) -> None:
    for written in (r"\b[0-9]+[ -][0-9]\b", r"a[^\s-]b", r"[^a]x", r"0\W1"):
        compiled = regex.compile(written, regex.ASCII)
        if compiled.search(shadow(text)):
            for condition in conditions(compiled, shadowed=True):
                assert re2.search(condition.pattern, text), (written, condition)


def test_no_caseless_character_has_another_case() -> None:
    for low, high in CASELESS:
        for code in range(low, high + 1):
            character = chr(code)
            assert character.lower() == character.upper() == character.casefold() == character


@pytest.mark.parametrize("written", [r"\p{Han}+", r"(?R)?a", r"(a)?(?(1)b|c)", r"\X"])
def test_a_pattern_that_cannot_be_read_is_searched_for_everywhere(written: str) -> None:
    assert conditions(regex.compile(written)) == ()


def test_hits_do_not_depend_on_the_company() -> None:
    """Each text alone, and all of them in one chunk, give the same spans."""
    rng = random.Random(9)
    fake = Faker("en_US")
    fake.seed_instance(9)
    texts = [frame.format(value) for value in VALUES for frame in FRAMES[:4]]
    texts += [fake.sentence() for _ in range(200)] + [str(rng.random()) for _ in range(200)]
    rng.shuffle(texts)
    texts = list(dict.fromkeys(texts))
    together = sweep_texts(texts)
    assert together == [sweep_texts([text])[0] for text in texts]


@pytest.mark.parametrize("between", [" ", "今天天气不错。", "The weather was fine. ", "0"])
def test_a_very_long_cell_is_read_whole_and_at_its_seams(between: str) -> None:
    """Wherever the pieces of a long cell meet, an identifier there is found once and in place."""
    step = LONGEST - 2 * MARGIN
    places = [0, MARGIN - 9, step - 3, step + MARGIN - 7, LONGEST - 40, 2 * step + MARGIN]
    length = 2 * LONGEST + 5_000
    text = (between * (length // len(between) + 1))[:length]
    mail = "<zhang@example.com>"
    for place in places:
        text = text[:place] + mail + text[place + len(mail) :]
    hits = [hit for hit in sweep([text]) if hit.entity == "EMAIL_ADDRESS"]
    assert [text[hit.start : hit.end] for hit in hits] == [mail[1:-1]] * len(places)
    assert [hit.start - 1 for hit in hits] == sorted(places)


def test_a_run_across_a_seam_is_no_identifier() -> None:
    """A seam does not make an identity number of a longer number."""
    assert sweep(["1" * (2 * LONGEST)]) == []
