"""What training can do: list this folder."""
