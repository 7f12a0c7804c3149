"""Data quality: mergeable sketches of a table, contracts, drift between versions, normalization."""
