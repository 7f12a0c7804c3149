"""Free text: paragraphs as rows, and what is taken for free text."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import TableError
from governance.tables.limits import Limits
from governance.tables.reading import open_table, preview
from governance.tables.table import Format

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"


def rows(text: str, most: int = 4000) -> list[tuple[str | None, str | None]]:
    file = io.BytesIO(text.encode())
    reader = open_table(file, format="text", limits=Limits(paragraph_characters=most))
    assert reader.columns == ["paragraph", "text"]
    assert reader.kinds == {"paragraph": "integer", "text": "text"}
    return [
        row
        for chunk in reader.chunks(2)
        for row in zip(chunk.columns["paragraph"], chunk.columns["text"], strict=True)
    ]


def test_paragraphs_are_rows_and_keep_their_lines() -> None:
    with (VECTORS / "notes.txt").open("rb") as file:
        reader = open_table(file, format="notes.txt")
        (chunk,) = reader.chunks()
    assert reader.format is Format.TEXT
    assert chunk.columns == {
        "paragraph": ["1", "2", "3"],
        "text": ["Dear Zelda,\nthank you, really.", "张三丰说，明天见。", "  - one\n  - two"],
    }


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("张三来了。李四走了。王五在家里等。", ["张三来了。李四走了。", "王五在家里等。"]),
        ("Ada has gone. Bob is away now", ["Ada has gone. ", "Bob is away ", "now"]),
        ("one two\nthree four five", ["one two\n", "three four ", "five"]),
        ("alpha, beta gamma delta", ["alpha, beta ", "gamma delta"]),
        ("13800138000,11010519491231002X", ["13800138000,", "11010519491231", "002X"]),
        ("张三李四王五赵六孙七周八吴九郑十", ["张三李四王五赵六孙七周八吴九", "郑十"]),
    ],
)
def test_a_long_paragraph_is_cut_where_least_is_torn(text: str, pieces: list[str]) -> None:
    made = rows(text + "\n\nend", most=14)
    assert [number for number, _ in made] == ["1"] * len(pieces) + ["2"]
    assert [piece for _, piece in made[:-1]] == [piece.strip("\n") for piece in pieces]


@given(st.lists(st.text(alphabet="ab。. ,\n张", max_size=60), max_size=5))
def test_nothing_of_a_text_is_lost(parts: list[str]) -> None:
    text = "\n\n".join([*parts, "end"])
    made = rows(text, most=20)
    assert all(len(piece or "") <= 20 for _, piece in made)
    squeezed = "".join((piece or "") for _, piece in made)
    assert "".join(squeezed.split()) == "".join(text.split())
    numbers = [int(number or 0) for number, _ in made]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, len(set(numbers)) + 1))


@pytest.mark.parametrize(
    ("name", "text", "format_"),
    [
        ("a.txt", "name\tcity\nAda\tToronto\n", Format.CSV),
        ("a.txt", "name,city\nAda,Toronto\nBob,Rome\n", Format.CSV),
        ("a.txt", "name|city\nAda|Toronto\nBob|Rome\n", Format.CSV),
        ("a.txt", '{"name": "Ada"}\n', Format.JSONL),
        ("a.log", '{"level": "info", "user": "Ada"}\n', Format.JSONL),
        ("a.txt", "{ not json\n", Format.TEXT),
        ("a.txt", "[10:00] Ada: hello\n[10:01] Bob: hi\n", Format.TEXT),
        # prose with as many commas in each line
        ("a.txt", "Dear Ada, hello\nI am fine, thanks\nYours, Bob\n", Format.TEXT),
        ("a.txt", "Hello,Ada\nBye,Bob\n", Format.TEXT),
        ("a.txt", "name\tcity\n\nAda\tToronto\n", Format.TEXT),
        # a first line that names somebody is no header
        ("a.txt", "ada@example.com\tAda\nbob@example.com\tBob\n", Format.TEXT),
        ("a.txt", "name\nAda\nBob\n", Format.TEXT),
        ("a.txt", "", None),
        # said so: not looked at
        ("a.md", "| name | city |\n| Ada | Rome |\n| Bob | Rome |\n", Format.TEXT),
        ("text", "name\tcity\nAda\tToronto\n", Format.TEXT),
        ("text", '{"name": "Ada"}\n', Format.TEXT),
        ("csv", "name\nAda\nBob\n", Format.CSV),
        ("", "name\nAda\nBob\n", Format.CSV),
    ],
)
def test_text_is_what_its_name_and_its_content_say(
    name: str, text: str, format_: Format | None
) -> None:
    file = io.BytesIO(text.encode())
    if format_ is None:
        with pytest.raises(TableError) as caught:
            open_table(file, format=name or None)
        assert caught.value.stable_code == "table.empty"
    else:
        assert open_table(file, format=name or None).format is format_


@pytest.mark.parametrize(("name", "format_"), [("table.txt", Format.CSV), ("app.log", Format.TEXT)])
def test_a_table_in_a_text_file_stays_one(name: str, format_: Format) -> None:
    with (VECTORS / name).open("rb") as file:
        assert open_table(file, format=name).format is format_


def test_a_preview_of_free_text_shows_shapes() -> None:
    shown = preview(io.BytesIO("Zelda left.\n\n张三丰。".encode("gb18030")), format="txt")
    assert shown.encoding is not None
    assert shown.encoding.name == "gb18030"
    assert shown.rows == [["9", "Zxxxx xxxx."], ["9", "张〇〇。"]]
