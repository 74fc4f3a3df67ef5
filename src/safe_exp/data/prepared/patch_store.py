"""Vectors of pictures' patches, stored when a picture is prepared and read when articles become batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safe_exp.data.captioners import PatchCaptioner
from safe_exp.data.gallery import StoredPatches
from safe_exp.data.vector_store import STORES, Sequenced, VectorStore

if TYPE_CHECKING:
    from PIL import Image


def open_patch_store(home: Path, settings: Mapping[str, Any]) -> VectorStore:
    """Open the store of a captioner's vectors.

    Args:
        home: `data.prepared`.
        settings: the captioner's, which name the content of its model.
    """
    return _open_once(home.absolute(), json.dumps(settings, sort_keys=True))


@cache  # the checksums of a store are computed once a process
def _open_once(home: Path, settings: str) -> VectorStore:
    return VectorStore(home / STORES, json.loads(settings))


def store_patches(
    captioner: PatchCaptioner, store: VectorStore, images: Iterable[tuple[str, Image.Image]]
) -> Iterator[tuple[str, StoredPatches]]:
    """Yield each picture by its hash, in their order, once the store has its vectors.

    Pictures are taken and held `captioner.batch_size` at a time, and the vectors of a batch are stored together.

    Args:
        images: (hash of the file's content, decoded picture); a hash may come more than once.
    Raises:
        UserError: the captioner cannot be used, or the store cannot be written.
    """
    stream = iter(images)
    while batch := list(islice(stream, captioner.batch_size)):
        missing = set(store.missing(image_hash for image_hash, _ in batch))
        wanted = {image_hash: image for image_hash, image in batch if image_hash in missing}
        if wanted:
            described = captioner.describe(list(wanted.values()))
            store.add({key: Sequenced(each.sequence) for key, each in zip(wanted, described, strict=True)})
        lengths = store.lengths([image_hash for image_hash, _ in batch])
        for (image_hash, _), patches in zip(batch, lengths, strict=True):
            yield image_hash, StoredPatches(image_hash, patches)
