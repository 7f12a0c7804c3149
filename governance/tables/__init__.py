"""Tables in and out: CSV, JSONL, Parquet and .xlsx in chunks, over a seekable file that is no path.

`reading.open_table` is the one door in, `writing` holds the doors out. Nothing here touches a
database, a temporary file or the whole of a table.
"""
