"""The images of a part's articles: which can be read, what identifies them, and what a captioner says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safe_exp.data.articles import Article
from safe_exp.data.captioners import ImageCaptioner
from safe_exp.data.captioners.cache import DescriptionCache, describe_all
from safe_exp.data.images import UnusableImage, content_hash, decode_image, perceptual_hash, read_image_file


class PartImages:
    """Reads the images of some articles, none twice.

    Args:
        root: no image outside of it is read, but for those that we have downloaded.
    """

    def __init__(self, articles: Sequence[Article], root: Path) -> None:
        self._root = root
        self._articles = [article for article in articles if article.image is not None]
        self._facts: dict[Path, dict[str, Any]] = {}

    def decoded(self) -> Iterator[tuple[str, Any]]:
        """(content hash, image) of each image that can be read, once, one in memory at a time."""
        seen = set()
        for article in self._articles:
            try:
                inside = article.image.is_relative_to(self._root)  # else it was downloaded, by us
                content = read_image_file(article.image, self._root if inside else article.image.parent)
                image_hash = content_hash(content)
                image = decode_image(content, article.image.name)
            except UnusableImage as error:
                self._facts[article.image] = {"no_visual": error.reason, "no_visual_detail": error.detail}
                continue
            self._facts[article.image] = {"image_hash": image_hash, "perceptual_hash": perceptual_hash(image)}
            if image_hash not in seen:
                seen.add(image_hash)
                yield image_hash, image

    def facts(self, article: Article) -> dict[str, Any]:
        return {"image_hash": None} | self._facts.get(article.image, {})


def describe_images(captioner: ImageCaptioner, cache: Path, images: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What the captioner says of each image, by content hash; only what the cache does not know is looked at."""
    return dict(describe_all(captioner, DescriptionCache(cache, captioner), iter(images)))
