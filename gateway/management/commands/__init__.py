"""One file a command: it parses, calls one action and prints."""
