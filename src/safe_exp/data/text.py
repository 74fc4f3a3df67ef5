"""Words and their numbers: how a text is cut into words, and the vocabulary that numbers them.

A text is normalised by Unicode NFKC (full-width letters, ligatures and the like become plain ones) and lower-cased, and
cut into runs of letters, digits and underscores, and runs of anything else that is not white space: "It's 5pm!!!" gives
it ' s 5pm !!!. Punctuation and emoji stay, since word vectors have entries for them and a text of nothing else still
gives words. A text without any word has length 0, which the network reads as no window at all.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import Whitespace

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # 0 and 1
NORMALISATION = "NFKC, lower case, split at white space and between words and punctuation"
# Characters looked at for each word wanted, at first; English has six. Texts are hundreds of times longer than the cut.
CHARS_PER_WORD = 12

_NORMALIZER = NormalizerSequence([NFKC(), Lowercase()])
_PRE_TOKENIZER = Whitespace()


def split_words(text: str, max_words: int) -> tuple[list[str], bool]:
    """The first `max_words` words of a text, and whether there were more."""
    chars = max(CHARS_PER_WORD * max_words, 256)
    while True:
        # The last word of a piece may be torn by the cut; two more than wanted make sure that it is not used.
        words = [word for word, _ in _PRE_TOKENIZER.pre_tokenize_str(_NORMALIZER.normalize_str(text[:chars]))]
        if len(words) >= max_words + 2 or chars >= len(text):
            return words[:max_words], len(words) > max_words
        chars *= 4


def build_tokenizer(words: Iterable[str]) -> Tokenizer:
    """A tokenizer that numbers `words` from 2 in their order; it cuts as `split_words` does.

    [PAD] and [UNK] get their numbers by their place and not as special tokens: those would be searched for inside the
    texts, and an article that holds the characters [PAD] would get padding in its middle.
    """
    numbers = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _NORMALIZER, _PRE_TOKENIZER
    return tokenizer


def vocabulary_words(tokenizer: Tokenizer) -> list[str]:
    """The words by their number; 0 is padding, 1 stands for every word that is not in the list."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def frequent_words(words: list[str], counts: np.ndarray, min_frequency: int) -> list[str]:
    """The words that occur `min_frequency` times or more, the commonest first, equally common ones by the alphabet.

    Args:
        words: W words.
        counts: how often each occurs, (W,).
    """
    kept = np.flatnonzero(counts >= min_frequency)
    return [words[i] for i in sorted(kept, key=lambda i: (-counts[i], words[i]))]
