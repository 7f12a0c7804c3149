"""Random bits that privacy may rest on: an AES-256-CTR keystream keyed by the operating system.

A predictable generator (torch's, NumPy's) lets whoever guesses its state subtract the noise.
AES-CTR is as fast as those, and unpredictable without the key. Integers decide who is sampled, so
inclusion probabilities are exact. Gaussian draws are sums of four independent Box–Muller draws: one
double- precision draw leaves holes in its low bits from which the true value can be recovered
(Mironov, CCS 2012), a sum of several does not in practice (Holohan and Braghin, arXiv 2107.10138).
"""

import hashlib
import os
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from training.errors import RandomnessError
from training.mechanisms import WHOLE

SECURE: Final = "aes-256-ctr keyed by os.urandom"
SEEDED: Final = "seeded (tests only)"
_DRAWS: Final = 4  # Opacus' secure mode: n = 2, that is 2n draws divided by sqrt(2n)


class Source(Protocol):
    """Where the sampler and the noise get their bits; `name` goes into the card."""

    @property
    def name(self) -> str:
        """Provider, as recorded."""
        ...

    def bernoulli(self, sampling: int, count: int) -> npt.NDArray[np.bool_]:
        """`count` independent bits, each true with probability `sampling` / 2**32."""
        ...

    def gaussian(self, count: int) -> npt.NDArray[np.float64]:
        """`count` independent standard normal draws."""
        ...


class _Keystream:
    """Uniform words from AES-256 in counter mode. Refuses to go on after a fork."""

    def __init__(self, key: bytes, nonce: bytes, name: str) -> None:
        self._stream = Cipher(AES(key), CTR(nonce)).encryptor()
        self._process = os.getpid()
        self.name = name

    def _words(self, count: int, kind: type[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
        if os.getpid() != self._process:
            # Both processes would draw the same bits: correlated samples, cancelling noise.
            raise RandomnessError("a random source was carried across a fork")
        size = count * np.dtype(kind).itemsize
        return np.frombuffer(self._stream.update(bytes(size)), dtype=kind)

    def bernoulli(self, sampling: int, count: int) -> npt.NDArray[np.bool_]:
        """See `Source`."""
        if not 0 <= sampling <= WHOLE:
            raise RandomnessError("a sampling rate must be between 0 and 1")
        if sampling == WHOLE:
            return np.ones(count, dtype=np.bool_)
        return self._words(count, np.uint32) < np.uint32(sampling)

    def _uniform(self, count: int) -> npt.NDArray[np.float64]:
        """53-bit uniforms in (0, 1]: never 0, whose logarithm Box–Muller would take."""
        words = self._words(count, np.uint64) >> np.uint64(11)
        return (words.astype(np.float64) + 1.0) * 2.0**-53

    def _box_muller(self, count: int) -> npt.NDArray[np.float64]:
        pairs = (count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self._uniform(pairs)))
        angle = (2.0 * np.pi) * self._uniform(pairs)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]

    def gaussian(self, count: int) -> npt.NDArray[np.float64]:
        """See `Source`."""
        draws = self._box_muller(_DRAWS * count).reshape(_DRAWS, count)
        total: npt.NDArray[np.float64] = draws.sum(axis=0) / np.sqrt(_DRAWS)
        return total


def secure_source() -> Source:
    """A fresh source keyed by operating-system entropy: one a run, never stored, never shared."""
    return _Keystream(os.urandom(32), os.urandom(16), SECURE)


def seeded_source(seed: int, *, allow_seeded: bool) -> Source:
    """A reproducible source, for tests only.

    Args:
        seed: any integer.
        allow_seeded: the settings' flag; production settings refuse to turn it on.

    Raises:
        RandomnessError: `randomness.seed_refused`, the flag is off.
    """
    if not allow_seeded:
        raise RandomnessError(
            "seeded noise is no protection and is refused outside tests",
            code="randomness.seed_refused",
        )
    key = hashlib.sha256(f"portcullis seeded source {seed}".encode()).digest()
    return _Keystream(key, bytes(16), SEEDED)
