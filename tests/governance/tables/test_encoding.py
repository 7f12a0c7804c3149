import io
from pathlib import Path

import pytest

from governance.errors import TableError
from governance.tables.reading import open_table

VECTORS = Path(__file__).parents[2] / "vectors" / "tables"
SIMPLIFIED = ["张伟", "王芳", "李娜"]


@pytest.mark.parametrize(
    ("name", "encoding", "certainty", "names"),
    [
        ("utf8.csv", "utf-8", "valid", SIMPLIFIED),
        ("bom_utf8.csv", "utf-8", "marked", SIMPLIFIED),
        ("gbk.csv", "gb18030", "likely", SIMPLIFIED),
        ("gb18030_four_byte.csv", "gb18030", "likely", ["张𠮷", "王㐀", "李娜"]),
        ("big5.csv", "big5hkscs", "likely", ["陳大文", "林小華"]),
        ("big5_hkscs.csv", "big5hkscs", "likely", ["陳大文", "林啲嘅"]),
        ("utf16_le_bom.csv", "utf-16-le", "marked", SIMPLIFIED),
        ("utf16_be_bom.csv", "utf-16-be", "marked", SIMPLIFIED),
        ("utf16_le.csv", "utf-16-le", "valid", SIMPLIFIED),
        ("utf16_be.csv", "utf-16-be", "valid", SIMPLIFIED),
        ("bom_utf8.jsonl", "utf-8", "marked", ["张伟"]),
        ("utf16_le_bom.jsonl", "utf-16-le", "marked", ["张伟"]),
    ],
)
def test_the_encoding_is_detected(
    name: str, encoding: str, certainty: str, names: list[str]
) -> None:
    with (VECTORS / name).open("rb") as file:
        reader = open_table(file)
        assert reader.encoding is not None
        assert (reader.encoding.name, reader.encoding.certainty) == (encoding, certainty)
        assert reader.columns[0] == "姓名"
        assert next(reader.chunks()).columns["姓名"] == names


@pytest.mark.parametrize(
    ("stated", "codec"),
    [
        ("GBK", "gbk"),
        ("gb2312", "gb2312"),
        ("cp1252", "cp1252"),
        ("latin-1", "latin-1"),
        ("Shift_JIS", "shift_jis"),
        ("euc-kr", "euc-kr"),
        ("UTF-16", "utf-16"),
        ("utf-16", "utf-16-le"),
        ("utf-8-sig", "utf-8-sig"),
    ],
)
def test_a_stated_encoding_is_taken(stated: str, codec: str) -> None:
    name = {"cp1252": "José", "latin-1": "José", "euc-kr": "김철수"}.get(codec, "山田")
    reader = open_table(io.BytesIO(f"name,age\n{name},41\n".encode(codec)), encoding=stated)
    assert next(reader.chunks()).columns == {"name": [name], "age": ["41"]}
    assert reader.encoding is not None
    assert reader.encoding.certainty == "stated"


def test_a_wrongly_stated_encoding_is_refused_by_row() -> None:
    with (VECTORS / "gbk.csv").open("rb") as file, pytest.raises(TableError) as caught:
        open_table(file, encoding="utf-8")
    assert caught.value.stable_code == "table.undecodable"


def test_an_encoding_off_the_list_is_refused() -> None:
    with pytest.raises(TableError) as caught:
        open_table(io.BytesIO(b"a\n1\n"), encoding="rot13")
    assert caught.value.stable_code == "table.encoding_unsupported"


def test_the_first_chinese_name_may_be_on_the_last_line() -> None:
    body = b"name,age\n" + b"Ada,36\n" * 300_000 + "张伟,41\n".encode("gbk") * 3
    reader = open_table(io.BytesIO(body))
    *_, last = reader.chunks()
    assert last.columns["name"][-1] == "张伟"


def test_one_bad_byte_far_down_is_refused_by_its_row() -> None:
    rows = 200_000
    body = b"name,age\n" + "张伟,36\n".encode() * rows + b"\xff,1\n"
    with pytest.raises(TableError, match=f"row {rows + 1} "):
        list(open_table(io.BytesIO(body)).chunks())


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs", "utf-16-le", "utf-16-be", "utf-8"])
def test_characters_across_blocks_stay_whole(codec: str) -> None:
    names = ["陳大文" + "中" * (number % 7) for number in range(120_000)]
    body = ("姓名,歲\n" + "".join(f"{name},1\n" for name in names)).encode(codec)
    read: list[str | None] = []
    for chunk in open_table(io.BytesIO(body)).chunks():
        read += chunk.columns["姓名"]
    assert read == names
