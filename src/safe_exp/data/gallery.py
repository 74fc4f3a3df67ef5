"""The pictures of an article: those that the network sees, in their order, as far as they fit into its sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from safe_exp.data.reading.articles import Picture
from safe_exp.data.reading.untrusted import UnusableArticle

if TYPE_CHECKING:
    import numpy as np

    from safe_exp.data.captioners import PatchGrid
NO_WORDS = "caption has no words"  # the reason where a captioner had nothing to say


@dataclass(frozen=True)
class StoredPatches:
    """A picture whose vectors are in a store; its length is the number of its patches."""

    image_hash: str  # of the file's content: the key in the store
    patches: int

    def __len__(self) -> int:
        return self.patches


# A sentence; descriptors (P, F) float32; vectors of patches, or their number where a store has them.
Description: TypeAlias = "str | np.ndarray | PatchGrid | StoredPatches"


class Taken(NamedTuple):
    """A picture with its description."""

    picture: Picture
    description: Description
    words: int  # of it; 0 where the captioner had nothing to say


@dataclass
class Gallery:
    """Takes an article's pictures until its sentence is full; the first that can be used is taken in any case.

    Sentences are joined, and the cut falls within one. The patches of a picture are words whole or not at all.

    Args:
        pictures: in their order.
        max_words: length of the sentence, `data.max_visual_tokens`.
        count_words: counts the words of a sentence.
    """

    pictures: Sequence[Picture]
    max_words: int
    count_words: Callable[[str], int]
    taken: list[Taken] = field(default_factory=list)
    refused: list[UnusableArticle] = field(default_factory=list)  # pictures that cannot be described
    words: int = 0  # of the pictures that are taken

    def next(self) -> Picture | None:
        """Return the picture whose description is to be taken next; None if there is no room or no further one."""
        if not self.beyond or (self.words and self.words + self._least() > self.max_words):
            return None
        return self.beyond[0]

    def take(self, found: Description | UnusableArticle) -> None:
        """Take the description of the picture that `next` returned, or the reason why it has none."""
        if isinstance(found, UnusableArticle):
            self.refused.append(found)
            return
        words = self.count_words(found) if isinstance(found, str) else len(found)
        self.taken.append(Taken(self.beyond[0], found, words))
        self.words += words

    @property
    def beyond(self) -> Sequence[Picture]:
        """Pictures that are not taken yet; at the end those for which there is no room."""
        return self.pictures[len(self.taken) + len(self.refused) :]

    @property
    def sentence(self) -> str:
        """The sentences of the pictures, joined."""
        return " ".join(
            item.description for item in self.taken if isinstance(item.description, str) and item.description
        )

    def _least(self) -> int:
        """Count the words that the next picture takes: as many patches as the last, or one word of a sentence."""
        last = self.taken[-1]
        return 1 if isinstance(last.description, str) else last.words


def fill(
    galleries: Sequence[Gallery], describe: Callable[[list[Picture]], Mapping[Picture, Description | UnusableArticle]]
) -> None:
    """Fill galleries, the first pictures of all together, then the second ones: a captioner takes many at a time.

    Args:
        describe: describes pictures, each once, or gives the reason why that cannot be done.
    """
    while waiting := [(gallery, picture) for gallery in galleries if (picture := gallery.next()) is not None]:
        found = describe(list(dict.fromkeys(picture for _, picture in waiting)))
        for gallery, picture in waiting:
            gallery.take(found[picture])
