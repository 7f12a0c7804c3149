"""The adapter: nothing is downloaded, nothing is logged, nothing is missed that Presidio finds."""

import logging
import random
from collections.abc import Callable

import pytest
import regex
from faker import Faker
from presidio_analyzer import predefined_recognizers as predefined

from governance.recognition import builtin, presidio
from governance.recognition.rules import Gate, Rule, ScanTimeoutError, bounded
from governance.recognition.sweep import sweep_texts


def test_one_engine_a_process() -> None:
    assert presidio.engine() is presidio.engine()


def test_the_english_pipeline_is_ner_alone() -> None:
    assert presidio.engine().nlp_engine.get_nlp("en").pipe_names == ["ner"]


def test_the_suffix_list_is_the_one_that_was_installed() -> None:
    """With every suffix list address removed and no cache there is nothing to fetch or to write."""
    assert builtin.suffixes.suffix_list_urls == ()
    assert not builtin.suffixes._cache.enabled
    assert builtin.suffixes("x@example.co.uk").suffix == "co.uk"


def test_the_library_cannot_log_a_value(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("presidio-analyzer").error("Failed to validate text %s", "GB82WEST")
        presidio.analyze(["IBAN GB82 WEST 1234 5698 7654 32"], "en")
    assert "GB82" not in caplog.text


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        (
            "en",
            "My name is John Smith, write to a.b@example.com",
            {("John Smith", "PERSON"), ("a.b@example.com", "EMAIL_ADDRESS")},
        ),
        (
            "zh",
            "客户欧阳静的身份证11010518991231004X，电话13800138000，卡号4000000000000002转账",
            {
                ("欧阳静", "PERSON"),
                ("11010518991231004X", "CN_ID"),
                ("13800138000", "CN_MOBILE"),
                ("4000000000000002", "CREDIT_CARD"),
            },
        ),
    ],
)
def test_the_whole_engine_reads_both_languages(
    language: str, text: str, expected: set[tuple[str, str]]
) -> None:
    (spans,) = presidio.analyze([text], language)
    assert expected <= {(text[s.start : s.end], s.entity) for s in spans if s.score >= 0.5}


def test_the_sweep_covers_every_true_hit_of_plain_presidio() -> None:
    """A differential: stock recognizers, stock patterns, one text at a time, on planted values."""
    fake, rng = Faker("en_US"), random.Random(5)
    fake.seed_instance(5)
    makers: list[Callable[[], object]] = [
        fake.email,
        fake.ssn,
        fake.ipv4,
        fake.ipv6,
        fake.mac_address,
        fake.iban,
        fake.url,
        fake.uuid4,
        lambda: fake.credit_card_number("visa16"),
        lambda: fake.numerify("(###) ###-####"),
    ]
    values = [str(rng.choice(makers)()) for _ in range(400)]
    texts = [f"Please check {value} before Friday." for value in values]
    stock = [
        predefined.EmailRecognizer(),
        predefined.UsSsnRecognizer(),
        predefined.IpRecognizer(),
        predefined.MacAddressRecognizer(),
        predefined.IbanRecognizer(),
        predefined.CreditCardRecognizer(),
        predefined.UuidRecognizer(),
        predefined.PhoneRecognizer(),
    ]
    offline = builtin.suffixes
    missed = []
    for text, value, spans in zip(texts, values, sweep_texts(texts), strict=True):
        covered = {i for s in spans for i in range(s.start, s.end)}
        start = text.index(value)
        for recognizer in stock:
            if recognizer.name == "EmailRecognizer":
                recognizer.validate_result = lambda t: offline(t).fqdn != ""
            for hit in recognizer.analyze(text, recognizer.supported_entities):
                true = hit.score >= 0.4 and start <= hit.start and hit.end <= start + len(value)
                if true and not all(
                    i in covered for i in range(hit.start, hit.end) if text[i].isalnum()
                ):
                    missed.append((hit.entity_type, recognizer.name))
    assert missed == []


@pytest.mark.parametrize(
    "text",
    ["10.1.2.0/24", "2001:db8::/48", "j***@example.com", "see end.In the end", "main.py", "::"],
)
def test_what_an_operator_or_a_typist_left_is_no_identifier(text: str) -> None:
    assert sweep_texts([text]) == [[]]


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("10.1.2.3/24", "IP_ADDRESS"),
        ("10.1.2.3", "IP_ADDRESS"),
        ("visit www.zhang-san.cn.", "URL"),
        ("github.com/zhangsan", "URL"),
        ("jane@intranet.local", "EMAIL_ADDRESS"),
        ("jane@xn--fiqs8s.xn--fiqs8s", "EMAIL_ADDRESS"),
        ("+44 20 7946 0958", "PHONE_NUMBER"),
    ],
)
def test_but_these_are(text: str, entity: str) -> None:
    (spans,) = sweep_texts([text], regimes=("eu",))
    assert [s.entity for s in spans] == [entity]


def test_a_pattern_that_runs_past_its_time_fails_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails closed, and says which pattern, not what it read."""
    monkeypatch.setattr("governance.recognition.rules.TIMEOUT_SECONDS", 0.05)
    slow = Rule("slow", "PERSON", regex.compile(r"(?:a|a)*b|(?:a+)+$"), Gate.HAN, 1.0, 1.0)
    with pytest.raises(ScanTimeoutError) as caught:
        list(slow.find("a" * 40 + "c", "", ()))
    assert caught.value.detail == "the pattern slow ran past its time"
    assert bounded("a").search("a") is not None


def test_the_detector_version_is_a_digest_that_stays() -> None:
    assert regex.fullmatch(r"detector-[0-9a-f]{16}", presidio.detector_version())
    assert presidio.detector_version() == presidio.detector_version()
