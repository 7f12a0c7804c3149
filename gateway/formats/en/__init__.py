"""Dates as ISO 8601 writes them, and the same in both languages."""
