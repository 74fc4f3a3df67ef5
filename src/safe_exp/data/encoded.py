"""A whole data set as integer tensors, from which a batch is selected in one go."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from safe_exp.data.articles import Article
from safe_exp.data.batch import NewsBatch
from safe_exp.data.sampler import GlobalBatches
from safe_exp.data.text import EncodedTexts, encode_texts


@dataclass(frozen=True)
class EncodedArticles(Dataset):
    """N articles; row i is article i of the list they were made from."""

    text: EncodedTexts
    visual: EncodedTexts
    label: Tensor  # (N,) int64, 1 = fake

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> NewsBatch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> NewsBatch:
        """The batch of these rows, trimmed to its longest text and sentence. PyTorch's DataLoader sets the name."""
        index = torch.as_tensor(rows, dtype=torch.int64)  # (B,)
        text_lengths, visual_lengths = self.text.lengths[index], self.visual.lengths[index]
        return NewsBatch(
            text_tokens=self.text.tokens[index, : text_lengths.max()],  # (B, L_text)
            visual_tokens=self.visual.tokens[index, : visual_lengths.max()],  # (B, L_visual)
            text_lengths=text_lengths,
            visual_lengths=visual_lengths,
            label=self.label[index],
            index=index,
        )


def encode_articles(
    articles: Sequence[Article], tokenizer: Tokenizer, max_text_tokens: int, max_visual_tokens: int
) -> EncodedArticles:
    return EncodedArticles(
        text=encode_texts(tokenizer, [article.title_and_text for article in articles], max_text_tokens),
        visual=encode_texts(tokenizer, [article.caption for article in articles], max_visual_tokens),
        label=torch.tensor([article.label for article in articles], dtype=torch.int64),
    )


def news_loader(encoded: EncodedArticles, batches: GlobalBatches) -> DataLoader:
    """A loader that yields NewsBatch. Without workers: selecting rows is faster than sending them between processes."""
    return DataLoader(
        encoded,
        batch_sampler=batches,
        collate_fn=_as_is,
        # Else each epoch would draw a number from the global generator, and validating more often would change the
        # training.
        generator=torch.Generator(),
    )


def _as_is(batch: NewsBatch) -> NewsBatch:
    return batch
