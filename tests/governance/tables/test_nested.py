"""Nested records as columns by path, and back: JSON Lines in and out, Parquet in."""

import io
import json
import tracemalloc
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import TableError
from governance.tables.limits import MIB, Limits
from governance.tables.nesting import is_list, leaves, with_leaves
from governance.tables.reading import open_table, preview
from governance.tables.table import Format
from governance.tables.writing import chunk_writer

Cells = dict[str, list[str | None]]


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def cells(data: bytes, rows: int = 2, limits: Limits | None = None) -> Cells:
    reader = open_table(io.BytesIO(data), limits=limits or Limits())
    made: Cells = {name: [] for name in reader.columns}
    for chunk in reader.chunks(rows):
        for name, values in chunk.columns.items():
            made[name] += values
    return made


def written(columns: Cells, *, nested: bool = True) -> list[Any]:
    sink = io.BytesIO()
    writer = chunk_writer(sink, Format.JSONL, list(columns), nested=nested)
    writer.write(columns)
    writer.close()
    return [json.loads(line) for line in sink.getvalue().decode().split("\n")[:-1]]


@pytest.mark.parametrize(
    ("records", "columns"),
    [
        (
            [{"id": 1, "person": {"name": "张伟", "age": 41}}, {"id": 2, "person": None}],
            {"id": ["1", "2"], "person.name": ["张伟", None], "person.age": ["41", None]},
        ),
        (
            [
                {"orders": [{"sku": "A", "qty": 2}, {"sku": "B"}]},
                {"orders": []},
                {"orders": None},
                {},
                {"orders": [{"qty": None, "sku": None}]},
            ],
            {
                "orders[].sku": ['["A","B"]', "[]", "null", None, "[null]"],
                "orders[].qty": ["[2,{}]", "[]", "null", None, "[null]"],
            },
        ),
        (
            [{"m": [[1, 2.50], [], None]}, {"m": [[]]}],
            {"m[][]": ["[[1,2.5],[],null]", "[[]]"]},
        ),
        (
            [{"a": [{"b": ["x"]}, {"b": []}, {"b": None}, {}]}],
            {"a[].b[]": ['[["x"],[],null,{}]']},
        ),
        # one member that is a text, an object, a list and nothing in turn
        (
            [{"v": "x"}, {"v": {"w": True}}, {"v": ["y"]}, {"v": {}}],
            {
                "v": ["x", None, None, None],
                "v{}": [None, None, None, "true"],
                "v.w": [None, "true", None, None],
                "v[]": [None, None, '["y"]', None],
            },
        ),
        # an element that is null, an object that is null, one that has no members
        (
            [{"a": [None, {"b": None}, {"b": {"c": 1}}, {}]}],
            {"a[]": ["[null,{},{},{}]"], "a[].b": ["[{},null,{},{}]"], "a[].b.c": ["[{},{},1,{}]"]},
        ),
        ([{"a": [{}, {}]}], {"a[]": ["[{},{}]"]}),
        ([{"a": []}], {"a[]": ["[]"]}),
        # names that look like paths
        (
            [{"a.b": "1", "a": {"b": "2"}, "c[]": "3", "d\\": "4"}],
            {r"a\.b": ["1"], "a.b": ["2"], r"c\[]": ["3"], "d\\\\": ["4"]},
        ),
        ([{" a ": {"\u200bb ": "1"}}], {"a.b": ["1"]}),
    ],
)
def test_every_place_has_its_column(records: list[Any], columns: Cells) -> None:
    assert cells(lines(*records)) == columns


def test_numbers_under_lists_stay_as_written() -> None:
    body = b'{"a":[1.50,12345678901234567890123,1e5,-0]}\n'
    assert cells(body) == {"a[]": ["[1.50,12345678901234567890123,1e5,-0]"]}


def test_columns_under_lists_are_text_and_the_others_are_what_they_are() -> None:
    reader = open_table(io.BytesIO(lines({"n": [1], "p": {"a": 1, "b": 1.5, "c": True, "d": "x"}})))
    assert reader.kinds == {
        "n[]": "text",
        "p.a": "integer",
        "p.b": "real",
        "p.c": "boolean",
        "p.d": "text",
    }


