"""Stand-alone proofs that one entry is in the log (C2SP tlog-proof, `.tlog-proof` files).

    c2sp.org/tlog-proof@v1
    index 73894
    <base64 hash, one a line, from the leaf's sibling up>

    <the checkpoint, verbatim>

The optional `extra` line holds data that nobody signed; ours write none, and reading keeps it.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from audit.checkpoint import MAX_NOTE, TreeHead, VerifierKey, unbase64, verify_checkpoint
from audit.errors import ProofError
from audit.merkle import HASH_SIZE, verify_inclusion

HEADER: Final = "c2sp.org/tlog-proof@v1"
_MAX_HASHES: Final = 63  # a tree of 2**63 leaves
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """One proof file: `str()` writes it.

    Attributes:
        index: the entry's zero-based place in the log.
        hashes: the inclusion proof, 32 bytes each, from the leaf's sibling up.
        checkpoint: the signed note of the tree that the proof leads to, verbatim.
        extra: unauthenticated data of the application.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a proof file. Nothing in it is to be trusted before `verify`.

        Raises:
            ProofError: it is malformed.
        """
        if len(text) > 2 * MAX_NOTE:
            raise ProofError("a proof is too large")
        head, empty, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not empty or lines.pop(0) != HEADER:
            raise ProofError("a proof is malformed")
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = unbase64(lines.pop(0).removeprefix("extra "))
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        hashes = tuple(unbase64(line) for line in lines)
        if index is None or len(hashes) > _MAX_HASHES or {len(h) for h in hashes} - {HASH_SIZE}:
            raise ProofError("a proof is malformed")
        return cls(int(index[1]), hashes, checkpoint, extra)

    def __str__(self) -> str:
        lines = [HEADER]
        if self.extra:
            lines.append("extra " + base64.b64encode(self.extra).decode())
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(node).decode() for node in self.hashes]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    def verify(self, leaf: bytes, origin: str, keys: Sequence[VerifierKey]) -> TreeHead:
        """Check the checkpoint's signature, then that `leaf` (a leaf hash) stands in its tree.

        Returns:
            The tree head that the proof leads to.

        Raises:
            ProofError: either does not hold.
        """
        head = verify_checkpoint(self.checkpoint, origin, keys)
        verify_inclusion(leaf, self.index, head.size, self.hashes, head.root)
        return head
