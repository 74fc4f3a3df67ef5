"""Words and their numbers: the tokenizer, its vocabulary, and padded integer tensors.

A text is normalised by Unicode NFKC (full-width letters, ligatures and the like become plain ones) and lower-cased, and
cut into runs of letters, digits and underscores, and runs of anything else that is not white space: "It's 5pm!!!" gives
it ' s 5pm !!!. Punctuation and emoji stay, since word vectors have entries for them and a text of nothing else still
gives tokens. A text without any token has length 0, which the network reads as no window at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase
from tokenizers.normalizers import Sequence as NormalizerSequence
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import WordLevelTrainer
from torch import Tensor

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # 0 and 1
NORMALISATION = "NFKC, lower case, split at white space and between words and punctuation"
# Texts encoded at a time: an encoding holds far more than the numbers, so a collection is not encoded in one go.
ENCODE_CHUNK = 1024


@dataclass(frozen=True)
class EncodedTexts:
    tokens: Tensor  # (N, L) int64, 0 = padding; L: the longest text after the cut
    lengths: Tensor  # (N,) int64
    cut: int  # texts that lost their end


def build_tokenizer(texts: Iterable[str], min_frequency: int) -> Tokenizer:
    """A tokenizer whose vocabulary is every word that `texts`, the training split's, hold `min_frequency` times."""
    counted = _tokenizer({UNKNOWN: 0})
    # vocab_size: the default of 30,000 would drop words silently.
    counted.train_from_iterator(
        texts, WordLevelTrainer(min_frequency=min_frequency, vocab_size=2**31, show_progress=False)
    )
    # The trainer could number our two tokens itself, but as "special" ones they would be searched for inside the texts,
    # and an article that holds the characters [PAD] would get padding in its middle.
    return _tokenizer({word: number for number, word in enumerate([PADDING, UNKNOWN, *vocabulary_words(counted)])})


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = NormalizerSequence([NFKC(), Lowercase()])
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def vocabulary_words(tokenizer: Tokenizer) -> list[str]:
    """The words by their number; 0 is padding, 1 stands for every word that is not in the list."""
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> EncodedTexts:
    """Texts as one padded matrix; longer ones are cut after `max_tokens`."""
    rows: list[list[int]] = []
    cut = 0
    for start in range(0, len(texts), ENCODE_CHUNK):
        for encoding in tokenizer.encode_batch(list(texts[start : start + ENCODE_CHUNK])):
            ids = encoding.ids
            cut += len(ids) > max_tokens
            rows.append(ids[:max_tokens])
    tokens, lengths = pad_tokens(rows)
    return EncodedTexts(tokens, lengths, cut)


def pad_tokens(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Lists of word numbers as (N, L) int64, filled up with 0, and their lengths (N,) int64."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)  # (N,)
    tokens = torch.zeros(len(rows), int(lengths.max()) if rows else 0, dtype=torch.int64)  # (N, L)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return tokens, lengths
