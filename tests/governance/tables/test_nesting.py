import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.tables.nesting import Mark, escaped, is_list, leaves, steps, with_leaves

EACH = Mark.LIST


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("name", ("name",)),
        ("person.name", ("person", "name")),
        ("orders[].sku", ("orders", EACH, "sku")),
        ("m[][]", ("m", EACH, EACH)),
        ("a[].b[].c", ("a", EACH, "b", EACH, "c")),
        ("meta{}", ("meta", Mark.EMPTY)),
        (r"a\.b", ("a.b",)),
        (r"a\[].b", ("a[]", "b")),
        (r"a\\.b", ("a\\", "b")),
        ("[id]", ("[id]",)),
        ("a[0]", ("a[0]",)),
        ("a[[]", ("a[", EACH)),
        # no paths: names of a flat table, taken whole
        ("a..b", ("a..b",)),
        (".a", (".a",)),
        ("a.", ("a.",)),
        ("[]", ("[]",)),
        ("a[]b", ("a[]b",)),
        ("{}", ("{}",)),
    ],
)
def test_a_name_is_a_path(name: str, path: tuple[str | Mark, ...]) -> None:
    assert steps(name) == path
    assert is_list(name) is (EACH in path)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_members_of_any_name_make_a_path_of_their_own(members: list[str]) -> None:
    assert steps(".".join(map(escaped, members))) == tuple(members)
    assert steps("[].".join(map(escaped, members)) + "[]")[::2] == tuple(members)


CELLS = [
    ('["A1","B2"]', ["A1", "B2"]),
    ('["A1",{},null,"x"]', ["A1", None, "x"]),
    ("[[1,2],[3],[]]", ["1", "2", "3"]),
    ("[1.50,true,false,1e9]", ["1.50", "true", "false", "1e9"]),
    ('["张\\"伟\\n"]', ['张"伟\n']),
    ("[]", []),
    ("null", []),
    # not made by a reader of nested data: one leaf
    ("", [""]),
    ("a;b", ["a;b"]),
    ("[draft] note", ["[draft] note"]),
    ('[{"a":1}]', ['[{"a":1}]']),
    ("[NaN]", ["[NaN]"]),
    ('["\\u0000"]', ['["\\u0000"]']),
    ('["\\ud800"]', ['["\\ud800"]']),
    ("[" * 100_000, ["[" * 100_000]),
    ("[" * 100_000 + "]" * 100_000, ["[" * 100_000 + "]" * 100_000]),
]


@pytest.mark.parametrize(("cell", "found"), CELLS, ids=range(len(CELLS)))
def test_the_leaves_of_a_cell_go_back_where_they_were(cell: str, found: list[str | None]) -> None:
    assert leaves(cell) == found
    assert with_leaves(cell, found) == cell


@pytest.mark.parametrize(
    ("cell", "new", "made"),
    [
        ('["A1",{},[null]]', ["X", None], '["X",{},[null]]'),
        ('["1",2,3,true]', ["9", "8", "30-40", "false"], '["9",8,"30-40",false]'),
        ("[1,true,null]", ["01", "yes", "x"], '["01","yes","x"]'),
        ('["a"]', ['"quoted"\t\n'], '["\\"quoted\\"\\t\\n"]'),
        ("a;b", ["<NAME>"], "<NAME>"),
        ("a;b", [None], "null"),
    ],
)
def test_new_leaves_take_the_places_of_the_old(cell: str, new: list[str | None], made: str) -> None:
    assert with_leaves(cell, new) == made


@pytest.mark.parametrize("new", [[], ["a"], ["a", "b", "c"]])
@pytest.mark.parametrize("cell", ['["x",["y"]]'])
def test_another_number_of_leaves_is_an_error(cell: str, new: list[str]) -> None:
    with pytest.raises(ValueError, match="leaves"):
        with_leaves(cell, new)


@pytest.mark.parametrize(("cell", "new"), [("null", ["x"]), ("a", []), ("a", ["x", "y"])])
def test_a_cell_that_is_one_leaf_takes_one(cell: str, new: list[str]) -> None:
    with pytest.raises(ValueError, match="leaves"):
        with_leaves(cell, new)
