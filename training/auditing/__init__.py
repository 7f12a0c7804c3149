"""Does the engine keep the privacy that is claimed? Asked of the engine, not of its proof."""
