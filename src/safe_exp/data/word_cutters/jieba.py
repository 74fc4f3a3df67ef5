"""jieba: Chinese words, by a dictionary and a hidden Markov model."""

from __future__ import annotations

import warnings

from safe_exp.data.scripts import HAN
from safe_exp.data.word_cutters import Cut, WordCutter, word_cutters


def build() -> Cut:
    """Load the dictionary, which takes half a second."""
    with warnings.catch_warnings():  # of its own code, which is older than Python's newer rules
        warnings.simplefilter("ignore")
        import jieba

    tokenizer = jieba.Tokenizer()
    # jieba itself reads its dictionary from a file in the system's temporary folder, where anybody may have put one.
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer.lcut


word_cutters.add(WordCutter("jieba", HAN, build, "jieba"))
