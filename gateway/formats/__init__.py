"""How dates are written, where Django's own way would not sort."""