def test_treated_leaves_take_the_original_shape() -> None:
    record = {
        "person": {"name": "张伟", "mails": ["a@b.cn", None]},
        "orders": [{"sku": "A", "buyer": {"name": "王芳"}}, {"sku": "B", "tags": []}, None],
    }
    treated: Cells = {
        name: [
            with_leaves(cell, ["*" if leaf else None for leaf in leaves(cell)])
            if cell is not None and is_list(name)
            else "*"
            for cell in column
        ]
        for name, column in cells(lines(record)).items()
    }
    assert written(treated) == [
        {
            "person": {"name": "*", "mails": ["*", None]},
            "orders": [{"sku": "*", "buyer": {"name": "*"}}, {"sku": "*", "tags": []}, None],
        }
    ]


def test_a_dropped_column_is_missing_from_every_object() -> None:
    columns = cells(lines({"id": "1", "o": [{"sku": "A", "name": "x"}, {"name": "y"}]}))
    del columns["o[].name"]
    assert written(columns) == [{"id": "1", "o": [{"sku": "A"}, {}]}]


@pytest.mark.parametrize(
    ("columns", "made"),
    [
        (
            {"o[].a": ["<X>"], "o[].b": ['["1","2"]']},
            {"o": [{"a": "<X>", "b": "1"}, {"a": "<X>", "b": "2"}]},
        ),
        ({"o[].a": ["<X>"], "o[].b": ["<Y>"]}, {"o": [{"a": "<X>", "b": "<Y>"}]}),
        ({"tags[]": ["a;b"]}, {"tags": ["a;b"]}),
        ({"m[][]": ["<X>"]}, {"m": [["<X>"]]}),
        ({"t[]": ["[[1],{}]"]}, {"t": [[1], {}]}),
        ({"t[]": [None], "o[].x": ["<X>"], "o[].y": ["null"]}, {"o": [{"x": "<X>"}]}),
    ],
)  # fmt: skip
def test_a_cell_that_was_replaced_whole_stands_in_each_element(columns: Cells, made: Any) -> None:
    assert written(columns) == [made]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": ["1"], "a.b": ["2"]},
        {"a.b": ["1"], "a[]": ['["2"]']},
        {"a[].b": ["[1]"], "a[].c": ["[1,2]"]},
        {r"a..b": ["1"], r"a\.\.b": ["2"]},
    ],
)
def test_columns_that_claim_one_place_are_refused_or_taken_whole(columns: Cells) -> None:
    with pytest.raises(TableError) as caught:
        written(columns)
    assert caught.value.stable_code == "table.nesting_conflict"
    assert written(columns, nested=False) == [{name: values[0] for name, values in columns.items()}]


def test_a_flat_object_may_have_names_that_look_like_paths() -> None:
    assert written(cells(lines({"a.b": "1", "c": "2"}))) == [{"a.b": "1", "c": "2"}]


MEMBERS = st.text(alphabet="ab.[]{}\\张", min_size=1, max_size=4)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS | st.sampled_from(["{}", "null", "[]", "[1]", "true"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3),
    max_leaves=8,
)


def canonical(value: Any, *, root: bool = False) -> Any:
    """What the flat form keeps: outside lists, texts of values, and no null."""
    match value:
        case dict():
            kept = {name: canonical(item) for name, item in value.items()}
            kept = {name: item for name, item in kept.items() if item is not None}
            return kept if kept or not value or root else None
        case bool():
            return "true" if value else "false"
        case int() | float():
            return json.dumps(value)
        case _:
            return value


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(MEMBERS, VALUES, max_size=4), min_size=1, max_size=4))
def test_what_is_read_is_rebuilt(records: list[dict[str, Any]]) -> None:
    records = [{**record, "id": {"n": "1"}} for record in records]
    made = written(cells(lines(*records), rows=len(records)))
    assert [canonical(one, root=True) for one in made] == [
        canonical(one, root=True) for one in records
    ]
    again = written(cells(lines(*made), rows=len(made)))
    assert json.dumps(again, sort_keys=True) == json.dumps(made, sort_keys=True)


