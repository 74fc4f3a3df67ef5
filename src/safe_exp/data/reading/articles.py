"""Article, as a reader yields it, and LeftOut, the record of one that cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from safe_exp.config.data import REST
from safe_exp.data.reading.labels import LABELS, Labels, LabelWords
from safe_exp.data.reading.untrusted import UnusableArticle
from safe_exp.system.errors import UserError

SIDE_WORDS = {  # words of published data sets for the side of an article, in lower case
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "dev", "development"),
    "test": ("test", "testing", "test_public"),
}


@dataclass(frozen=True)
class StoredPicture:
    """A picture that lies inside a table, as bytes."""

    name: str  # for messages
    content: bytes


Picture: TypeAlias = Path | StoredPicture
ImageRoot: TypeAlias = Path | tuple[Path, ...]  # resolved folder outside of which no image is read, or several


def name_picture(picture: Picture) -> str:
    """Return the path of a file, or the name of a picture in a table, as text that can be stored."""
    name = picture.name if isinstance(picture, StoredPicture) else str(picture)
    return name.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Article:
    """An article as it was found. Text, image or both may be missing; a missing part is never invented."""

    id: str  # where to find it: its folder below the root, as in fake/politifact15544, or its id in the table
    label: int | None  # 1 = fake, 0 = real; None without a label
    title: str
    text: str  # the body
    caption: str = ""  # the sentence that describes its image, where one lies beside it
    images: tuple[Picture, ...] = ()  # in their order, not opened yet
    no_visual: tuple[str, str] | None = None  # without caption and image: a reason to count by, and a detail
    site: str | None = None  # folder between root and label, where there is one
    source: str | None = None  # publisher
    date: str | None = None  # of publication, YYYY-MM-DD
    date_written: str | None = None  # where the order of its numbers is not certain, as `written_date` returns it
    image_urls: tuple[str, ...] = ()  # addresses of its images, where no file of them lies beside it
    lost_images: tuple[tuple[str, str], ...] = ()  # reason and detail of each image that it names and that is not there
    side: str | None = None  # train, val or test, where the publisher of the data set gives it
    made_up_id: bool = False  # the reader named it by its place, such as row 3, which says nothing about the article

    @property
    def image(self) -> Picture | None:
        """First of the images."""
        return self.images[0] if self.images else None

    @property
    def title_and_text(self) -> str:
        """T, the article's words: the title followed by the body."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class LeftOut:
    """An article that cannot be used, and the reason."""

    path: str  # its folder below the root, its id, or its row in the table
    reason: str  # one of a few fixed phrases, to count by
    detail: str  # what was found


def count_reasons(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Count the articles left out for each reason, the commonest first."""
    return sort_reasons(Counter(item.reason for item in left_out))


def sort_reasons(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort numbers by reason: the commonest first, equally common ones by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def list_reasons(counts: Mapping[str, int]) -> str:
    """List numbers by reason, as in 4 × no image file; 1 × no title and no text."""
    return "; ".join(f"{count} × {reason}" for reason, count in counts.items())


def label_words(config: LabelWords) -> dict[str, int]:
    """Map each word that names a class, in lower case, to the class: 1 = fake, 0 = real.

    Raises:
        UserError: a class is named as the rest, which means nothing where articles are found by these words.
    """
    labels = Labels(config)
    if labels.rest is not None:
        name = next(name for name, label in LABELS.items() if label == labels.rest)
        raise UserError(
            f"data.labels.{name}={REST}: articles of this kind are found by the words that name their classes. Name "
            f"them, as in data.labels.{name}=[{name}]."
        )
    return labels.words


def read_side(word: str, where: str) -> str:
    """Read the side of an article: train, val or test.

    Args:
        word: as published; upper or lower case.
        where: where it stands, for the reason.
    Raises:
        UnusableArticle: it is empty, or names none of the three.
    """
    key = word.strip().casefold()
    for side, words in SIDE_WORDS.items():
        if key in words:
            return side
    if not key:
        raise UnusableArticle("no side is given", f"{where} is empty")
    known = ", ".join(word for words in SIDE_WORDS.values() for word in words)
    raise UnusableArticle("side is not train, val or test", f"'{word.strip()[:40]}' in {where}; known are {known}")


def require_words(article_id: str, title: str, text: str, has_visual: bool) -> None:
    """Refuse an article that has neither text nor image.

    Raises:
        UnusableArticle: it has no title, no text, and neither image nor caption.
    """
    if not title and not text and not has_visual:
        raise UnusableArticle("no title, no text and no image", f"{article_id} holds nothing to learn from")
