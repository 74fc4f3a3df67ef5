"""Digests that name prepared data, caches and fingerprints equal those of earlier versions, given as literals."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from safe_exp.data.artifacts import data_fingerprint
from safe_exp.data.prepared.description_cache import DescriptionCache
from safe_exp.data.prepared.join import fingerprint
from safe_exp.data.prepared.parts import article_digest
from safe_exp.system.digest import json_digest


def test_a_digest_is_the_sha256_of_sorted_ascii_json():
    assert json_digest({"b": [1, None], "a": "ü"}) == hashlib.sha256(b'{"a":"\\u00fc","b":[1,null]}').hexdigest()
    assert json_digest({"a": [1, 2]}, compact=False) == hashlib.sha256(b'{"a": [1, 2]}').hexdigest()


ARTICLE = {"id": "fake/a1", "label": 1, "title": "Tïtle", "text": "x", "image_hash": None, "more": 3}
CAPTIONER = SimpleNamespace(settings={"name": "visual_words", "words": 64, "scale": 1.5, "é": None})


@pytest.mark.parametrize(
    ("digest", "of_earlier_versions"),
    [
        (
            lambda: json_digest({"b": [1, 2.5, None, True], "a": {"ü": "日本", "z": Path("/x")}}),
            "2cdc203e0a96adf0ca37507ea81daf84cd144d4ba24c84afea5e6508140c7193",
        ),
        (
            lambda: article_digest(ARTICLE),
            "252fbc1b2fe8d0be959fd1fe17d82b5dd17caf966dcdb7f4d5b77b070b6a0532",
        ),
        (
            lambda: fingerprint(["d1", "d2"], {"workers": 1, "root": "ü"}),
            "5138c928ea7d3e29822c8e691e41fa8b124d7fcc9ff70c0528ae5bf6457f6299",
        ),
        (
            lambda: data_fingerprint("p", {"seed": 0, "split": "random"}, {"train": ["a", "ü"], "test": []}),
            "d1a6eabf0f5ac2514dde08ba92dfaeb3f26eb58f2baafdab7b59ad6613a511a3",
        ),
        (lambda: DescriptionCache(Path("no/folder"), CAPTIONER).folder.name, "visual_words-2aa47ab1060687ba"),
    ],
    ids=["key of prepared data", "article", "prepared data", "data of a run", "folder of descriptions"],
)
def test_digests_equal_those_of_earlier_versions(digest, of_earlier_versions):
    assert digest() == of_earlier_versions
