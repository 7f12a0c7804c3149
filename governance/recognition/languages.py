"""Which language a text is in: by its script, and by the commonest words of Latin scripts.

Function words make up a third to a half of running text in each of these languages, so a dozen of
them tell a sentence; a lone name is told from no language and counts as English.
"""

import re
from collections import Counter
from typing import Final

LATIN: Final = ("en", "de", "es", "fr", "it", "nl", "pt", "pl", "sv", "fi")
HAN_SHARE: Final = 0.3  # of the letters, from which on a text counts as Chinese
HAN: Final = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
_KANA: Final = re.compile(r"[\u3040-\u30ff]")
_HANGUL: Final = re.compile(r"[\uac00-\ud7af]")
_THAI: Final = re.compile(r"[\u0e00-\u0e7f]")
_WORD: Final = re.compile(r"[^\W\d_]+")
_LETTER: Final = re.compile(r"[A-Za-z]")
_COMMON: Final = {
    "en": "the of and to in is was for that with on by at from has have his her not are be as it",
    "de": "der die das und ist nicht ein eine mit von für auf den dem zu im am hat wurde sich bei",
    "es": "el la los las de que y en un una por con para del se su no es al fue como está",
    "fr": "le la les des et est un une dans pour que qui par sur au aux du avec pas il elle été",
    "it": "il lo la gli di che è un una per con del della non si nel alla sono è stato ha",
    "nl": "de het een en van is op te dat voor met zijn niet aan bij was heeft naar ook",
    "pt": "o os as de que e em um uma por com para do da no na não foi ao seu está",
    "pl": "i w z na do się nie jest że o po dla jego od przez przy został był pan pani",
    "sv": "och att det en ett är på av som för med till den inte har om från han hon",
    "fi": "ja on ei se että oli hän ovat kun myös joka tai mutta olla hänen kanssa",
}
_LANGUAGES_OF: Final[dict[str, tuple[str, ...]]] = {}
for _language, _words in _COMMON.items():
    for _word in dict.fromkeys(_words.split()):
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _language)


def language_of(text: str) -> str:
    """`zh` when a good share of the letters are Han characters, else `en`."""
    han = len(HAN.findall(text))
    return "zh" if han and han >= HAN_SHARE * (han + len(_LETTER.findall(text)) / 5) else "en"


def detect(text: str) -> str:
    """The language of a text block: zh, ja, ko, th, or one of `LATIN`; English where none is told.

    A text in two languages is in that of most of its function words.
    """
    if _KANA.search(text):
        return "ja"
    if _HANGUL.search(text):
        return "ko"
    if _THAI.search(text):
        return "th"
    if language_of(text) == "zh":
        return "zh"
    votes: Counter[str] = Counter()
    for word in _WORD.findall(text[:2_000].lower()):
        languages = _LANGUAGES_OF.get(word, ())
        for language in languages:
            votes[language] += 12 // len(languages)  # a word that two languages share says less
    if not votes:
        return "en"
    best, most = votes.most_common(1)[0]
    return best if most > votes["en"] else "en"
