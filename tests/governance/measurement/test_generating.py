"""The labeled set: the same bytes for the same seed, labels that fit, and nobody in it."""

from collections import Counter
from itertools import islice

import pytest
from presidio_analyzer import PatternRecognizer

from governance.measurement.drawing import Draw
from governance.measurement.fakes import FAKES, Fake, entities
from governance.measurement.generating import REGIMES, generate
from governance.measurement.labels import LabeledRow, Shape, read_rows
from governance.recognition.builtin import BUILT_IN
from governance.recognition.checksums import hkid, id15, luhn, mod11_2, taiwan_id, uscc
from governance.recognition.entities import ENTITIES
from governance.recognition.folding import fold
from governance.recognition.regimes import ALL


@pytest.fixture(scope="module")
def rows() -> list[LabeledRow]:
    return list(generate(3000))


def test_the_same_seed_makes_the_same_bytes() -> None:
    one, same, other = (
        b"".join(row.as_line() for row in generate(400, seed)) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_every_row_reads_back(rows: list[LabeledRow]) -> None:
    assert len(rows) == 3000
    assert list(read_rows(row.as_line() for row in rows)) == rows


def test_both_shapes_all_languages_every_entity(rows: list[LabeledRow]) -> None:
    shapes = Counter(row.shape for row in rows)
    assert shapes[Shape.STRUCTURED] == shapes[Shape.PROSE] == 1500
    assert {row.language for row in rows} == {"zh", "zh-Hant", "en", "mixed"}
    labeled = Counter(label.entity for row in rows for label in row.spans)
    assert labeled.keys() == entities(REGIMES) <= ENTITIES.keys()
    assert min(labeled.values()) >= 5
    assert sum(not row.spans for row in rows) >= 300  # hard negatives


def test_a_set_for_all_regimes_holds_what_only_they_look_for() -> None:
    labeled = {s.entity for row in generate(3400, regimes=ALL) for s in row.spans}
    assert labeled == entities(ALL) > entities(REGIMES)


def test_some_values_are_in_disguise(rows: list[LabeledRow]) -> None:
    values = [row.text[s.start : s.end] for row in rows for s in row.spans]
    assert sum(fold(value).text != value for value in values) >= 100


CHECKS = {
    "CN_ID": mod11_2, "CN_RESIDENCE": mod11_2, "CN_FOREIGN_PR": mod11_2, "CN_ID15": id15,
    "CN_BANK_CARD": luhn, "CREDIT_CARD": luhn, "IMEI": luhn, "CN_USCC": uscc, "HKID": hkid,
    "TW_ID": taiwan_id,
}  # fmt: skip


@pytest.mark.parametrize("fake", [f for f in FAKES if f.entity in CHECKS], ids=lambda f: f.entity)
def test_check_digits_are_right(fake: Fake) -> None:
    draw = Draw(3)
    for _ in range(50):
        bare = fake.make(draw).replace(" ", "").replace("-", "")
        assert CHECKS[fake.entity](bare), fake.entity


def test_presidios_validators_agree() -> None:
    recognizers: dict[str, PatternRecognizer] = {}
    for made, *_ in BUILT_IN:
        recognizer = made()
        recognizers[recognizer.supported_entities[0]] = recognizer
    draw = Draw(4)
    judged = [fake for fake in FAKES if fake.entity in recognizers]
    assert len(judged) >= 10
    for fake in judged:
        recognizer = recognizers[fake.entity]
        for value in (fake.make(draw) for _ in range(20)):
            assert recognizer.validate_result(value) is not False, fake.entity
            assert not recognizer.invalidate_result(value), fake.entity


def test_nobody_alive_was_born_then() -> None:
    draw = Draw(5)
    for fake in islice(FAKES, 4):
        for _ in range(100):
            bare = fake.make(draw).replace(" ", "").replace("-", "")
            if len(bare) == 18:
                assert int(bare[6:10]) <= 1900
            else:
                assert bare[12:] >= "996"  # sequence numbers of the 1800s
