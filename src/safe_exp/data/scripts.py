"""Scripts that are written without spaces between words: their letters, and the joining of words for display."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Letters, as the inside of a character class. Digits and punctuation are left out, and so are combining marks: both
# belong to any script in a regular expression. Korean and Tibetan are not here: blanks and tsheks separate their words.
HAN = (
    "\u3005\u3007\u3021-\u3029\u3038-\u303b\u3105-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002fffd\U00030000-\U00033fff"
)
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\U0001aff0-\U0001afff\U0001b000-\U0001b16f"
THAI = "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"
LAO = "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd\u0ec0-\u0ec6\u0edc-\u0edf"
KHMER = "\u1780-\u17b3\u17d7\u17dc"
MYANMAR = (
    "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    "\ua9e0-\ua9e4\ua9e6-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a\uaa7e\uaa7f"
)
UNSPACED = HAN + KANA + THAI + LAO + KHMER + MYANMAR

CONTINUES = "##"  # begins a token that stands within a word
_PIECE = re.compile(rf"{CONTINUES}\w")  # no word of a text looks like it: letters and signs are two words

_UNSPACED = re.compile(f"[{UNSPACED}]")
_WITHOUT_BLANKS = re.compile(f"[{UNSPACED}\u3001-\u303f]")  # with the punctuation of Chinese and Japanese


def holds_unspaced(text: str) -> bool:
    """Tell whether a text holds a letter of a script that is written without spaces."""
    return not text.isascii() and _UNSPACED.search(text) is not None


def blank_between(word: str, following: str) -> str:
    """Return what stands between two words of a line that people read: nothing between two Chinese ones, say."""
    if _PIECE.match(following):
        return ""
    bare = not word.isascii() and _WITHOUT_BLANKS.search(word) and _WITHOUT_BLANKS.search(following)
    return "" if bare else " "


def bare_word(word: str) -> str:
    """Return a word as people read it: a piece of a word, such as ##ing, without its mark."""
    return word.removeprefix(CONTINUES) if _PIECE.match(word) else word


def join_words(words: Iterable[str]) -> str:
    """Join words into a line that people read: the, red, boat is "the red boat", and 北, 京, 。, ok is "北京。 ok".

    Pieces of words are joined without a blank: read, ##ing is "reading".
    """
    line, last = "", ""
    for word in words:
        line += (blank_between(last, word) if line else "") + bare_word(word)
        last = word
    return line
