"""Layout of a bundle of several models: vocabularies, data settings and tables that are equal lie in it once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

MAX_MEMBERS = 1000
MAX_WORDS_IN_ALL = 20_000_000  # of all vocabularies; each model with artifacts of its own looks words up by itself
# Of a member's content: where the file has it once.
SHARED_LISTS = {"words": "vocabularies", "tokenizer": "tokenizers", "manifest": "manifests"}


class Part(NamedTuple):
    """One model of a bundle, as a bundle of its own would hold it."""

    content: dict[str, Any]  # model, words, manifest, codebook; tokenizer, of a transformer, or None
    tensors: dict[str, str]  # name in the file, by the name in a bundle of its own


def join_parts(
    parts: Sequence[tuple[dict[str, Any], dict[str, Tensor]]], is_weight: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Join the contents and tensors of bundles of one model each.

    Args:
        is_weight: tells by its name a tensor that belongs to one model alone. Of others that are equal one is stored.
    Returns:
        What `split_content` reads, and the tensors by their names in the file.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[Any, str] = {}  # of tensors that are stored already, by their numbers
    lists: dict[str, list[Any]] = {name: [] for name in SHARED_LISTS.values()}
    members = []
    for number, (content, held) in enumerate(parts):
        placed = {}
        for name, tensor in held.items():
            numbers = (number, name) if is_weight(name) else _numbers(tensor)
            placed[name] = names.setdefault(numbers, f"{number}.{name}")
            tensors.setdefault(placed[name], tensor)
        member = {key: value for key, value in content.items() if key not in SHARED_LISTS}
        for key, place in SHARED_LISTS.items():
            if content.get(key) not in lists[place]:
                lists[place].append(content.get(key))
            member[key] = lists[place].index(content.get(key))
        members.append({**member, "tensors": placed})
    return {**lists, "members": members}, tensors


def _numbers(tensor: Tensor) -> tuple[Any, ...]:
    """Make a key that is equal for equal tensors."""
    content = tensor.contiguous().flatten().view(torch.uint8).numpy().data
    return tensor.dtype, tuple(tensor.shape), hashlib.sha256(content).hexdigest()


def split_content(content: dict[str, Any], stored: Collection[str], is_weight: Callable[[str], bool]) -> list[Part]:
    """Split what `join_parts` joined into the models.

    Args:
        stored: names of the tensors in the file.
        is_weight: as in `join_parts`.
    Raises:
        ValueError: the content is of another form; it names a tensor that is not there, or does not name one that is;
            or two models have the same weights, by which a small file could fill the memory.
    """
    members = content["members"]
    if not isinstance(members, list) or not 1 <= len(members) <= MAX_MEMBERS:
        raise ValueError(f"members is not a list of 1 to {MAX_MEMBERS} models")
    parts = [_split_member(content, member) for member in members]
    used = Counter(place for part in parts for place in part.tensors.values())
    strange = sorted(set(used) ^ set(stored))
    if strange:
        raise ValueError(f"{strange[0]!r:.60} is in its list of tensors or in the file, and not in both")
    weights = {place for part in parts for name, place in part.tensors.items() if is_weight(name)}
    repeated = sorted(place for place in weights if used[place] > 1)
    if repeated:
        raise ValueError(f"{repeated[0]!r:.60} stands for the weights of two models")
    return parts


def _split_member(content: dict[str, Any], member: Any) -> Part:
    placed = member["tensors"]
    if not isinstance(placed, dict) or not all(isinstance(place, str) for place in placed.values()):
        raise ValueError("the list of tensors of a model is not one of names")
    own = {key: value for key, value in member.items() if key != "tensors"}
    for key, place in SHARED_LISTS.items():
        number, known = own[key], content[place]
        if not isinstance(known, list) or type(number) is not int or not 0 <= number < len(known):
            raise ValueError(f"{key} of a model is not a number of {place}")
        own[key] = known[number]
    return Part(own, placed)


def part_key(part: Part, is_weight: Callable[[str], bool]) -> str:
    """Make a key that is equal for models of a bundle with the same artifacts."""
    kept = {name: place for name, place in part.tensors.items() if not is_weight(name)}
    shared = [id(part.content.get(key)) for key in SHARED_LISTS]
    return json.dumps([*shared, part.content["codebook"], kept])


def by_identity(values: Iterable[Any]) -> Iterable[Any]:
    """List values, each object once."""
    return {id(value): value for value in values}.values()


def check_vocabularies(parts: Sequence[Part], is_weight: Callable[[str], bool]) -> None:
    """Refuse, by a ValueError, more words than memory should be given to."""
    if sum({part_key(part, is_weight): len(part.content["words"]) for part in parts}.values()) > MAX_WORDS_IN_ALL:
        raise ValueError(f"its vocabularies have more than {MAX_WORDS_IN_ALL:,} words in all")
