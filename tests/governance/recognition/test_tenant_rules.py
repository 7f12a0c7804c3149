"""A tenant's own rules: what they find and pass, beside any neighbor, and what is refused."""

import json
import time
from typing import Any

import pytest

from governance.recognition.folding import SEPARATOR, fold, shadow
from governance.recognition.tenant_rules import (
    NO_RULES,
    RuleBook,
    RulesError,
    TenantRules,
    compiled,
)

STAFF = {"entity": "STAFF_NO", "pattern": r"E\d{4}"}


def rules(**book: Any) -> TenantRules:
    return compiled(RuleBook.from_dict(book), "rules-1")


def found(made: TenantRules, *cells: str, spoken: tuple[str, ...] = ()) -> list[str]:
    joined = SEPARATOR.join(fold(cell).text for cell in cells)
    spans = [s for f in made.finders for s in f.find(joined, shadow(joined), spoken)]
    return [joined[s.start : s.end] for s in sorted(spans, key=lambda s: s.start)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("工号E0001张三", ["E0001"]),
        ("E0001 E0002,E0003", ["E0001", "E0002", "E0003"]),
        ("id_E0001_x", ["E0001"]),
        ("E00011", []),
        ("XE0001", []),
        ("3.E0001", []),
        ("E0001.5", []),
        ("Ｅ００01", ["E0001"]),
        ("", []),
    ],
)
def test_a_pattern_is_bounded_beside_any_neighbor(text: str, expected: list[str]) -> None:
    assert found(rules(patterns=[STAFF]), text) == expected


def test_a_match_never_crosses_cells() -> None:
    greedy = rules(patterns=[{"entity": "CODE_X", "pattern": r"A[^b]*B"}])
    assert found(greedy, "A12", "3B", "A4B") == ["A4B"]
    anchored = rules(patterns=[{"entity": "CODE_X", "pattern": r"^\d{3}$"}])
    assert found(anchored, "123", "x 456", "789") == ["123", "789"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VIP王小明说", ["王小明"]),
        ("请联系ann lee。", ["ann lee"]),
        ("joann lee", []),
        ("Ann Leeds", []),
        ("ANN LEE,Ann Lee", ["ANN LEE", "Ann Lee"]),
    ],
)
def test_denied_terms(text: str, expected: list[str]) -> None:
    made = rules(
        deny=[{"text": "Ann Lee", "entity": "PERSON"}, {"text": "王小明", "entity": "PERSON"}]
    )
    assert found(made, text) == expected


def test_allowed_terms_pass_whole_and_in_any_width() -> None:
    made = rules(allow=[{"text": "华为技术", "entity": "PERSON"}, {"text": "ACME 12"}])
    assert made.allows("PERSON", " 华为技术")
    assert not made.allows("LOCATION", "华为技术")
    assert not made.allows("PERSON", "华为")
    assert made.allows("PERSON", "ａｃｍｅ 12")
    assert not NO_RULES.allows("PERSON", "华为技术")


def test_context_header_and_check_settle_the_score() -> None:
    made = rules(
        patterns=[
            {
                "entity": "WARD_NO",
                "pattern": r"\d{8}",
                "score": "0.30",
                "context": ["病房", "ward"],
                "headers": ["ward no", "病房号"],
            },
            {"entity": "LOYALTY", "pattern": r"9\d{15}", "check": "luhn"},
        ]
    )
    [ward, loyalty] = made.finders

    def scores(finder: Any, text: str, spoken: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
        return [(f"{s.score:.2f}", s.checked) for s in finder.find(text, text, spoken)]

    assert scores(ward, "00000001") == [("0.30", False)]
    assert scores(ward, "病房：00000001") == [("0.65", False)]
    assert scores(ward, "forward 00000001") == [("0.30", False)]
    assert scores(ward, "00000001", ("WARD_NO",)) == [("0.65", False)]
    assert scores(loyalty, "9000000000000001") == [("0.95", True)]
    assert scores(loyalty, "9000000000000002") == []
    assert made.spoken("WardNo") == made.spoken("ward_no") == made.spoken("病房号2") == ("WARD_NO",)
    assert made.spoken("forward_note") == ()


@pytest.mark.parametrize(
    ("book", "code"),
    [
        ([], "rules.invalid"),
        ({"allowed": []}, "rules.invalid"),
        ({"deny": {}}, "rules.invalid"),
        ({"deny": [{"text": "x", "entity": "PERSON"}]}, "rules.term_invalid"),
        ({"deny": [{"text": "王小明"}]}, "rules.entity_invalid"),
        ({"deny": [{"text": "王小明", "entity": "person"}]}, "rules.entity_invalid"),
        ({"deny": [{"text": "ab", "entity": "PERSON"}] * 5001}, "rules.too_many"),
        ({"patterns": [{**STAFF, "pattern": r"(?<=x)\d"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": r"(\d)\1"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": r"a)|(b"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": r"\d*"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": r"(?:\p{L}{900}){900}"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": r"(?:\p{L}{30}){30}"}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "pattern": "1" * 401}]}, "rules.pattern_invalid"),
        ({"patterns": [{**STAFF, "score": 0.6}]}, "rules.invalid"),
        ({"patterns": [{**STAFF, "check": "md5"}]}, "rules.invalid"),
        ({"patterns": [{**STAFF, "context": [""]}]}, "rules.invalid"),
    ],
)
def test_what_cannot_be_used_is_refused_without_quoting_it(book: Any, code: str) -> None:
    with pytest.raises(RulesError) as refused:
        RuleBook.from_dict(book)
    assert refused.value.stable_code == code
    assert "王小明" not in refused.value.detail


def test_a_book_survives_json() -> None:
    book = RuleBook.from_dict(
        {
            "allow": [{"text": "ACME"}],
            "deny": [{"text": "王小明", "entity": "PERSON"}],
            "patterns": [{**STAFF, "context": ["工号"], "check": "luhn"}],
        }
    )
    assert RuleBook.from_dict(json.loads(json.dumps(book.as_dict()))) == book


def test_hostile_patterns_and_texts_stay_linear() -> None:
    made = rules(patterns=[{"entity": "CODE_X", "pattern": r"(?:a+)+b"}])
    many = rules(deny=[{"text": f"甲乙{i:04}丙", "entity": "PERSON"} for i in range(5000)])
    began = time.process_time()
    assert found(made, "a" * 200_000) == []
    assert len(found(made, "aab " * 50_000)) == 50_000
    assert found(many, "甲乙4999丙" + "甲乙" * 50_000) == ["甲乙4999丙"]
    assert time.process_time() - began < 10  # 1.5 s; a pattern that backtracks takes hours
