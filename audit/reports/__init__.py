"""Report bundles: what is in one, writing it, and the page that people read."""
