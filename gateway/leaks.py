"""API keys where none may be: in a repository, in a log.

    python -m gateway.leaks FILE…      `-` reads standard input

The published pattern finds what looks like a key, and the checksum tells which of it are keys, so
that nothing is found by accident. Prints where, and the key's id, never the key. Exits with 1 if
it found one.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from gateway.key_format import keys_in


def main(names: Iterable[str]) -> int:
    """Look through files."""
    leaked = 0
    for name in names:
        if name != "-" and not Path(name).is_file():
            continue  # gone since it was listed
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        for key in keys_in(data.decode("utf-8", "replace")):
            sys.stdout.write(f"{name}: an API key, {key}\n")
            leaked += 1
    return 1 if leaked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
