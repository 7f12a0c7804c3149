"""What `tests/benchmarks/ingest.py` is made of: the table, the sides, the recall, the growth."""
