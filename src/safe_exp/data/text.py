"""Words and their numbers: cutting a text into words, and the vocabulary that numbers them.

A text is normalised by Unicode NFKC (full-width letters, ligatures and the like become plain ones) and lower-cased. It
is then cut into runs of letters, digits and underscores, and runs of anything else that is not white space:
"It's 5pm!!!" gives it ' s 5pm !!!. Punctuation and emoji stay: word vectors have entries for them, and a text of
nothing else still gives words. A text without any word has length 0, and the network finds no window in it.

Scripts without spaces between words are cut further (`data.words`): by character, where a letter keeps its combining
marks, or by a word cutter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase, Normalizer, Replace
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import PreTokenizer, Split, Whitespace
from tokenizers.pre_tokenizers import Sequence as PreTokenizerSequence

from safe_exp.data.scripts import UNSPACED, holds_unspaced
from safe_exp.data.word_cutters import AUTO, SPACES, Cut, WordCutter, word_cutters

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # 0 and 1
NORMALISATION = "NFKC, lower case, split at white space and between words and punctuation"
# Characters read at first for each word wanted; an English word takes six. Texts may be hundreds of times longer.
CHARS_PER_WORD = 12
MAX_RUN = 1000  # letters that a word cutter is given at a time: the time of some grows faster than the run
ADDRESS_WORD = "url"  # stands for an address with data.keep_urls=false

_MARK = r"[\p{M}\u200c\u200d]"  # also the joiners, which are invisible
# A letter with its marks. A letter below another one (Khmer, Myanmar) and the vowel am, which NFKC takes apart (Thai,
# Lao), are no letters of their own.
_LETTER = (
    f"[{UNSPACED}]{_MARK}*"
    rf"(?:(?:(?<=[\u17d2\u1039])[{UNSPACED}]|(?<=[\u0e4d\u0ecd])[\u0e32\u0eb2]){_MARK}*)*"
)
# An address is of ASCII, as Chinese may follow it at once; signs behind it belong to the sentence.
_ADDRESS = r"(?i)(?:https?://|(?<![0-9a-z])www\.)[!-~]*[0-9a-z/_=-]"

_NORMALIZER = NormalizerSequence([NFKC(), Lowercase()])
_ADDRESS_NORMALIZER = NormalizerSequence([Replace(Regex(_ADDRESS), f" {ADDRESS_WORD} "), NFKC(), Lowercase()])
_WHITESPACE = Whitespace()
_BY_LETTER = PreTokenizerSequence([Whitespace(), Split(Regex(_LETTER), "isolated")])


class Cutting(NamedTuple):
    """Settings by which texts are cut into words.

    The defaults are the cutting of all data that were stored before there was a choice. They are not recorded, so that
    such data keep their keys and fingerprints; `data.words` itself has another default.
    """

    words: str = SPACES  # auto, spaces or the name of a word cutter
    keep_urls: bool = True

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Cutting:
        """Read the cutting from the settings that were stored with data or with a run."""
        return cls(**{name: settings[name] for name in cls._fields if name in settings})

    def settings(self) -> dict[str, Any]:
        """Return what is recorded of the cutting."""
        return {name: value for name, value in self._asdict().items() if value != getattr(AT_SPACES, name)}

    def of_captions(self) -> Cutting:
        """Return the cutting of the sentences about images, in which addresses always stay."""
        return self._replace(keep_urls=True)


AT_SPACES = Cutting()


def without_needless_auto(settings: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Leave `words: auto` out of settings where texts hold no script without spaces.

    They were then cut exactly as by `spaces`, and are the same data.

    Args:
        words: all words of the texts.
    """
    needless = settings.get("words") == AUTO and not holds_unspaced("\n".join(words))
    return {name: value for name, value in settings.items() if not (needless and name == "words")}


def split_words(text: str, max_words: int, cutting: Cutting = AT_SPACES) -> tuple[list[str], bool]:
    """Cut a text into words: return the first `max_words`, and True if the text has more."""
    normalizer = _choose_normalizer(cutting)
    chars = max(CHARS_PER_WORD * max_words, 256)
    while True:
        normal, whole = normalizer.normalize_str(text[:chars]), chars >= len(text)
        if cutting.words == SPACES or not holds_unspaced(normal):
            words = _split(_WHITESPACE, normal)
        elif word_cutters[cutting.words].build is None:
            words = _split(_BY_LETTER, normal)
        else:
            words = list(islice(_cut_runs(normal, cutting.words, whole), max_words + 2))
        # The cut may tear the last word of a piece, or two of an address (http :/). With two words to spare, the torn
        # ones are never returned.
        if len(words) >= max_words + 2 or whole:
            return words[:max_words], len(words) > max_words
        chars *= 4


def _split(pre_tokenizer: PreTokenizer, normal: str) -> list[str]:
    return [word for word, _ in pre_tokenizer.pre_tokenize_str(normal)]


def _cut_runs(normal: str, name: str, whole: bool) -> Iterator[str]:
    """Cut a normalised text by the word cutter of that name, and the letters that are not its own one by one.

    Args:
        whole: the text does not end here because it was cut. Otherwise the last two runs may be torn, and are left out.
    """
    cutter = word_cutters[name]
    cut, by_run = _load_cutter(cutter)
    own = re.compile(f"[{cutter.letters}]")
    runs = _split(by_run, normal)
    for run in runs if whole else runs[:-2]:
        if own.match(run):
            for start in range(0, len(run), MAX_RUN):
                yield from filter(str.strip, cut(run[start : start + MAX_RUN]))
        else:
            yield from _split(_BY_LETTER, run)


@lru_cache(maxsize=1)  # a process cuts in one way
def _load_cutter(cutter: WordCutter) -> tuple[Cut, PreTokenizer]:
    """Load a word cutter, and build the pre-tokenizer that finds the runs of its letters.

    Raises:
        UserError: its package is not installed.
    """
    cutter.require_package()
    run = f"[{cutter.letters}](?:[{cutter.letters}]|{_MARK})*"
    return cutter.build(), PreTokenizerSequence([Whitespace(), Split(Regex(run), "isolated")])


def _choose_normalizer(cutting: Cutting) -> Normalizer:
    return _NORMALIZER if cutting.keep_urls else _ADDRESS_NORMALIZER


def build_tokenizer(words: Iterable[str], cutting: Cutting = AT_SPACES) -> Tokenizer:
    """Build a tokenizer that numbers `words` from 2 in their order and cuts texts as `split_words` does.

    A word cutter cannot be written into it. In its place the tokenizer cuts by letter, and only `split_words` gives the
    words of its vocabulary.

    [PAD] and [UNK] get the numbers 0 and 1 by their place, not as special tokens. Special tokens are searched for in
    texts: an article that holds the characters [PAD] would get padding in its middle.
    """
    numbers = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.normalizer = _choose_normalizer(cutting)
    tokenizer.pre_tokenizer = _WHITESPACE if cutting.words == SPACES else _BY_LETTER
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
