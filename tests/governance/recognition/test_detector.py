"""The detector's version: what changes it, and what does not."""

from dataclasses import replace

import regex

from governance.recognition import chinese, detector, presidio
from governance.recognition.builtin import finders


def test_a_code_that_stays() -> None:
    assert regex.fullmatch(r"detector-[0-9a-f]{16}", presidio.detector_version())
    assert presidio.detector_version() == detector.code()


def test_every_property_of_a_rule_counts() -> None:
    rule = chinese.RULES[0]
    changed = [
        replace(rule, pattern=regex.compile("1")),
        replace(rule, score=0.11),
        replace(rule, near=0.11),
        replace(rule, failed=0.11),
        replace(rule, check=None),
        replace(rule, narrow=True),
        replace(rule, header_only=True),
    ]
    described = {detector.described(each) for each in (rule, *changed)}
    assert len(described) == 1 + len(changed)


def test_conditions_count() -> None:
    for finder in finders():
        assert "Condition(pattern=" in detector.described(finder)


def test_code_counts_and_how_it_is_written_does_not() -> None:
    one = 'def f(a):\n    """Says."""\n    return a + 1  # why\n'
    assert detector.syntax(one) == detector.syntax("def f(a):\n    return (a + 1)\n")
    assert detector.syntax(one) != detector.syntax("def f(a):\n    return a + 2\n")
