"""Tables in and out, in chunks, over a seekable file that is no path.

`reading.open_table` is the one door in: CSV and its kin, JSON Lines, Parquet, .xlsx, free text, and
gzip around any text format. `writing` holds the doors out. Nothing here touches a database, a
temporary file or the whole of a table; what a file can have wrong with it is in `faults`, how much
it may ask for in `limits`.

Nested data become columns by path (`nesting`), and JSON Lines written from such columns are nested
again (`rebuilding`). What does not survive the way through columns:

- outside lists, whether a value was null or missing: both come out as null, and an object whose
  values are all null as null. Lists and everything under them keep the difference;
- the order of an object's members, where it was not that of the columns;
- which rows had a number and which a text, in a column outside lists that holds both;
- blanks around a member's name and characters in it that cannot be seen;
- of Parquet, a null struct in a list, which comes out as a struct of nulls.
"""
