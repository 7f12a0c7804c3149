"""How much a table may ask of this process before it is refused."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of reading one table; each has its own stable code when it is passed.

    Characters and bytes are as the format counts them: text formats count decoded characters.
    """

    line_characters: int = 16 * MIB  # one line, one record or one cell
    chunk_characters: int = 32 * MIB  # a chunk ends early here, so that 10 MB cells do not pile up
    columns: int = 4096
    header_characters: int = 256  # one column name, with the path that leads to it
    depth: int = 32  # nested data: objects and lists inside each other
    record_values: int = 1_000_000  # nested data: values of one record, in all its columns
    paragraph_characters: int = 4000  # free text: one row
    sample_bytes: int = 256 * 1024  # what encoding and delimiter are detected on
    gzip_bytes: int = 64 * 1024 * MIB  # .gz: decompressed
    gzip_ratio: int = 250  # .gz: decompressed / compressed, from 64 MiB of text on
    parquet_bytes: int = 1024 * MIB  # Parquet: pages of all columns held at a time, decompressed
    parquet_footer_bytes: int = 16 * MIB
    parquet_values: int = 64 * MIB  # Parquet: values under lists, in one row group
    workbook_entries: int = 2000  # .xlsx: files in the zip
    workbook_bytes: int = 512 * MIB  # .xlsx: all of them, decompressed
    workbook_part_bytes: int = 128 * MIB  # .xlsx: a part held in memory, such as shared strings
    workbook_ratio: int = 200  # .xlsx: decompressed / compressed, of any one over 1 MiB
    workbook_rows: int = 1_048_576  # Excel's own limit


DEFAULT: Final = Limits()
