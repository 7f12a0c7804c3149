"""What the gateway can do: list this folder."""
