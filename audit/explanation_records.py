"""The record that an explanation leaves, and what can be checked about it without the model.

Nothing here needs NumPy or shap: an auditor's offline verifier reads records years later. Arrays
are little-endian float64 blobs with their SHA-256; single measured numbers are the shortest decimal
strings that read back as the same double.

Two grades. *consistent*: the record agrees with itself: digests, lengths, the seed, and additivity
within the stated tolerance. That proves arithmetic, not accuracy; that it is the record which was
made with the answer, the digest in the log's entry proves. *reproduced*
(`audit.explanations.reproduce`): the computation was run again and gave the same attributions.
"""

import base64
import binascii
import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from audit.canonical import digest
from audit.errors import AuditError, CanonicalError, Kind

FORMAT: Final = "portcullis/explanation/1"
RESIDUAL_TOLERANCE: Final = 1e-6  # float32 networks: batch sizes move a score by about 1e-7
REPRODUCTION_TOLERANCE: Final = 1e-6
ORIGINS: Final = ("synthetic", "public")  # what a background may be: rows that nobody is
EXACT: Final = "shap.explainers.ExactExplainer"
PERMUTATION: Final = "shap.explainers.PermutationExplainer"


class ExplanationError(AuditError):
    """An explanation was asked of inputs that cannot have one, or a record cannot be read."""

    code = "explanation.invalid"
    kind = Kind.INVALID


class Grade(StrEnum):
    """How far a record was checked, best last."""

    BROKEN = "broken"
    CONSISTENT = "consistent"
    REPRODUCED = "reproduced"


@dataclass(frozen=True)
class Verdict:
    """A grade, the checks that failed, and, if it was run again, the largest difference |Δφ|."""

    grade: Grade
    failed: tuple[str, ...] = ()
    largest_difference: float | None = None


def seed_of(record_id: str, model_digest: str) -> bytes:
    """SHA-256(record id ‖ 0x00 ‖ model digest): nobody chooses an explanation's permutations."""
    return hashlib.sha256(f"{record_id}\x00{model_digest}".encode()).digest()


def number(value: float) -> str:
    """The shortest decimal string that reads back as the same double."""
    return repr(float(value))


def blob(values: Sequence[float]) -> dict[str, str]:
    """Numbers as a little-endian float64 blob and its SHA-256."""
    packed = struct.pack(f"<{len(values)}d", *values)
    return {
        "sha256": hashlib.sha256(packed).hexdigest(),
        "float64le": base64.b64encode(packed).decode(),
    }


def unblob(stored: Mapping[str, str]) -> tuple[float, ...]:
    """Read `blob` back.

    Raises:
        ExplanationError: the blob is malformed or not the one that its digest names.
    """
    try:
        packed = base64.b64decode(stored["float64le"], validate=True)
        named = stored["sha256"]
    except (KeyError, TypeError, binascii.Error):
        raise ExplanationError("an array blob is malformed") from None
    if hashlib.sha256(packed).hexdigest() != named or len(packed) % 8:
        raise ExplanationError("an array blob is not the one that its digest names")
    return struct.unpack(f"<{len(packed) // 8}d", packed)


def verify_record(record: Mapping[str, Any], *, committed: str | None = None) -> Verdict:
    """Check a record against itself, and against what the log committed to.

    0. it is the record whose digest the log's entry holds (`committed`): a forger can make any
       other one consistent, so that without this the rest proves no more than arithmetic;
    1. its format is known, and method, features, background and parameters are such as are written;
    2. the seed follows from record id and model digest;
    3. attributions and standard errors are the blobs that their digests name, one for each feature;
    4. every number is finite;
    5. the stated residual is output - base value - Σ attributions;
    6. it is within the stated tolerance, and the tolerance is not wider than this verifier's.
    """
    if committed is not None and not _is(record, committed):  # 0.
        return Verdict(Grade.BROKEN, ("committed",))
    failed: list[str] = []
    try:
        failed.extend(_strange(record))  # 1.
        if record["seed"] != seed_of(record["record_id"], record["model_digest"]).hex():  # 2.
            failed.append("seed")
        features = record["features"]
        attributions = unblob(record["attributions"])  # 3.
        errors = unblob(record["standard_errors"])
        if not len(features) == len(attributions) == len(errors):
            failed.append("lengths")
        output, base = float(record["output"]), float(record["base_value"])
        stated, tolerance = float(record["residual"]), float(record["tolerance"]["residual"])
        numbers = (*attributions, *errors, output, base, stated, tolerance)
        if not all(math.isfinite(value) for value in numbers):  # 4.
            failed.append("finite")
        if any(error < 0 for error in errors):
            failed.append("standard_errors")
        residual = output - base - math.fsum(attributions)
        if not math.isclose(residual, stated, rel_tol=0.0, abs_tol=1e-12):  # 5.
            failed.append("residual")
        if not (abs(residual) <= tolerance <= RESIDUAL_TOLERANCE):  # 6.
            failed.append("tolerance")
    except ExplanationError:
        failed.append("blob")
    except (KeyError, TypeError, ValueError, AttributeError):
        failed.append("malformed")
    return Verdict(Grade.BROKEN if failed else Grade.CONSISTENT, tuple(failed))


def _is(record: Mapping[str, Any], committed: str) -> bool:
    try:
        return digest(dict(record)) == committed
    except CanonicalError:
        return False


def _strange(record: Mapping[str, Any]) -> Iterator[str]:
    """What is not as `audit.explanations.explain_row` writes it."""
    features, parameters = record["features"], record["parameters"]
    counted = ["background_rows"]
    if record["method"] == PERMUTATION:
        counted.append("permutations")
    if record["format"] != FORMAT:
        yield "format"
    if record["method"] not in {EXACT, PERMUTATION}:
        yield "method"
    if not all(isinstance(name, str) for name in features) or len(set(features)) != len(features):
        yield "features"
    if not record["background_origin"].startswith(ORIGINS):
        yield "background"
    if parameters["link"] != "identity" or not all(
        type(parameters.get(name)) is int and parameters[name] > 0 for name in counted
    ):
        yield "parameters"


def shown(record: Mapping[str, Any], *, top: int = 5, places: int = 3) -> dict[str, Any]:
    """What a caller outside is told: the strongest features, rounded, and the rest as one sum.

    Exact attributions of many rows can reconstruct inputs (arXiv 2407.11359), so the full record
    stays inside; its digest is what goes out beside this.

    Raises:
        ExplanationError: the record's blob is malformed.
    """
    attributions = unblob(record["attributions"])
    ranked = sorted(
        zip(record["features"], attributions, strict=True), key=lambda pair: -abs(pair[1])
    )
    told, rest = ranked[:top], ranked[top:]
    return {
        "method": record["method"],
        "output": f"{float(record['output']):.{places}f}",
        "base_value": f"{float(record['base_value']):.{places}f}",
        "attributions": [
            {"feature": name, "attribution": f"{value:.{places}f}"} for name, value in told
        ],
        "other_features": {
            "count": len(rest),
            "attribution": f"{math.fsum(value for _, value in rest):.{places}f}",
        },
    }