@pytest.mark.parametrize(
    ("body", "limits", "code", "says"),
    [
        (lines({"a": "x"}, {"a": [[[["x"]]]]}), Limits(depth=3), "table.too_deep", "row 2 "),
        (
            lines({"a": 1}, {"a": list(range(50))}),
            Limits(record_values=40),
            "table.too_many_values",
            "row 2 holds more than 40 values",
        ),
        # few values, yet as many cells as elements times columns
        (
            lines({"a": [{"b": 1}, {"c": 1}, {"d": 1}, {}, {}, {}, {}]}),
            Limits(record_values=20),
            "table.too_many_values",
            "row 1 ",
        ),
        (lines({"a": {"b": 1, "c": 2}}), Limits(columns=1), "table.too_many_columns", "than 1"),
        (
            lines({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}),
            Limits(columns=1),
            "table.too_many_columns",
            "than 1",
        ),
        (lines({"a": {"": 1}}), Limits(), "table.blank_header", "column 1 "),
        (lines({"a": {"b" * 300: 1}}), Limits(), "table.long_header", "column 1 "),
        (lines({"a": {"ada@example.com": 1}}), Limits(), "table.header_missing", "column 1 "),
        (lines({"a": {"b": 1, "\u200bb": 1}}), Limits(), "table.duplicate_header", "1 and 2"),
        (b'{"a":[{"b":1,"b":2}]}\n', Limits(), "table.bad_json", "row 1 names a field twice"),
        (b'{"a" :{"b":1},"c":2,"c":3}\n', Limits(), "table.bad_json", "row 1 names a field twice"),
        (b'{"a":[{"b":["\\u0000"]}]}\n', Limits(), "table.nul_byte", "row 1 "),
        (b'{"a":[{"\\ud800":1}]}\n', Limits(), "table.bad_json", "row 1 "),
    ],
    ids=range(13),
)  # fmt: skip
def test_nested_data_are_bounded(body: bytes, limits: Limits, code: str, says: str) -> None:
    with pytest.raises(TableError) as caught:
        cells(body, limits=limits)
    assert (caught.value.stable_code, says in caught.value.detail) == (code, True)


def test_a_text_of_commas_and_colons_is_not_many_values_nor_a_name_twice() -> None:
    text = ',"a": ' * 50
    assert cells(lines({"a": text}), limits=Limits(record_values=40)) == {"a": [text]}


def test_many_values_make_shorter_chunks() -> None:
    body = lines(*({"a": [{"b": 1, "c": 2}] * 10} for _ in range(20)))
    reader = open_table(io.BytesIO(body), limits=Limits(record_values=60))
    chunks = list(reader.chunks(100))
    assert sum(chunk.rows for chunk in chunks) == 20
    assert max(chunk.rows for chunk in chunks) <= 3
    assert [chunk.first_row for chunk in chunks] == sorted({chunk.first_row for chunk in chunks})


