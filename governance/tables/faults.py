"""Every way a table can be wrong: a stable code and a sentence that holds no value of the table.

Rows count from 1 under the header; row 0 is the header itself. Columns are named by position.
"""

from typing import Final

from governance.errors import TableError

_SAFE_NAME_LENGTH: Final = 64


def _row(row: int) -> str:
    return f"row {row}" if row else "the header row"


def empty() -> TableError:
    """No byte, or no row that could be a header."""
    return TableError("the file is empty", code="table.empty")


def no_rows() -> TableError:
    """A header and nothing under it."""
    return TableError("the file has a header and no rows", code="table.no_rows")


def ragged_row(row: int, found: int, expected: int) -> TableError:
    """A row with more or fewer cells than the header."""
    return TableError(
        f"row {row} has {found} cells where the header has {expected}", code="table.ragged_row"
    )


def undecodable(row: int, encoding: str) -> TableError:
    """Bytes that are not text in the encoding the file was opened with."""
    return TableError(
        f"{_row(row)} holds bytes that are not {encoding}; state the encoding if it is another",
        code="table.undecodable",
    )


def encoding_unknown() -> TableError:
    """Text of an encoding that could not be told."""
    return TableError(
        "the text is neither UTF-8, UTF-16, GB18030 nor Big5; state its encoding",
        code="table.encoding_unknown",
    )


def encoding_unsupported(accepted: list[str]) -> TableError:
    """An encoding was stated that is not on the list."""
    return TableError(
        f"this encoding is not read here; these are: {', '.join(accepted)}",
        code="table.encoding_unsupported",
        pointer="/encoding",
    )


def mixed_encodings(row: int, encoding: str) -> TableError:
    """A row that reads as everyday text in another encoding than the rest of the file."""
    return TableError(
        f"{_row(row)} is not in {encoding} as the text before it is; "
        "convert the file to one encoding",
        code="table.mixed_encodings",
    )


def nul_byte(row: int) -> TableError:
    """A NUL character: it would stand for a cell boundary later on."""
    return TableError(f"{_row(row)} holds a NUL character", code="table.nul_byte")


def line_too_long(row: int, limit: int) -> TableError:
    """A line or record past the bound."""
    return TableError(f"{_row(row)} is longer than {limit} characters", code="table.line_too_long")


def cell_too_long(row: int, limit: int) -> TableError:
    """A cell past the bound, in a format that has no lines."""
    return TableError(
        f"{_row(row)} holds a cell longer than {limit} characters", code="table.cell_too_long"
    )


def unbalanced_quotes(row: int) -> TableError:
    """A quoted cell that never ends, or goes on after its closing quote."""
    return TableError(f"{_row(row)} has unbalanced quotes", code="table.unbalanced_quotes")


def duplicate_header(first: int, second: int) -> TableError:
    """Two columns of one name."""
    return TableError(
        f"columns {first} and {second} have the same name", code="table.duplicate_header"
    )


def blank_header(column: int) -> TableError:
    """A column without a name."""
    return TableError(f"column {column} has no name", code="table.blank_header")


def long_header(column: int, limit: int) -> TableError:
    """A column name that is prose."""
    return TableError(
        f"the name of column {column} is longer than {limit} characters", code="table.long_header"
    )


def hidden_header(column: int) -> TableError:
    """A column name that reads in another order than it is written in."""
    return TableError(
        f"the name of column {column} holds characters that change the order it reads in",
        code="table.hidden_header",
    )


def header_missing(column: int) -> TableError:
    """The first row holds data where the names should be."""
    return TableError(
        f"the first row is not a header: column {column} looks like data in it",
        code="table.header_missing",
    )


def too_many_columns(limit: int) -> TableError:
    """More columns than are read."""
    return TableError(f"the table has more than {limit} columns", code="table.too_many_columns")


def column_missing(name: str) -> TableError:
    """A column that someone asked for by name is not there; the name is theirs, not the file's."""
    harmless = len(name) <= _SAFE_NAME_LENGTH and name.replace("-", "_").isidentifier()
    which = f"column {name}" if harmless else "a column of the name asked for"
    return TableError(f"the table has no {which}", code="table.column_missing")


def format_unknown(accepted: list[str]) -> TableError:
    """A format was stated that is not on the list."""
    return TableError(
        f"this format is not read here; these are: {', '.join(accepted)}",
        code="table.format_unknown",
        pointer="/format",
    )


def format_mismatch(stated: str | None, found: str) -> TableError:
    """The file is not what its name or the caller says it is."""
    if stated is None:
        detail = f"the content is {found}, which is not read as a table"
    else:
        detail = f"the file is given as {stated}, its content is {found}"
    return TableError(detail, code="table.format_mismatch")


def bad_json(row: int, why: str = "is not a JSON object") -> TableError:
    """A line of JSONL that is not one object."""
    return TableError(f"row {row} {why}", code="table.bad_json")


def too_deep(row: int, limit: int) -> TableError:
    """Objects and lists inside each other past the bound; row 0 is the schema of a file."""
    where = f"row {row}" if row else "the schema"
    return TableError(f"{where} is nested more than {limit} deep", code="table.too_deep")


def too_many_values(row: int, limit: int) -> TableError:
    """Lists that hold, in all columns together, more than is read of one row."""
    return TableError(f"row {row} holds more than {limit} values", code="table.too_many_values")


def nesting_conflict(column: int) -> TableError:
    """Rows cannot be written as nested data: two columns claim one place."""
    return TableError(
        f"column {column} has a value where another column has one; "
        "write the rows as CSV or Parquet",
        code="table.nesting_conflict",
    )


def unsupported_type(column: int, name: str) -> TableError:
    """A Parquet type without a stable text form."""
    return TableError(
        f"column {column} is of type {name}, which has no text form",
        code="table.unsupported_type",
    )


def not_parquet() -> TableError:
    """Starts like Parquet and does not read as Parquet."""
    return TableError(
        "the Parquet file is damaged, encrypted or cut short", code="table.not_parquet"
    )


def not_workbook() -> TableError:
    """A zip that looks like .xlsx and does not read as one."""
    return TableError("the .xlsx file is damaged or protected", code="table.not_workbook")


def not_gzip() -> TableError:
    """Starts like gzip and does not read as gzip to its last byte."""
    return TableError(
        "the gzip file is damaged, cut short or followed by something else", code="table.not_gzip"
    )


def bomb(what: str) -> TableError:
    """Grows out of proportion when it is unpacked."""
    return TableError(f"the file is refused: {what}", code="table.bomb")


def kind_mismatch(column: int, kind: str) -> TableError:
    """A value of a column declared integer, real or boolean is not one."""
    return TableError(
        f"column {column} holds a value that is not {kind}", code="table.kind_mismatch"
    )


def columns_differ() -> TableError:
    """A chunk to be written has other columns than the table, or columns of unequal length."""
    return TableError(
        "a chunk does not have the table's columns in equal length", code="table.columns_differ"
    )
