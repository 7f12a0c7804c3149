"""Random bits that privacy may rest on: an AES-256-CTR keystream keyed by the operating system.

A predictable generator (torch's, NumPy's) lets whoever guesses its state subtract the noise.
AES-CTR is as fast as those, and unpredictable without the key. Integers decide who is sampled, so
inclusion probabilities are exact. Gaussian draws are sums of four independent Box–Muller draws: one
double- precision draw leaves holes in its low bits from which the true value can be recovered
(Mironov, CCS 2012), a sum of several does not in practice (Holohan and Braghin, arXiv 2107.10138).

All draws of an attempt follow from one secret, each step's from a stream of its own (HKDF, RFC
5869). A worker that takes an attempt over draws for a step what the dead one drew: the same coins
and the same noise, so that the step's one result, which was paid for once, comes out again.
"""

import hashlib
import math
import os
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from training.errors import RandomnessError
from training.mechanisms import WHOLE

SECURE: Final = "aes-256-ctr keyed by os.urandom"
SEEDED: Final = "seeded (tests only)"
# Below what torch shares among threads: draws are made beside the step, on a core of their own.
_SLICE: Final = 1 << 14
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
        uniform = (self._words(count, np.uint64) >> np.uint64(11)).astype(np.float64)
        uniform += 1.0
        uniform *= 2.0**-53
        return uniform

    def gaussian(self, count: int) -> npt.NDArray[np.float64]:
        """See `Source`. Each is a sum of four legs, of four different Box–Muller pairs."""
        import torch  # noqa: PLC0415  # its logarithms and cosines are several times NumPy's speed

        pairs = _DRAWS // 2 * count
        radii, angles = torch.from_numpy(self._uniform(2 * pairs)).view(2, pairs)
        cosines = torch.empty(pairs, dtype=torch.float64)
        for radius, angle, cosine in zip(
            *(torch.split(part, _SLICE) for part in (radii, angles, cosines)), strict=True
        ):
            radius.log_().mul_(-2.0 / _DRAWS).sqrt_()  # with the sum's 1 / √n
            torch.cos(angle.mul_(2.0 * math.pi), out=cosine).mul_(radius)
            angle.sin_().mul_(radius)
        sines = angles.view(_DRAWS // 2, count).roll(1, 1)  # each beside cosines of another pair
        total: npt.NDArray[np.float64] = cosines.view_as(sines).sum(0).add_(sines.sum(0)).numpy()
        return total


SECRET_LENGTH: Final = 32  # bytes
_BLOCK: Final = 16  # of AES, and of its counter


class Secret:
    """What all of an attempt's draws follow from. Whoever holds it can subtract the noise.

    It is sealed beside the attempt's checkpoint and destroyed with it; nothing else may keep it.
    """

    def __init__(self, secret: bytes, name: str = SECURE) -> None:
        """Take a secret back from a checkpoint.

        Raises:
            RandomnessError: it has another length.
        """
        if len(secret) != SECRET_LENGTH:
            raise RandomnessError("a run's secret has another length")
        self._secret = secret
        self._process = os.getpid()
        self.name = name

    def stream(self, label: str) -> Source:
        """The stream of one purpose: independent of every other label's, the same each time.

        Raises:
            RandomnessError: the secret was carried across a fork: two processes would train alike.
        """
        if os.getpid() != self._process:
            raise RandomnessError("a run's secret was carried across a fork")
        expand = HKDFExpand(
            SHA256(), SECRET_LENGTH + _BLOCK, f"portcullis/draws/1 {label}".encode()
        )
        made = expand.derive(self._secret)
        return _Keystream(made[:SECRET_LENGTH], made[SECRET_LENGTH:], self.name)

    def branch(self, label: str) -> "Secret":
        """A secret of its own, for work with steps of its own: the same each time.

        Raises:
            RandomnessError: as `stream`.
        """
        if os.getpid() != self._process:
            raise RandomnessError("a run's secret was carried across a fork")
        expand = HKDFExpand(SHA256(), SECRET_LENGTH, f"portcullis/branch/1 {label}".encode())
        return Secret(expand.derive(self._secret), self.name)

    def step(self, number: int) -> Source:
        """The coins and the noise of one training step, counted from 1."""
        return self.stream(f"step {number}")

    def reveal(self) -> bytes:
        """The secret itself, for the sealed checkpoint alone."""
        return self._secret


def fresh_secret() -> Secret:
    """A secret of operating-system entropy: one an attempt."""
    return Secret(os.urandom(SECRET_LENGTH))


def seeded_secret(seed: int, *, allow_seeded: bool) -> Secret:
    """A reproducible secret, for tests only.

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
    return Secret(hashlib.sha256(f"portcullis seeded source {seed}".encode()).digest(), SEEDED)


def secure_source() -> Source:
    """A stream of fresh operating-system entropy, for one release that is never taken up again."""
    return fresh_secret().stream("once")


def seeded_source(seed: int, *, allow_seeded: bool) -> Source:
    """A stream of a seeded secret, for tests only.

    Raises:
        RandomnessError: `randomness.seed_refused`.
    """
    return seeded_secret(seed, allow_seeded=allow_seeded).stream("once")