def test_a_line_of_lists_takes_bounded_memory() -> None:
    body = b'{"id":1}\n{"a":[' + b"1," * 8_000_000 + b"1]}\n"
    tracemalloc.start()
    with pytest.raises(TableError):
        cells(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * MIB


def test_a_preview_shows_no_leaf() -> None:
    shown = preview(io.BytesIO(lines({"p": {"name": "Zelda"}, "o": [{"n": "Quixby", "k": 7}]})))
    assert shown.columns == ["p.name", "o[].n", "o[].k"]
    assert shown.rows == [["Zxxxx", '["xxxxxx"]', "[9]"]]


# Parquet


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


PERSON = pa.struct([("name", pa.string()), ("age", pa.int32())])
LINE = pa.struct([("sku", pa.string()), ("qty", pa.int64()), ("price", pa.float64())])


@pytest.mark.parametrize(
    ("values", "of", "columns"),
    [
        (
            [{"name": "张伟", "age": 41}, None, {"name": None, "age": 7}],
            PERSON,
            {"c.name": ["张伟", None, None], "c.age": ["41", None, "7"]},
        ),
        (
            [["a", None, "a"], [], None],
            pa.list_(pa.string()),
            {"c[]": ['["a",null,"a"]', "[]", "null"]},
        ),
        ([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2), {"c[]": ["[1,2]", "null", "[3,4]"]}),
        ([[True], [None]], pa.large_list(pa.bool_()), {"c[]": ["[true]", "[null]"]}),
        (
            [[{"sku": "A", "qty": 1, "price": 0.5}, None], [], None],
            pa.list_(LINE),
            {
                "c[].sku": ['["A",null]', "[]", "null"],
                "c[].qty": ["[1,null]", "[]", "null"],
                "c[].price": ["[0.5,null]", "[]", "null"],
            },
        ),
        (
            [[[1], []], [None], []],
            pa.list_(pa.list_(pa.int64())),
            {"c[][]": ["[[1],[]]", "[null]", "[]"]},
        ),
        (
            [[("k", 1)], None, [("k", None), ("l", 2)]],
            pa.map_(pa.string(), pa.int64()),
            {"c[].key": ['["k"]', "null", '["k","l"]'], "c[].value": ["[1]", "null", "[null,2]"]},
        ),
        (
            [{"l": [{"m": [("k", "v")]}]}, {"l": None}, None],
            pa.struct([("l", pa.list_(pa.struct([("m", pa.map_(pa.string(), pa.string()))])))]),
            {
                "c.l[].m[].key": ['[["k"]]', "null", "null"],
                "c.l[].m[].value": ['[["v"]]', "null", "null"],
            },
        ),
        (
            [["x", "y", "x"], ["y"]],
            pa.list_(pa.dictionary(pa.int32(), pa.string())),
            {"c[]": ['["x","y","x"]', '["y"]']},
        ),
        (
            [{"d": "x"}, {"d": None}],
            pa.struct([("d", pa.dictionary(pa.int8(), pa.string()))]),
            {"c.d": ["x", None]},
        ),
        (
            [[1.5, float("nan"), float("inf")]],
            pa.list_(pa.float64()),
            {"c[]": ['[1.5,"nan","inf"]']},
        ),
        (
            [{"a.b": "1"}],
            pa.struct([("a.b", pa.string())]),
            {r"c.a\.b": ["1"]},
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_nested_parquet_has_the_same_places(
    values: list[Any], of: pa.DataType, columns: Cells, options: dict[str, Any]
) -> None:
    data = parquet({"c": pa.array(values, of)}, **options)
    assert cells(data, rows=2) == columns
    assert cells(data, rows=1) == columns


@pytest.mark.parametrize(
    ("value", "code"),
    [("Cy\0", "table.nul_byte"), ("x" * 200, "table.cell_too_long")],
)
def test_a_text_under_a_list_is_blamed_on_its_row(value: str, code: str) -> None:
    rows = [["a", "b"], [], ["b", value, "a"], [value]]
    data = parquet({"c": pa.array([{"l": row} for row in rows])})
    with pytest.raises(TableError, match="row 3 ") as caught:
        cells(data, rows=2, limits=Limits(line_characters=100))
    assert caught.value.stable_code == code


@pytest.mark.parametrize(
    ("array", "limits", "options", "code"),
    [
        (pa.array([[[[1]]]]), Limits(depth=2), {}, "table.too_deep"),
        (pa.array([[1] * 50]), Limits(record_values=49), {}, "table.too_many_values"),
        (pa.array([[1] * 50, [2]]), Limits(parquet_values=50), {}, "table.bomb"),
        (
            pa.array([["x" * 100] * 5]),
            Limits(),
            {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
            "table.bomb",
        ),
        (pa.array([[b"x"]]), Limits(), {}, "table.unsupported_type"),
        (
            pa.array([{f"m{number}": 1 for number in range(5)}]),
            Limits(columns=4),
            {},
            "table.too_many_columns",
        ),
    ],
)
def test_nested_parquet_is_bounded(
    array: Any, limits: Limits, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(TableError) as caught:
        cells(parquet({"c": array}, **options), limits=limits)
    assert caught.value.stable_code == code


def test_long_lists_make_shorter_chunks() -> None:
    data = parquet({"c": pa.array([["x" * 100] * 10] * 50)})
    reader = open_table(io.BytesIO(data), limits=Limits(chunk_characters=4000))
    chunks = list(reader.chunks(50))
    assert sum(chunk.rows for chunk in chunks) == 50
    assert max(chunk.rows for chunk in chunks) <= 3


def test_one_text_in_every_element_is_not_multiplied() -> None:
    """A long text, once in the file's dictionary, in each of 512 elements of 64 rows."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 512, pa.int32()), ["x" * 200_000])
    lists = pa.ListArray.from_arrays(pa.array(range(0, 513, 8), pa.int32()), text)
    data = parquet({"c": lists})
    before = pa.total_allocated_bytes()
    rows = 0
    limits = Limits(chunk_characters=2_000_000)
    for chunk in open_table(io.BytesIO(data), limits=limits).chunks():
        rows += chunk.rows
        assert pa.total_allocated_bytes() - before < 10_000_000
        assert chunk.rows == 1
    assert rows == 64


def test_path_columns_written_here_read_back_as_such() -> None:
    columns = cells(lines({"p": {"n": "x"}, "o": [{"s": "A"}, {}]}))
    for form in (Format.CSV, Format.PARQUET):
        sink = io.BytesIO()
        writer = chunk_writer(sink, form, list(columns))
        writer.write(columns)
        writer.close()
        assert cells(sink.getvalue()) == columns


def test_two_columns_of_one_path_are_refused() -> None:
    data = parquet({"a.b": pa.array(["1"]), "a": pa.array([{"b": "2"}])})
    with pytest.raises(TableError) as caught:
        cells(data)
    assert caught.value.stable_code == "table.duplicate_header"
