"""Command-line doors of the evidence package."""
