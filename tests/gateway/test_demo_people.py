"""The demo's people: the same every time, well-formed, and nobody who lives."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import phonenumbers
import pytest

from gateway.demo import adult, people
from gateway.demo.people import ENTITIES, FIELDS, PERSONAL, Person, Planted
from gateway.errors import DemoTableError
from governance.recognition.checksums import luhn, mod11_2

pytestmark = pytest.mark.skipif(
    not adult.DEFAULT_FOLDER.is_dir(), reason="the UCI Adult table is not installed: make install"
)

SAMPLE = 4000
ADDRESS = re.compile(r"(?:\w{2,8}(?:省|自治区))?\w{2,8}市\w{1,8}区\w{1,12}(?:路|街)\d{1,3}号\w+室")
MOBILE = re.compile(r"1(?:3\d|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8\d|9[0-35-9])\d{8}")


@pytest.fixture(scope="module")
def everyone() -> list[Person]:
    return list(people.people(count=SAMPLE))


def of(everyone: list[Person], language: str, column: str) -> list[str]:
    return [person.cells[column] for person in everyone if person.language == language]


def test_the_whole_table_is_made_in_seconds_and_is_all_of_adult() -> None:
    file = io.BytesIO()
    began = time.monotonic()
    size = people.write_csv(file)
    # About 4 s on one busy core; a call of Faker a cell would take minutes.
    assert time.monotonic() - began < 30
    assert size == len(file.getvalue())
    table = list(csv.DictReader(io.StringIO(file.getvalue().decode(), newline="")))
    assert len(table) == adult.TRAIN_ROWS
    assert tuple(table[0]) == FIELDS
    kept = [{column: row[column] for column in adult.COLUMNS} for row in table]
    assert kept == list(adult.adult())
    assert len({row["person_id"] for row in table}) == adult.TRAIN_ROWS
    assert len({row["national_id"] for row in table}) == adult.TRAIN_ROWS


def test_two_processes_make_the_same_bytes() -> None:
    made = [
        subprocess.run(
            [
                sys.executable,
                "-c",
                (
                    "import sys; from gateway.demo import people; "
                    "people.write_csv(sys.stdout.buffer, count=500)"
                ),
            ],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert hashlib.sha256(made[0]).digest() == hashlib.sha256(made[1]).digest()
    assert made[0].count(b"U-") == 500


def test_another_seed_makes_other_people() -> None:
    first, second = (next(people.rows(seed=seed, count=1)) for seed in (1, 2))
    assert all(first[column] != second[column] for column in PERSONAL)
    assert all(first[column] == second[column] for column in adult.COLUMNS)


def test_both_languages_are_about_half(everyone: list[Person]) -> None:
    share = Counter(person.language for person in everyone)["zh"] / SAMPLE
    assert 0.45 < share < 0.55


def test_resident_numbers_have_a_right_checksum_and_no_living_holder(
    everyone: list[Person],
) -> None:
    for person in everyone:
        if person.language == "zh":
            number = person.cells["national_id"]
            assert mod11_2(number)
            assert 1850 <= int(number[6:10]) < 1900
            assert int(number[16]) % 2 == (person.cells["sex"] == "Male")


def test_social_security_numbers_are_never_issued_and_still_recognized(
    everyone: list[Person],
) -> None:
    from presidio_analyzer.predefined_recognizers import UsItinRecognizer, UsSsnRecognizer

    for number in of(everyone, "en", "national_id"):
        area, group, serial = map(int, number.split("-"))
        assert (900 <= area <= 999, 1 <= group <= 49, 1 <= serial <= 9999) == (True, True, True)
    text = of(everyone, "en", "national_id")[0]
    (found,) = UsSsnRecognizer().analyze(text, ["US_SSN"])
    assert (found.start, found.end) == (0, len(text))
    assert not UsItinRecognizer().analyze(text, ["US_ITIN"])


@pytest.mark.parametrize(
    ("language", "prefix", "length"), [("zh", "620000", 19), ("en", "400000", 16)]
)
def test_cards_are_test_cards(
    everyone: list[Person], language: str, prefix: str, length: int
) -> None:
    for card in of(everyone, language, "bank_card"):
        assert luhn(card)
        assert (card[:6], len(card)) == (prefix, length)


def test_telephones_mail_and_addresses_are_well_formed(everyone: list[Person]) -> None:
    assert all(MOBILE.fullmatch(number) for number in of(everyone, "zh", "mobile"))
    for number in of(everyone, "en", "mobile"):
        assert "-555-01" in number
        assert phonenumbers.is_valid_number(phonenumbers.parse(number, "US"))
    for person in everyone:
        assert re.fullmatch(r"[\w.]+@example\.(com|net|org)", person.cells["email"], re.ASCII)
    assert all(ADDRESS.fullmatch(address) for address in of(everyone, "zh", "address"))
    assert all(re.search(r", [A-Z]{2} \d{5}$", cell) for cell in of(everyone, "en", "address"))


def test_ground_truth_covers_whole_cells_and_the_spans_of_notes(everyone: list[Person]) -> None:
    truth = list(people.planted(everyone))
    cells = {person.row: person for person in everyone}
    whole = [item for item in truth if item.column != "note"]
    assert len(whole) == SAMPLE * len(PERSONAL)
    for item in truth:
        person = cells[item.row]
        text = person.cells[item.column]
        assert 0 <= item.start < item.end <= len(text)
        if item.column != "note":
            assert (item.start, item.end) == (0, len(text))
            assert item.entity == ENTITIES[person.language][item.column]


def test_ground_truth_misses_nobody_in_a_note(everyone: list[Person]) -> None:
    """With the spans cut out, no value of the row and no name of anyone is left in its note."""
    for person in everyone:
        text = person.cells["note"]
        for span in reversed(person.note_spans):
            text = text[: span.start] + "■" + text[span.end :]
        assert not [column for column in PERSONAL if person.cells[column] in text]
        assert not re.search(r"@|\d{4}", text)
    spans = [
        person.cells["note"][span.start : span.end]
        for person in everyone
        for span in person.note_spans
        if span.entity == "PERSON"
    ]
    assert all(2 <= len(name) <= 40 for name in spans)


def test_notes_name_people_and_repeat_like_real_ones(everyone: list[Person]) -> None:
    texts = [person.cells["note"] for person in everyone]
    with_people = sum(bool(person.note_spans) for person in everyone) / SAMPLE
    assert 0.6 < with_people < 0.7
    assert 0.3 < 1 - len(set(texts)) / SAMPLE < 0.6
    inside = Counter(span.entity for person in everyone for span in person.note_spans)
    assert set(inside) == {entity for named in ENTITIES.values() for entity in named.values()}


def test_planted_rows_count_from_one() -> None:
    (first, *_) = people.planted(people.people(count=1))
    assert first == Planted(1, "name", 0, first.end, "PERSON")


def test_declarations_cover_every_value_of_both_tables() -> None:
    declared = people.ADULT_DECLARATIONS["columns"]
    assert tuple(declared) == adult.COLUMNS
    for row in (*adult.adult(), *adult.held_out()):
        for name, value in row.items():
            column = declared[name]
            if column["kind"] == "category":
                assert value in column["values"]
            else:
                assert column["low"] <= int(value) <= column["high"]


def test_declarations_are_the_file_a_steward_hands_in() -> None:
    assert json.loads(adult.DECLARATIONS_FILE.read_text()) == people.ADULT_DECLARATIONS
    assert "UCI Adult" in people.ADULT_DECLARATIONS["source"]


def test_held_out_rows_have_the_labels_of_the_training_table() -> None:
    table = list(people.held_out())
    assert len(table) == adult.HELD_OUT_ROWS
    assert {row["income"] for row in table} == {"<=50K", ">50K"}


def test_a_split_is_seeded_and_leaves_no_row_out() -> None:
    kept, held = people.split(1000, share=0.1, seed=7)
    assert (kept, held) == people.split(1000, share=0.1, seed=7)
    assert held != people.split(1000, share=0.1, seed=8)[1]
    assert (len(held), sorted(kept + held)) == (100, list(range(1000)))


def test_a_missing_table_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DemoTableError, match="make install") as caught:
        next(people.rows(tmp_path))
    assert caught.value.stable_code == "demo.table_missing"
