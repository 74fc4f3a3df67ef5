"""newmm: Thai words, by PyThaiNLP's dictionary and maximal matching."""

from __future__ import annotations

import os
from functools import partial

from safe_exp.data.scripts import THAI
from safe_exp.data.word_cutters import Cut, WordCutter, word_cutters


def build() -> Cut:
    """Return PyThaiNLP's cutter; its dictionary is loaded with the first run."""
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")  # otherwise it makes a folder in the user's home
    from pythainlp.tokenize import word_tokenize

    cut = partial(word_tokenize, engine="newmm")
    # NFKC takes the vowel am apart. Dictionary and word vectors have it whole.
    return lambda run: cut(run.replace("\u0e4d\u0e32", "\u0e33"))


word_cutters.add(WordCutter("newmm", THAI, build, "pythainlp"))
