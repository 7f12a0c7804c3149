"""What governance can do: list this folder."""
