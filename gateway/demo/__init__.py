"""What `make demo` runs on: a public table, joined with people who do not exist."""
