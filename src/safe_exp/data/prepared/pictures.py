"""Images of a part: their hashes, and their descriptions by a captioner."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from safe_exp.config import CaptionerConfig
from safe_exp.data.captioners import ImageCaptioner, build_image_captioner, captioner_from_plain
from safe_exp.data.prepared.description_cache import DescriptionCache, describe_all
from safe_exp.data.reading.articles import ImageRoot
from safe_exp.data.reading.images import UnusableImage, content_hash, decode_image, perceptual_hash, read_image_file


def describe_pictures(
    files: Sequence[Path],
    root: ImageRoot,
    downloaded: Collection[Path],
    config: CaptionerConfig,
    cache: Path,
    advance: Callable[[int], None],
) -> dict[Path, dict[str, Any]]:
    """Read and hash image files, and describe those that the cache does not know.

    Args:
        files: paths of the images, each once.
        root: no image outside of it, or of several, is read, except `downloaded` ones.
        downloaded: files that `prepare` has fetched itself; they lie elsewhere, and are no links.
        advance: called with 1 for each file.
    Returns:
        Columns of a part for each file: `image_hash`, `perceptual_hash`, and `caption` (a sentence) or `descriptors`
        (P, F) float32; or, where the file cannot be used, `no_visual` and `no_visual_detail`.
    Raises:
        UserError: the captioner's model cannot be loaded, or the cache cannot be written.
    """
    captioner, known = _open_captioner(json.dumps(asdict(config)), cache)
    facts: dict[Path, dict[str, Any]] = {}

    def decoded() -> Iterator[tuple[str, Image.Image]]:
        """Yield hash and picture of each file, copies once; besides the captioner's batch one picture is in memory."""
        seen = set()
        for file in files:
            try:
                # Links inside the root may be followed.
                content = read_image_file(file, file.parent if file in downloaded else root)
                image_hash = content_hash(content)
                image = decode_image(content, file.name)
            except UnusableImage as error:
                facts[file] = {"no_visual": error.reason, "no_visual_detail": error.detail}
            else:
                facts[file] = {"image_hash": image_hash, "perceptual_hash": perceptual_hash(image)}
                if image_hash not in seen:
                    seen.add(image_hash)
                    yield image_hash, image
            advance(1)

    described = dict(describe_all(captioner, known, decoded()))
    for fact in facts.values():
        if "image_hash" in fact:
            description = described[fact["image_hash"]]
            fact["caption" if isinstance(description, str) else "descriptors"] = description
    return facts


@lru_cache(maxsize=1)  # once a process, not once a part: a model takes seconds to load, and a cache to look through
def _open_captioner(config: str, cache: Path) -> tuple[ImageCaptioner, DescriptionCache]:
    """Build the captioner of a config, given as JSON, and open its cache."""
    captioner = build_image_captioner(captioner_from_plain(json.loads(config)))
    return captioner, DescriptionCache(cache, captioner)
