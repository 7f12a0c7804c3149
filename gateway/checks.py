"""System checks that refuse an unsafe configuration. Each has a number, a reason and a test."""
