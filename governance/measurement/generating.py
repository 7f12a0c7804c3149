"""A labeled set of our own: columns of cells, and sentences, in Chinese, English and both.

Half of the rows are structured: whole columns of `COLUMN` cells that follow each other, as a table
has them, under a header that helps, one that does not, or one that speaks of something else. The
other half is prose. Entities take turns, so that each is measured on about as many values.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import cycle
from string import Formatter
from typing import Final

from governance.measurement import scenes
from governance.measurement.disguises import disguised
from governance.measurement.drawing import Draw
from governance.measurement.fakes import (
    EN,
    FAKES,
    HANT,
    NAMES,
    NOTHINGS,
    PLACES,
    ZH,
    Fake,
    fakes_of,
)
from governance.measurement.labels import Label, LabeledRow, Shape

ROWS: Final = 8000
REGIMES: Final = ("cn", "us")  # what a dataset is searched for that declares no law
SEED: Final = 20_260_101
COLUMN: Final = 25  # cells of one column
MIXED: Final = "mixed"
_DISGUISED: Final = 0.12  # of the values that can be
_NEGATIVE: Final = 0.15  # of the sentences
_UNHELPFUL: Final = ("col_{}", "字段{}", "value{}", "备注{}", "x{}")  # numbered: one column each
_BY_NAME: Final[Mapping[str, Fake]] = {fake.entity: fake for fake in FAKES}
_SCENES: Final = {
    ZH: scenes.CHINESE, HANT: scenes.TRADITIONAL, EN: scenes.ENGLISH, MIXED: scenes.MIXED
}  # fmt: skip
_SHARES: Final = ((ZH, 0.40), (HANT, 0.10), (EN, 0.40), (MIXED, 0.10))


def generate(
    rows: int = ROWS, seed: int = SEED, regimes: Collection[str] = REGIMES
) -> Iterator[LabeledRow]:
    """The labeled set: `rows` rows, the same for the same seed, regimes and libraries."""
    draw = Draw(seed)
    fakes = fakes_of(regimes)
    structured = rows // 2
    made = 0
    for column in _columns(draw, fakes):
        for row in column[: structured - made]:
            made += 1
            yield row
        if made == structured:
            break
    prose = _Prose(draw, fakes)
    for _ in range(rows - structured):
        yield prose.row()


def _columns(draw: Draw, fakes: Sequence[Fake]) -> Iterator[list[LabeledRow]]:
    """Columns without end: every entity in turn, then one that is nobody's, then one of all."""
    named = [(fake, EN if header.isascii() else ZH) for fake in NAMES.values()
             for header in fake.headers]  # fmt: skip
    typed = [*((fake, "") for fake in fakes), *named]
    nothings, turn = cycle(NOTHINGS), 0
    while True:
        for fake, language in typed:
            header = draw.one(fake.headers) if (turn + draw.between(0, 1)) % 2 else ""
            yield _typed(draw, fake, header or draw.one(_UNHELPFUL).format(turn), language)
            turn += 1
            if turn % 4 == 0:
                nothing = next(nothings)
                header = draw.one(nothing.headers)
                tongue = EN if header.isascii() else ZH
                yield [
                    LabeledRow(nothing.make(draw), tongue, Shape.STRUCTURED, header, ())
                    for _ in range(COLUMN)
                ]
            if turn % 9 == 0:
                yield _strays(draw)


def _typed(draw: Draw, fake: Fake, header: str, language: str) -> list[LabeledRow]:
    """Cells that are one entity each."""
    tongue = language or (EN if set(fake.said) == {EN} or header.isascii() else ZH)
    if fake is NAMES[HANT]:
        tongue = HANT
    elif fake is NAMES[EN]:
        tongue = EN
    return [_cell(_value(draw, fake), fake.entity, tongue, header) for _ in range(COLUMN)]


def _strays(draw: Draw) -> list[LabeledRow]:
    """A column of things among which somebody typed what does not belong there."""
    nothing = draw.one(NOTHINGS[:6])
    header = draw.one(nothing.headers)
    tongue = EN if header.isascii() else ZH
    spoken = [fake for fake in FAKES if fake.entity in _PROVEN]
    cells = [
        LabeledRow(nothing.make(draw), tongue, Shape.STRUCTURED, header, ()) for _ in range(COLUMN)
    ]
    for place in (draw.between(0, 11), draw.between(12, COLUMN - 1)):
        fake = draw.one(spoken)
        cells[place] = _cell(_value(draw, fake), fake.entity, tongue, header)
    return cells


# What a stray cell can be told by without a header: a check digit, or a shape of its own.
_PROVEN: Final = frozenset(
    ["CN_ID", "CN_RESIDENCE", "CN_MOBILE", "EMAIL_ADDRESS", "CN_BANK_CARD", "CREDIT_CARD",
     "CN_USCC", "IBAN_CODE", "HKID", "IP_ADDRESS", "CN_PLATE", "URL", "US_SSN"]
)  # fmt: skip


def _cell(text: str, entity: str, language: str, header: str) -> LabeledRow:
    return LabeledRow(text, language, Shape.STRUCTURED, header, (Label(0, len(text), entity),))


def _value(draw: Draw, fake: Fake) -> str:
    value = fake.make(draw)
    return disguised(draw, value) if fake.grouped and draw.chance(_DISGUISED) else value


class _Prose:
    """Sentences, with the entities of a language in turn."""

    def __init__(self, draw: Draw, fakes: Sequence[Fake]) -> None:
        self._draw = draw
        self._facts = {
            language: cycle([fake for fake in fakes if source in fake.said])
            for language, source in ((ZH, ZH), (EN, EN), (HANT, HANT), (MIXED, ZH))
        }

    def row(self) -> LabeledRow:
        """The next sentence."""
        draw = self._draw
        language = draw.rng.choices([name for name, _ in _SHARES], [share for _, share in _SHARES])[
            0
        ]
        scene = "negative"
        if not draw.chance(_NEGATIVE):
            scene = draw.one([name for name in _SCENES[language] if name != "negative"])
        template = draw.one(_SCENES[language][scene])
        text = ""
        labels: list[Label] = []
        for before, field, variant, _ in Formatter().parse(template):
            text += before
            if field is None:
                continue
            word, value, entity = self._filled(field, variant or "", language)
            text += word
            if entity:
                labels.append(Label(len(text), len(text) + len(value), entity))
            text += value
        return LabeledRow(text, language, Shape.PROSE, "", tuple(labels))

    def _filled(self, field: str, variant: str, language: str) -> tuple[str, str, str]:
        """The word before the value, the value, and its entity or nothing."""
        draw = self._draw
        spoken = ZH if language == MIXED else language
        if field.startswith("="):
            return "", field[1:], variant
        if field == "EN":  # {EN:PERSON}: of that language, whatever the sentence's
            return "", NAMES[EN].make(draw), variant
        if field == "nothing":
            nothing = draw.one([row for row in NOTHINGS if spoken in row.said])
            return nothing.said[spoken] + _joint(draw, spoken), nothing.make(draw), ""
        if field == "fact":
            fake = next(self._facts[language])
            return fake.said[spoken] + _joint(draw, spoken), _value(draw, fake), fake.entity
        fake = {"PERSON": NAMES[spoken], "LOCATION": PLACES[spoken]}.get(field) or _BY_NAME[field]
        return "", fake.make(draw), fake.entity


def _joint(draw: Draw, language: str) -> str:
    """What stands between a word and its value."""
    return draw.one(["", "：", "是", "为"] if language == ZH else
                    ["：", "是", ""] if language == HANT else [" ", ": ", " is "])  # fmt: skip
