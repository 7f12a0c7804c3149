"""Short reviews of nobody, good or bad: made of templates, the words of the two halves distinct."""

from typing import Final

import numpy as np

_THINGS: Final = (
    "meal", "hotel room", "film", "phone", "train ride", "lecture", "garden", "concert", "jacket",
    "coffee", "museum", "bicycle", "repair", "novel", "delivery", "apartment",
)  # fmt: skip
_FRAMES: Final = (
    "the {thing} was {word}", "we found the {thing} {word}", "what a {word} {thing}",
    "honestly, a {word} {thing}", "my sister called the {thing} {word}",
    "they gave us a {word} {thing} on monday", "the {thing} turned out to be {word}",
    "a {word} {thing}, and that is all there is to say about last week",
)  # fmt: skip
_GOOD: Final = (
    ("wonderful", "lovely", "excellent", "delightful", "great", "charming", "superb", "pleasant"),
    ("fantastic", "amazing", "beautiful", "brilliant", "splendid", "enjoyable"),
)
_BAD: Final = (
    ("terrible", "horrible", "disappointing", "awful", "poor", "annoying", "dreadful", "broken"),
    ("disgusting", "unpleasant", "miserable", "atrocious", "lousy", "unbearable"),
)


def reviews(count: int, *, seed: int = 0, held_out: bool = False) -> dict[str, list[str]]:
    """`count` texts and their labels, as columns; held-out ones judge by words of their own."""
    draw = np.random.default_rng(seed)
    good = draw.random(count) < 1 / 2
    texts = []
    for is_good in good:
        words = (_GOOD if is_good else _BAD)[int(held_out)]
        texts.append(
            str(draw.choice(_FRAMES)).format(thing=draw.choice(_THINGS), word=draw.choice(words))
        )
    return {"review": texts, "label": ["good" if is_good else "bad" for is_good in good]}
