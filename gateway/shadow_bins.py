"""How far a shadow's score may be from the one that was answered, in public bins."""

from typing import Final

EDGES: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 1.0)  # upper ends
