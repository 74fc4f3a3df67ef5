"""Images of a part: their hashes, their descriptions by a captioner, and the columns of the articles that have them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from safe_exp.config import CaptionerConfig
from safe_exp.data.captioners import PatchCaptioner, build_image_captioner, captioners
from safe_exp.data.gallery import NO_WORDS, Description, Gallery, StoredPatches
from safe_exp.data.prepared.description_cache import DescriptionCache, describe_all
from safe_exp.data.reading.articles import Article, ImageRoot, Picture, name_picture
from safe_exp.data.reading.images import UnusableImage, content_hash, decode_image, perceptual_hash, read_picture

HASHES = ("image_hash", "perceptual_hash")
DESCRIPTIONS = "descriptions"  # folder of caches within data.prepared


def describe_pictures(
    pictures: Sequence[Picture],
    root: ImageRoot,
    downloaded: Collection[Path],
    config: CaptionerConfig,
    home: Path,
    advance: Callable[[int], None],
) -> dict[Picture, dict[str, Any]]:
    """Read and hash pictures, and describe those that the cache does not know.

    Args:
        pictures: files, or contents that a table holds, each once.
        root: no image outside of it, or of several, is read, except `downloaded` ones.
        downloaded: files that `prepare` has fetched itself; they lie elsewhere, and are no links.
        home: `data.prepared`, in which descriptions are kept.
        advance: called with 1 for each picture.
    Returns:
        Facts about each picture: `image_hash`, `perceptual_hash`, and `description`, a sentence, descriptors (P, F)
        float32 or StoredPatches; or, where it cannot be used, `unusable`, the UnusableImage.
    Raises:
        UserError: the captioner's model cannot be loaded, or the cache cannot be written.
    """
    describe = _open_captioner(json.dumps(asdict(config)), home)
    facts: dict[Picture, dict[str, Any]] = {}

    def decoded() -> Iterator[tuple[str, Image.Image]]:
        """Yield hash and content of each picture, copies once; besides the captioner's batch one is in memory."""
        seen = set()
        for picture in pictures:
            facts[picture], image = _hash_picture(picture, root, downloaded)
            if image is not None and (image_hash := facts[picture]["image_hash"]) not in seen:
                seen.add(image_hash)
                yield image_hash, image
            advance(1)

    described = dict(describe(decoded()))
    for fact in facts.values():
        if "image_hash" in fact:
            fact["description"] = described[fact["image_hash"]]
    return facts


def hash_pictures(
    pictures: Iterable[Picture], root: ImageRoot, downloaded: Collection[Path]
) -> dict[Picture, dict[str, Any]]:
    """Read and hash pictures that no captioner is to see; the facts are those of `describe_pictures`."""
    return {picture: _hash_picture(picture, root, downloaded)[0] for picture in pictures}


def _hash_picture(
    picture: Picture, root: ImageRoot, downloaded: Collection[Path]
) -> tuple[dict[str, Any], Image.Image | None]:
    """Read a picture; return its hashes and itself, or the reason why it cannot be used and None."""
    try:
        # Links inside the root may be followed.
        home = picture.parent if isinstance(picture, Path) and picture in downloaded else root
        content = read_picture(picture, home)
        image = decode_image(content, picture.name)
    except UnusableImage as error:
        return {"unusable": error}, None
    return {"image_hash": content_hash(content), "perceptual_hash": perceptual_hash(image)}, image


def gather_columns(gallery: Gallery, facts: Mapping[Picture, Mapping[str, Any]], article: Article) -> dict[str, Any]:
    """Gather the columns of a part that an article's pictures fill.

    Args:
        gallery: of the article, filled.
        facts: about each of its pictures, see `describe_pictures`.
    """
    readable = [picture for picture in gallery.pictures if "image_hash" in facts[picture]]
    beyond = [picture for picture in gallery.beyond if "image_hash" in facts[picture]]
    lost = [reason for reason, _ in article.lost_images]
    lost += [facts[picture]["unusable"].reason for picture in gallery.pictures if "unusable" in facts[picture]]
    lost += [NO_WORDS for item in gallery.taken if not item.words]
    columns: dict[str, Any] = {
        "images_used": sum(item.words > 0 for item in gallery.taken),
        "images_beyond": len(beyond),
        "images_lost": lost,
    }
    if readable:
        columns |= {name: facts[readable[0]][name] for name in HASHES}
        columns["image"] = name_picture(readable[0])
    if len(readable) > 1:
        columns |= {f"{name}es": [facts[picture][name] for picture in readable] for name in HASHES}
    if not gallery.taken and gallery.refused:
        columns |= {"no_visual": gallery.refused[0].reason, "no_visual_detail": gallery.refused[0].detail}
    described = [item.description for item in gallery.taken]
    if described and isinstance(described[0], str):
        columns["caption"] = gallery.sentence
    elif described and isinstance(described[0], StoredPatches):
        columns["patch_hashes"] = [item.image_hash for item in cast("list[StoredPatches]", described)]
    elif described:
        columns["descriptors"] = np.stack(cast("list[np.ndarray]", described))  # (pictures, P, F)
    return columns


@lru_cache(maxsize=1)  # once a process, not once a part: a model takes seconds to load, and a cache to look through
def _open_captioner(
    config: str, home: Path
) -> Callable[[Iterable[tuple[str, Image.Image]]], Iterator[tuple[str, Description]]]:
    """Build the captioner of a config, given as JSON; return a function that describes pictures, and keeps the result.

    It takes each picture with its hash, and yields hash and description: see `describe_all` and `store_patches`.
    """
    values = json.loads(config)  # the user's, and no stored run's
    typed = captioners[values["name"]].config(**values)
    captioner = build_image_captioner(typed)
    if captioners[typed.name].gives_vectors:
        from safe_exp.data.prepared.patch_store import open_patch_store, store_patches  # torch is slow to import

        store = open_patch_store(home, captioner.settings)
        return partial(store_patches, cast(PatchCaptioner, captioner), store)
    return partial(describe_all, captioner, DescriptionCache(home / DESCRIPTIONS, captioner))
