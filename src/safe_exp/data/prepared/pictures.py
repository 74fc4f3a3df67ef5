"""The images of a part: which can be read, what identifies them, and what a captioner says of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from safe_exp.config import CaptionerConfig
from safe_exp.data.captioners import ImageCaptioner, build_image_captioner, captioner_from_plain
from safe_exp.data.prepared.description_cache import DescriptionCache, describe_all
from safe_exp.data.reading.images import UnusableImage, content_hash, decode_image, perceptual_hash, read_image_file


def describe_pictures(
    files: Sequence[Path], root: Path, config: CaptionerConfig, cache: Path, advance: Callable[[int], None]
) -> dict[Path, dict[str, Any]]:
    """What is known of each file, as columns of a part; only what the cache does not know is described.

    Args:
        files: each once.
        root: no image outside of it is read, but for those that we have downloaded.
        advance: called with 1 for each file, as they are done.
    Returns:
        `image_hash`, `perceptual_hash`, and `caption` (a sentence) or `descriptors` (P, F); or `no_visual` and
        `no_visual_detail`, why the file cannot be used.
    """
    captioner, known = _opened(json.dumps(asdict(config)), cache)
    facts: dict[Path, dict[str, Any]] = {}

    def decoded() -> Iterator[tuple[str, Image.Image]]:
        """One image in memory at a time, besides the captioner's batch; copies of a file are described once."""
        seen = set()
        for file in files:
            try:
                # A link inside the root may be followed; what was downloaded lies elsewhere and holds no links.
                content = read_image_file(file, root if file.is_relative_to(root) else file.parent)
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
def _opened(config: str, cache: Path) -> tuple[ImageCaptioner, DescriptionCache]:
    captioner = build_image_captioner(captioner_from_plain(json.loads(config)))
    return captioner, DescriptionCache(cache, captioner)
