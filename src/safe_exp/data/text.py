"""Words and their numbers: cutting a text into words, and the vocabulary that numbers them.

A text is normalised by Unicode NFKC (full-width letters, ligatures and the like become plain ones) and lower-cased. It
is then cut into runs of letters, digits and underscores, and runs of anything else that is not white space:
"It's 5pm!!!" gives it ' s 5pm !!!. Punctuation and emoji stay: word vectors have entries for them, and a text of
nothing else still gives words. A text without any word has length 0, and the network finds no window in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import Whitespace

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # 0 and 1
NORMALISATION = "NFKC, lower case, split at white space and between words and punctuation"
# Characters read at first for each word wanted; an English word takes six. Texts may be hundreds of times longer.
CHARS_PER_WORD = 12

_NORMALIZER = NormalizerSequence([NFKC(), Lowercase()])
_PRE_TOKENIZER = Whitespace()


def split_words(text: str, max_words: int) -> tuple[list[str], bool]:
    """Cut a text into words: return the first `max_words`, and True if the text has more."""
    chars = max(CHARS_PER_WORD * max_words, 256)
    while True:
        # The cut may tear the last word of a piece. With two words to spare, the torn one is never returned.
        words = [word for word, _ in _PRE_TOKENIZER.pre_tokenize_str(_NORMALIZER.normalize_str(text[:chars]))]
        if len(words) >= max_words + 2 or chars >= len(text):
            return words[:max_words], len(words) > max_words
        chars *= 4


def build_tokenizer(words: Iterable[str]) -> Tokenizer:
    """Build a tokenizer that numbers `words` from 2 in their order and cuts texts as `split_words` does.

    [PAD] and [UNK] get the numbers 0 and 1 by their place, not as special tokens. Special tokens are searched for in
    texts: an article that holds the characters [PAD] would get padding in its middle.
    """
    numbers = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _NORMALIZER, _PRE_TOKENIZER
    return tokenizer


def vocabulary_words(tokenizer: Tokenizer) -> list[str]:
    """List the words by their number; 0 is padding, 1 stands for every word outside the vocabulary."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def frequent_words(words: Sequence[str], counts: np.ndarray, min_frequency: int) -> list[str]:
    """Select the words that occur `min_frequency` times or more: the commonest first, equally common ones sorted.

    Args:
        words: W different words.
        counts: occurrences of each word, (W,) int64.
    """
    kept = np.flatnonzero(counts >= min_frequency)
    return [words[i] for i in sorted(kept.tolist(), key=lambda i: (-counts[i], words[i]))]
