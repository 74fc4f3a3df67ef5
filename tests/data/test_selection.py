"""The articles that a run uses when pictures and openings that repeat are left out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from safe_exp.config import PrepareConfig, VectorsConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.prepare_command import prepare_data_set
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.data.selection import find_usable_rows
from safe_exp.system.errors import UserError
from tests.data.captioners.pictures import noise, visual_words_config
from tests.data.folders import folder_config, write_article

CAPTIONER = visual_words_config(words=4, grids=[1], sample_patches=200)
COUNT, LOGOS, LOG_INS = 80, 12, 13  # 40 articles of each class; the first fakes carry a logo, the last log in


def words(rng):
    return " ".join("".join(rng.choice(list("abcdefghij"), 5)) for _ in range(40))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a logo under 12 fakes, and 'log in' before 13 other fakes."""
    root, rng = tmp_path_factory.mktemp("articles"), np.random.default_rng(0)
    for number in range(COUNT):
        label, place = ("fake", "real")[number % 2], number // 2
        log_in = "Log in to continue reading this. " if label == "fake" and place >= COUNT // 2 - LOG_INS else ""
        folder = write_article(
            root, f"{label}/{place:02d}", caption=None, title=words(rng)[:20], text=log_in + words(rng)
        )
        noise(0 if label == "fake" and place < LOGOS else number).save(folder / "image.png")
    return root


def settings(root, *overrides):
    return folder_config(root, "data.workers=1", *overrides)


def set_up(root, *overrides):
    data = settings(root, *overrides)
    module = FakeNewsNetDataModule(data, CAPTIONER, VectorsConfig(path=None, dim=8, seed=0), 0)
    module.setup("fit")
    return module


def test_a_logo_and_an_opening_of_one_class_are_named_and_warned_of(root):
    module = set_up(root)
    (logo,), (log_in,) = (module.prepared.manifest["repeated"][kind] for kind in ("pictures", "openings"))
    assert (logo["articles"], logo["stories"], logo["fake"]) == (12, 12, 12)
    assert (log_in["articles"], log_in["fake"], log_in["words"]) == (13, 13, "log in to continue reading this")
    assert "one picture stands under 12 articles, all fake: fake/00, fake/01, …" in module.leakage
    assert "the opening 'log in to continue reading this' begins 13 articles, all fake" in module.leakage


def test_a_model_without_images_is_warned_of_openings_alone(root):
    module = FakeNewsNetDataModule(
        settings(root), CAPTIONER, VectorsConfig(path=None, dim=8, seed=0), 0, None, ["text"]
    )
    module.setup("fit")
    assert "log in" in module.leakage
    assert "picture stands" not in module.leakage


def test_what_repeats_is_left_out_on_request_and_every_article_is_accounted_for(root):
    module = set_up(root, "data.drop_repeated=true")
    assert module.leakage is None
    manifest = module.manifest()
    assert manifest["left_out"]["by_reason"] == {"repeated opening": 13, "repeated picture": 12}
    assert len(module.rows) == COUNT - LOGOS - LOG_INS == manifest["counts"]["all"]["articles"]
    assert sum(len(side) for side in module.split.sides().values()) == len(module.rows)
    details = {item["path"]: item["detail"] for item in manifest["left_out"]["articles"]}
    assert details["fake/00"] == "it stands under 12 articles"
    assert details["fake/39"] == "'log in to continue reading this' begins 13 articles"
    assert manifest["prepared"]["counts"]["all"] == {
        "articles": COUNT, "with_text": COUNT, "with_visual": COUNT - LOGOS, "with_both": COUNT - LOGOS,
    }  # fmt: skip
    assert manifest["settings"]["drop_repeated"] is True
    assert "drop_repeated" not in set_up(root).manifest()["settings"]


def test_an_article_without_its_repeated_picture_stays_with_its_text(root):
    module = set_up(root, "data.drop_repeated=true", "data.require=[text]")
    assert module.manifest()["left_out"]["by_reason"] == {"repeated opening": 13}
    row = module.ids.index("fake/00")
    batch, other = module.encoded[row], set_up(root).encoded[row]
    assert (int(batch.visual_lengths[0]), int(other.visual_lengths[0])) == (0, 1)
    assert batch.text_tokens.shape == other.text_tokens.shape
    prepared = prepare(settings(root, "data.drop_repeated=true"), CAPTIONER)
    assert prepared.manifest["without_image_or_caption"] == {"repeated picture": 12}
    assert prepared.folder == prepare(settings(root), CAPTIONER).folder  # one prepared data set serves both


def test_with_strict_what_is_dropped_on_request_is_no_fault(root):
    data = settings(root, "data.drop_repeated=true", "data.strict=true")
    rows, dropped = find_usable_rows(prepare(data, CAPTIONER), ["text", "visual"], data)
    assert len(rows) + len(dropped) == COUNT


def test_prepared_data_of_an_older_version_open_and_refuse_to_drop_what_was_not_looked_for(root, tmp_path):
    folder = tmp_path / "prepared"
    shutil.copytree(prepare(settings(root), CAPTIONER).folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["repeated"], manifest["digest"]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    prepared = PreparedArticles.open(folder)
    assert prepared.repeats is None
    with pytest.raises(UserError, match=r"data\.drop_repeated=true: .* older version.* Remove this folder"):
        prepared.without_repeated_pictures()


def test_prepare_counts_without_what_repeats_in_shares_as_in_one(root, tmp_path, capsys, caplog):
    data = settings(root, "data.drop_repeated=true")
    for shares in ({}, {"shards": 2, "shard": 0}, {"shards": 2, "shard": 1}, {"shards": 2}):
        place = str(tmp_path / ("shared" if shares else "whole"))
        prepare_data_set(PrepareConfig(replace(data, prepared=place, **shares), CAPTIONER), tmp_path)
        if "shard" not in shares:
            assert "Without image or caption: 12 × repeated picture" in capsys.readouterr().out
    assert not any("data.drop_repeated=true leaves them out" in record.getMessage() for record in caplog.records)
