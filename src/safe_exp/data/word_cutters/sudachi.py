"""sudachi: Japanese words, by SudachiPy and its core dictionary."""

from __future__ import annotations

from safe_exp.data.scripts import HAN, KANA
from safe_exp.data.word_cutters import Cut, WordCutter, word_cutters


def build() -> Cut:
    """Load the dictionary; words are cut into their shortest units, which a small vocabulary knows best."""
    from sudachipy import Dictionary, SplitMode

    tokenizer = Dictionary(dict="core").tokenizer(mode=SplitMode.A)
    return lambda run: [word.surface() for word in tokenizer.tokenize(run)]


word_cutters.add(WordCutter("sudachi", HAN + KANA, build, "sudachipy"))
