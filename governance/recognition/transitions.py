"""spaCy's named entity recognizer of the shipped English model, computed in batches of numpy.

spaCy takes its transitions state by state and asks for the interpreter's lock at each of them,
which costs as much as the network. Here all texts of a batch take their next transition together;
what a word is embedded to is kept, as it depends on the word alone. The network, its weights and
the rules of which transition may follow are spaCy's: the same entities come out, which the tests
show on a thousand texts, and a longer run on 20,000.

Sources: Lample et al., arXiv:1603.01360 (transitions); spaCy 3.8, `MultiHashEmbed.v2`,
`MaxoutWindowEncoder.v2`, `TransitionBasedParser.v2`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]
Table = npt.NDArray[np.uint64]  # (tokens, attributes)
Entity = tuple[int, int, str]  # first and last character, exclusive, and the model's label

LONGEST: Final = 20_000  # characters of a piece; longer texts are cut between words
TOKENS: Final = 8_192  # of a batch: bounds memory, and larger ones are no faster
WORDS: Final = 50_000  # embedded words that are kept, 384 bytes each
_PAD: Final = 4  # rows between two texts: what four layers of windows of one reach over
_ATTRIBUTES: Final = ["ORTH", "NORM", "PREFIX", "SUFFIX", "SHAPE", "IS_SPACE", "IDX", "LENGTH"]
_ORTH, _NORM, _SPACE, _AT, _LENGTH = 0, 1, 5, 6, 7
_EPSILON: Final = np.float32(1e-8)
_NEVER: Final = np.float32(-np.inf)


class _Tokens(NamedTuple):
    """A piece of text number `text` that begins at `start`, as a table of its tokens."""

    text: int
    start: int
    table: Table


class Reader:
    """The recognizer's weights, and the words that were embedded so far."""

    def __init__(self, pipeline: Any) -> None:
        """Take the weights of a pipeline's `ner`; see `readable`."""
        self._pipeline = pipeline
        self._vectors = pipeline.vocab.vectors
        recognizer = pipeline.get_pipe("ner")
        model = recognizer.model
        chain = model.get_ref("tok2vec")
        self._hashes = [node for node in chain.walk() if node.name == "hashembed"]
        (self._static,) = [
            node.get_param("W") for node in chain.walk() if node.name == "static_vectors"
        ]
        dense = [node for node in chain.walk() if node.name == "maxout"]
        norms = [node for node in chain.walk() if node.name == "layernorm"]
        self._layers = [_Maxout(*pair) for pair in zip(dense, norms, strict=True)]
        (last,) = [node for node in chain.walk() if node.name == "linear"]
        self._narrow: tuple[Floats, Floats] = (last.get_param("W"), last.get_param("b"))
        lower, upper = model.get_ref("lower"), model.get_ref("upper")
        # From (features, out, pieces, in) to blocks of pieces, whose best is then a comparison.
        self._features: Floats = np.ascontiguousarray(
            lower.get_param("W").transpose(0, 2, 1, 3).reshape(-1, lower.get_dim("nI"))
        )
        self._padding: Floats = (
            lower.get_param("pad")[0].transpose(0, 2, 1).reshape(lower.get_dim("nF"), -1)
        )
        self._bias: Floats = lower.get_param("b").T.reshape(-1)
        self._pieces: int = lower.get_dim("nP")
        self._scores: tuple[Floats, Floats] = (upper.get_param("W"), upper.get_param("b"))
        moves = recognizer.moves
        self._moves = _Moves([moves.get_class_name(i) for i in range(moves.n_moves)])
        self._rows: dict[tuple[int, int], int] = {}
        self._embedded: Floats = np.zeros((0, self._static.shape[0]), np.float32)

    def entities(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text, in order; not to be called by two threads at once."""
        found: list[list[Entity]] = [[] for _ in texts]
        pieces = [
            (number, start, text[start:end])
            for number, text in enumerate(texts)
            for start, end in _cuts(text)
        ]
        batch: list[_Tokens] = []
        size = 0
        with self._pipeline.memory_zone():  # else the vocabulary keeps every word it ever saw
            for number, start, piece in sorted(pieces, key=lambda piece: len(piece[2])):
                table = self._pipeline.make_doc(piece).to_array(_ATTRIBUTES)
                if not len(table):
                    continue
                if batch and size + len(table) > TOKENS:
                    self._read(batch, found)
                    batch, size = [], 0
                batch.append(_Tokens(number, start, table))
                size += len(table)
            if batch:
                self._read(batch, found)
        return [sorted(entities) for entities in found]

    def _read(self, batch: Sequence["_Tokens"], found: list[list[Entity]]) -> None:
        tables = [each.table for each in batch]
        lengths = np.array([len(table) for table in tables])
        features = self._encoded(tables, lengths)
        paths = self._decoded(features, tables, lengths)
        for each, path in zip(batch, paths, strict=True):
            for first, last, label in self._moves.spans(path):
                start = each.start + int(each.table[first, _AT])
                end = each.start + int(each.table[last, _AT] + each.table[last, _LENGTH])
                found[each.text].append((start, end, label))

    def _encoded(self, tokens: Sequence[Table], lengths: Ints) -> Floats:
        """What each token adds to a state, per feature: (tokens + 1, features, width).

        Row 0 is what a state without the token has.
        """
        total = int(lengths.sum())
        starts = np.cumsum(lengths + _PAD) - lengths
        within = np.concatenate(
            [np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)]
        )
        words = self._embed(np.concatenate(tokens))
        rows = np.zeros((total + _PAD * (len(tokens) + 1), words.shape[1]), np.float32)
        rows[within] = words
        for layer in self._layers[1:]:
            rows += layer(_windows(rows))
        weights, bias = self._narrow
        narrow = rows[within] @ weights.T + bias
        features = np.empty((total + 1, *self._padding.shape), np.float32)
        features[0] = self._padding
        features[1:] = (narrow @ self._features.T).reshape(total, *self._padding.shape)
        return features

    def _embed(self, tokens: Table) -> Floats:
        """The embedding of each token: (tokens, width)."""
        keys = list(zip(tokens[:, _ORTH].tolist(), tokens[:, _NORM].tolist(), strict=True))
        if len(self._rows) > WORDS:
            self._rows, self._embedded = {}, self._embedded[:0]
        new: dict[tuple[int, int], int] = {}
        for place, key in enumerate(keys):
            if key not in self._rows:
                new.setdefault(key, place)
        if new:
            made = self._embed_words(tokens[list(new.values())])
            self._rows |= {key: len(self._embedded) + i for i, key in enumerate(new)}
            self._embedded = np.concatenate([self._embedded, made])
        return self._embedded[[self._rows[key] for key in keys]]

    def _embed_words(self, tokens: Table) -> Floats:
        parts = [
            layer.predict(np.ascontiguousarray(tokens[:, _NORM + layer.attrs["column"]]))
            for layer in self._hashes
        ]
        known = self._vectors.find(keys=tokens[:, _ORTH])
        static = self._vectors.data[known] @ self._static.T
        static[known < 0] = 0
        return self._layers[0](np.concatenate([*parts, static], axis=1))

    def _decoded(self, features: Floats, tokens: Sequence[Table], lengths: Ints) -> list[list[int]]:
        """The best transition of each token of each text, taken greedily.

        Texts come shortest first, so that those that go on are always the last ones.
        """
        order = np.argsort(lengths, kind="stable")
        remaining = lengths[order]
        firsts = (np.cumsum(lengths) - lengths + 1)[order]  # rows of `features`
        spaces = np.concatenate([each[:, _SPACE] for each in tokens]).astype(bool)
        opened = np.zeros(len(order), np.intp)  # row of the first token of the open entity
        inside = np.full(len(order), -1, np.intp)  # its label
        chosen = np.zeros((len(order), int(remaining.max())), np.intp)
        weights, bias = self._scores
        for step in range(chosen.shape[1]):
            going = int(np.searchsorted(remaining, step, side="right"))
            here = firsts[going:] + step
            open_now = inside[going:] >= 0
            state = features[here, 0] + features[np.where(open_now, opened[going:], 0), 1]
            state += features[np.where(open_now, here - 1, 0), 2]
            hidden = _best_piece(state, self._bias, self._pieces)
            scores = hidden @ weights.T + bias
            last = remaining[going:] - step < 2  # noqa: PLR2004 - nothing follows
            best = self._moves.best(scores, inside[going:], last, spaces[here - 1])
            chosen[going:, step] = best
            begins = self._moves.begins[best]
            opened[going:] = np.where(begins, here, opened[going:])
            inside[going:] = self._moves.after[best]
        paths: list[list[int]] = [[] for _ in order]
        for place, number in enumerate(order.tolist()):
            paths[number] = chosen[place, : int(remaining[place])].tolist()
        return paths


class _Maxout:
    """A dense layer of several pieces, the best of them, normalized."""

    def __init__(self, dense: Any, norm: Any) -> None:
        weights = dense.get_param("W").transpose(1, 0, 2)  # (pieces, out, in)
        self._pieces: int = weights.shape[0]
        self._weights: Floats = np.ascontiguousarray(weights.reshape(-1, weights.shape[2]).T)
        self._bias: Floats = dense.get_param("b").T.reshape(-1)
        self._gain: Floats = norm.get_param("G")
        self._shift: Floats = norm.get_param("b")

    def __call__(self, rows: Floats) -> Floats:
        best = _best_piece(rows @ self._weights, self._bias, self._pieces)
        best -= best.mean(axis=1, keepdims=True)
        spread = np.einsum("ij,ij->i", best, best)[:, None] / np.float32(best.shape[1])
        best *= (spread + _EPSILON) ** np.float32(-0.5)
        best *= self._gain
        best += self._shift
        return best


def _best_piece(pieces: Floats, bias: Floats, count: int) -> Floats:
    """The largest of `count` blocks of columns, each with its bias."""
    pieces += bias
    blocks = np.split(pieces, count, axis=1)
    best = blocks[0].copy()
    for block in blocks[1:]:
        np.maximum(best, block, out=best)
    return best


class _Moves:
    """The transitions: which may follow which, and the spans that a path of them is."""

    def __init__(self, names: Sequence[str]) -> None:
        self._kinds = [name[0] for name in names]
        labels = [name[2:] for name in names]
        self._labels = list(dict.fromkeys(label for label in labels if label))
        numbers = [self._labels.index(label) if label else -1 for label in labels]
        kinds = np.array(self._kinds)
        self.begins = kinds == "B"
        self.after = np.where(np.isin(kinds, ["B", "I"]), numbers, -1)
        count = len(self._labels)
        # Penalties by the open label (the last row: none), the last token or not, a space or not.
        self._barred = np.full((count + 1, 2, 2, len(names)), _NEVER, np.float32)
        for move, (kind, number) in enumerate(zip(self._kinds, numbers, strict=True)):
            match kind:
                case "B":
                    self._barred[count, 0, 0, move] = 0
                case "U" if number >= 0:
                    self._barred[count, :, 0, move] = 0
                case "O":
                    self._barred[count, :, :, move] = 0
                case "I":
                    self._barred[number, 0, :, move] = 0
                case "L":
                    self._barred[number, :, :, move] = 0
                case _:
                    pass
        self._names = labels

    def best(
        self,
        scores: Floats,
        inside: Ints,
        last: npt.NDArray[np.bool_],
        spaces: npt.NDArray[np.bool_],
    ) -> Ints:
        """The best move that may follow, of each state."""
        allowed = scores + self._barred[inside, last.astype(np.intp), spaces.astype(np.intp)]
        chosen: Ints = allowed.argmax(axis=1)
        return chosen

    def spans(self, path: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """First and last token and label of each entity of a path."""
        first = 0
        for place, move in enumerate(path):
            kind = self._kinds[move]
            if kind in "BU":
                first = place
            if kind in "LU":
                yield first, place, self._names[move]


def _cuts(text: str) -> Iterator[tuple[int, int]]:
    """Where to cut a text into pieces of bounded length, at spaces where there are any."""
    start = 0
    while len(text) - start > LONGEST:
        space = text.rfind(" ", start + LONGEST // 2, start + LONGEST)
        end = start + LONGEST if space < 0 else space
        yield start, end
        start = end
    yield start, len(text)


def _windows(rows: Floats) -> Floats:
    """Each row between its neighbors: (rows, 3 * width)."""
    width = rows.shape[1]
    out = np.zeros((len(rows), 3 * width), np.float32)
    out[1:, :width] = rows[:-1]
    out[:, width : 2 * width] = rows
    out[:-1, 2 * width :] = rows[1:]
    return out


def readable(pipeline: Any) -> bool:
    """Whether a pipeline's `ner` is of the architecture that `Reader` computes."""
    if pipeline.pipe_names != ["ner"]:
        return False
    recognizer = pipeline.get_pipe("ner")
    embed = {"embed": "spacy.MultiHashEmbed.v2", "encode": "spacy.MaxoutWindowEncoder.v2"}
    model = pipeline.config["components"]["ner"].get("model", {})
    inner = model.get("tok2vec", {})
    return bool(
        model.get("@architectures") == "spacy.TransitionBasedParser.v2"
        and model.get("use_upper")
        and model.get("state_type") == "ner"
        and not model.get("extra_state_tokens")
        and recognizer.cfg.get("beam_width", 1) == 1
        and not recognizer.model.attrs.get("unseen_classes")
        and all(inner.get(part, {}).get("@architectures") == name for part, name in embed.items())
        and inner.get("embed", {}).get("attrs") == ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
        and inner.get("embed", {}).get("include_static_vectors")
        and inner.get("encode", {}).get("window_size") == 1
        and inner.get("encode", {}).get("depth") == _PAD
        and getattr(pipeline.vocab.vectors, "mode", None) == "default"
    )
