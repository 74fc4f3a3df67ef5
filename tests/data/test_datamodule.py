import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from safe_exp.config import VectorsConfig
from safe_exp.data.article_encoder import ArticleEncoder
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from safe_exp.data.labelled_folder import encode_folder
from safe_exp.data.reading.articles import Article
from safe_exp.data.text import vocabulary_words
from safe_exp.system.errors import UserError
from tests.data.folders import (
    REAL_DATA,
    folder_config,
    table_config,
    write_article,
    write_folder,
    write_side_tables,
)
from tests.made import compose_config

CAPTIONER = FileCaptionerConfig("file", "caption.txt")
VECTORS = VectorsConfig(path=None, dim=32, seed=0)


def datamodule(root, *overrides, artifacts=None, seed=0, vectors=VECTORS):
    return set_up(folder_config(root, "data.batch_size=8", *overrides), vectors, seed, artifacts)


def set_up(data, vectors=VECTORS, seed=0, artifacts=None, **arguments):
    module = FakeNewsNetDataModule(data, CAPTIONER, vectors, seed, artifacts, **arguments)
    module.prepare_data()
    module.setup("fit")
    return module


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "articles")


def read_words(module, row):
    words = vocabulary_words(module._stored.tokenizer)
    return [words[number] for number in module.encoded[row].text_tokens[0].tolist()]


def test_loaders_yield_each_article_of_their_side_once(root):
    module = datamodule(root)
    for name in ("train", "val", "test"):
        batches = list(getattr(module, f"{name}_dataloader")())
        rows = torch.cat([batch.index for batch in batches]).tolist()
        assert sorted(rows) == getattr(module.split, name).tolist()
        for batch in batches:
            assert batch.label.tolist() == [module.prepared.labels[row] for row in batch.index.tolist()]
            assert batch.text_tokens.shape == (len(batch.label), int(batch.text_lengths.max()))


def test_the_vocabulary_comes_from_the_training_articles_alone(root):
    for label in ("fake", "real"):
        for number in range(20):
            path = root / label / f"{number:03d}" / "news_article.json"
            path.write_text(json.dumps({"title": "Common", "text": f"only{label}{number} only{label}{number}"}))
    module = datamodule(root)
    training = {read_words(module, row)[1] for row in module.split.train}
    assert "[UNK]" not in training
    for side in (module.split.val, module.split.test):
        assert {tuple(read_words(module, row)) for row in side} == {("common", "[UNK]", "[UNK]")}
    assert len(vocabulary_words(module._stored.tokenizer)) == module.text_vectors.shape[0]


def test_setup_twice_changes_nothing(root):
    module = datamodule(root)
    before = (module.prepared, module.split, module.text_vectors)
    module.setup("test")
    assert all(a is b for a, b in zip(before, (module.prepared, module.split, module.text_vectors), strict=True))


def test_the_fingerprint_knows_content_and_settings_but_not_the_place(root, tmp_path):
    first = datamodule(root).fingerprint
    moved = shutil.copytree(root, tmp_path / "moved")
    assert datamodule(moved).fingerprint == first
    assert datamodule(moved, "data.batch_size=4", seed=5).fingerprint == first
    assert datamodule(moved, "data.max_text_tokens=7").fingerprint != first
    assert datamodule(moved, "data.seed=1").fingerprint != first
    (moved / "fake" / "000" / "caption.txt").write_text("another caption")
    assert datamodule(moved).fingerprint != first


def test_weights_of_articles_go_with_training_batches_and_are_no_part_of_the_data(tmp_path):
    root = write_folder(tmp_path / "articles", sources=4)
    plain = datamodule(root)
    config = folder_config(root, "data.batch_size=8")
    module = set_up(config, article_weights="source", artifacts=tmp_path / "none_yet")
    weights = torch.cat([batch.weight for batch in module.train_dataloader()])
    assert weights.mean().item() == pytest.approx(1, rel=1e-6)
    assert len(weights.unique()) > 1
    assert all(batch.weight is None for batch in plain.train_dataloader())
    assert module.fingerprint == plain.fingerprint
    assert module.manifest() == plain.manifest()


def test_weights_by_publisher_need_publishers(root):
    with pytest.raises(UserError, match=r"article_weights=source_root: none of the \d+ training articles names"):
        set_up(folder_config(root, "data.batch_size=8"), article_weights="source_root")


def test_a_second_start_uses_what_the_first_one_stored(root, tmp_path):
    first = datamodule(root)
    first.save_artifacts(tmp_path / "artifacts")
    assert sorted(path.name for path in (tmp_path / "artifacts").iterdir()) == [
        "data_manifest.json",
        "tokenizer.json",
        "training_texts.safetensors",
        "vectors.safetensors",
    ]
    second = datamodule(root, vectors=replace(VECTORS, seed=9), artifacts=tmp_path / "artifacts")
    assert torch.equal(second.text_vectors, first.text_vectors)
    assert second.visual_vectors is second.text_vectors
    rows = range(40)
    assert torch.equal(second.encoded.__getitems__(rows).text_tokens, first.encoded.__getitems__(rows).text_tokens)
    assert second.manifest() == first.manifest()
    assert second.summary() == first.summary()


def test_a_second_start_on_changed_articles_is_refused(root, tmp_path):
    datamodule(root).save_artifacts(tmp_path / "artifacts")
    write_article(root, "fake/new")
    with pytest.raises(
        UserError, match=r"then 20 fake and 20 real articles, now 21 and 20; fingerprint.*start a new run"
    ):
        datamodule(root, artifacts=tmp_path / "artifacts")


def test_an_artifacts_folder_without_manifest_is_that_of_a_fresh_start(root, tmp_path):
    first = datamodule(root)
    first.save_artifacts(tmp_path / "artifacts")
    (tmp_path / "artifacts" / "data_manifest.json").unlink()  # as if killed before the last file
    assert datamodule(root, artifacts=tmp_path / "artifacts").fingerprint == first.fingerprint


def test_the_manifest_accounts_for_every_article(root, tmp_path):
    write_article(root, "real/broken", caption=None)
    module = datamodule(root)
    module.save_artifacts(tmp_path)
    manifest = json.loads((tmp_path / "data_manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest.pop("files")) == ["tokenizer.json", "training_texts.safetensors", "vectors.safetensors"]
    assert len(manifest.pop("digest")) == 64
    assert manifest == module.manifest()
    assert manifest["left_out"]["by_reason"] == {"no caption file": 1}
    assert manifest["left_out"]["articles"][0]["path"] == "real/broken"
    ids = [article_id for side in manifest["split"].values() for article_id in side]
    assert sorted(ids) == [module.ids[row] for row in module.rows]
    assert manifest["counts"]["all"] == {"articles": 40, "fake": 20, "real": 20}
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_summary_names_articles_left_out_sides_split_vocabulary_and_cut(root):
    write_article(root, "real/broken", caption=None)
    write_article(root, "fake/copy", title="title fake/000", text="WORD fake number 0!")
    rows = dict(datamodule(root, "data.max_text_tokens=6").summary())
    assert rows["articles"] == "41: 21 fake, 20 real"
    assert rows["left out"].startswith("1: 1 × no caption file")
    assert rows["near-duplicates"].startswith("2 articles have one")
    assert rows["majority rate"].startswith("0.5")
    assert rows["split"] == "random, stratified by class, one split"
    assert rows["vectors"] == "random, 32 numbers each"
    assert "of texts after 6 tokens" in rows["cut"]
    assert set(rows) >= {"train", "val", "test", "vocabulary"}


def test_the_built_in_articles_are_made_on_first_use(tmp_path):
    module = set_up(
        compose_config("data=synthetic", f"data.root={tmp_path}", f"data.prepared={tmp_path}", "data.articles=40").data
    )
    assert len(module.prepared) == 40
    assert module.left_out == []


def test_a_stored_run_encodes_another_folder_with_its_own_words_and_cuts(root, tmp_path):
    module = datamodule(root, "data.max_text_tokens=5")
    module.save_artifacts(tmp_path / "artifacts")
    other = tmp_path / "other"
    for article_id in ("fake/x", "fake/y"):
        write_article(other, article_id, title="title unseen", text="word word word word", caption="boat unseen")
    write_article(other, "fake/z", caption=None)
    data = folder_config(other, "data.max_text_tokens=99", "data.batch_size=1")
    scored = encode_folder(data, [Artifacts.load(tmp_path / "artifacts")], ["text", "visual"])
    assert [scored.ids[row] for batch in scored.loaders[0] for row in batch.index] == ["fake/x", "fake/y"]
    assert [item.path for item in scored.left_out] == ["fake/z"]
    (batch,) = scored.loaders[0]
    assert batch.index.tolist() == [0, 1]
    number = module._stored.tokenizer.token_to_id
    assert batch.text_tokens.tolist() == [[number("title"), 1, *[number("word")] * 3]] * 2
    assert batch.visual_tokens.tolist() == [[number("boat"), 1]] * 2
    assert len(scored.fingerprint) == 64


@pytest.fixture
def leaky(tmp_path):
    """Tables of 20, 10 and 12 rows, in which two rows of train copy rows of test and one of val copies one of test."""
    tables = write_side_tables(tmp_path / "sides", train=20, val=10, test=12)
    tested = list(csv.DictReader(tables["test"].open(newline="")))
    for side, copied in (("train", tested[:2]), ("val", tested[2:3])):
        with tables[side].open("a", newline="") as handle:
            csv.writer(handle).writerows([f"copy {row['id']}", f"{row['text']} end", *list(row.values())[2:]]
                                         for row in copied)  # fmt: skip
    return tables


def given_sides(tables, *overrides, **arguments):
    roots = {f"{side}_root": path for side, path in tables.items() if side != "train"}
    return set_up(table_config(tables["train"], "data.split=given", *overrides, **roots), **arguments)


def read_ids(path):
    return [row["id"] for row in csv.DictReader(path.open(newline=""))]


def test_given_sides_are_those_of_the_files_and_leaks_are_reported(leaky):
    module = given_sides(leaky)
    manifest, rows = module.manifest(), dict(module.summary())
    assert manifest["split"] == {side: read_ids(path) for side, path in leaky.items()}
    assert manifest["leaks"] == {"train_test": 2, "train_val": 0, "val_test": 1, "dropped": False}
    assert rows["split"] == "as given by data.val_root and data.test_root"
    assert rows["leaks"] == (
        "near-duplicates of test articles: 2 in train, 1 in val; data.drop_leaks=true leaves them out"
    )
    assert "near-duplicates" not in rows
    assert "drop_leaks" not in manifest["settings"]


def test_leaks_are_dropped_listed_and_part_of_the_fingerprint(leaky):
    module = given_sides(leaky, "data.drop_leaks=true")
    manifest = module.manifest()
    assert {side: len(ids) for side, ids in manifest["split"].items()} == {"train": 20, "val": 10, "test": 12}
    assert not [name for side in manifest["split"].values() for name in side if name.startswith("copy")]
    assert manifest["left_out"]["by_reason"] == {
        "training article nearly copies a test article": 2, "validation article nearly copies a test article": 1,
    }  # fmt: skip
    written = sum(len(read_ids(path)) for path in leaky.values())
    assert written == 20 + 10 + 12 + 3 == sum(map(len, manifest["split"].values())) + len(module.left_out)
    assert dict(module.summary())["leaks"].endswith("2 in train, 1 in val; left out by data.drop_leaks=true")
    assert manifest["settings"]["drop_leaks"] is True
    assert manifest["fingerprint"] != given_sides(leaky).manifest()["fingerprint"]


def test_moved_sides_keep_the_fingerprint_of_the_run_and_a_second_start_takes_them(leaky, tmp_path):
    first = given_sides(leaky)
    first.save_artifacts(tmp_path / "artifacts")
    shutil.move(tmp_path / "sides", tmp_path / "moved")
    moved = {side: tmp_path / "moved" / path.name for side, path in leaky.items()}
    assert given_sides(moved, artifacts=tmp_path / "artifacts").manifest() == first.manifest()
    swapped = {"train": moved["train"], "val": moved["test"], "test": moved["val"]}
    with pytest.raises(UserError, match="are not those with which"):
        given_sides(swapped, artifacts=tmp_path / "artifacts")


def test_without_a_given_val_side_the_summary_says_how_it_was_drawn(leaky):
    del leaky["val"]
    module = given_sides(leaky, "data.val_fraction=0.25")
    assert dict(module.summary())["split"] == (
        "as given by data.test_root; val drawn from train by data.val_fraction=0.25, at random, stratified by class"
    )
    assert [len(side) for side in module.split.sides().values()] == [16, 6, 12]  # one of four parts of 22


def test_a_column_of_sides_is_named_by_the_summary(tmp_path):
    rows = [f"{n},unlike text {n} {n * 7} {n * 13},{('real', 'fake')[n % 2]},boat,{side}"
            for n, side in enumerate(["train"] * 8 + ["valid"] * 4 + ["test"] * 4 + [""])]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(["id,text,label,caption,subset", *rows]))
    module = set_up(table_config(tmp_path / "t.csv", "data.split=given", "data.columns.split=subset"))
    assert dict(module.summary())["split"] == "as given by column subset"
    assert module.manifest()["split"]["val"] == ["8", "9", "10", "11"]
    assert module.manifest()["left_out"]["by_reason"] == {"no side is given": 1}


def test_a_stored_run_scores_the_given_test_side_where_there_is_one_else_everything(leaky, tmp_path):
    given_sides(leaky).save_artifacts(tmp_path / "artifacts")
    stored = Artifacts.load(tmp_path / "artifacts")

    def score(table, *overrides, **roots):
        scored = encode_folder(table_config(table, *overrides, **roots), [stored], ["text", "visual"])
        return [scored.ids[row] for batch in scored.loaders[0] for row in batch.index], scored

    found, scored = score(leaky["train"], "data.split=given", test_root=leaky["test"])
    assert found == read_ids(leaky["test"])
    assert (scored.scored, scored.other_sides, scored.trained_on) == (12, 22, ([], ["te0", "te1"]))
    assert scored.manifest()["other_sides"] == 22
    found, scored = score(leaky["train"], "data.split=given")  # no article has a side
    assert found == read_ids(leaky["train"])
    assert (scored.scored, scored.other_sides, len(scored.trained_on.by_id)) == (22, 0, 22)
    found, scored = score(leaky["test"])
    assert found == read_ids(leaky["test"])
    assert "other_sides" not in scored.manifest()


def test_a_given_test_side_of_which_nothing_can_be_scored_is_refused(leaky, tmp_path):
    given_sides(leaky).save_artifacts(tmp_path / "artifacts")
    leaky["test"].write_text("id,text,label,caption\nx,no caption,fake,\n")
    data = table_config(leaky["train"], "data.split=given", test_root=leaky["test"])
    with pytest.raises(UserError, match="no article of the given test side has all parts that the model reads"):
        encode_folder(data, [Artifacts.load(tmp_path / "artifacts")], ["text", "visual"])


@pytest.fixture
def chinese(tmp_path):
    """Articles with a clause of their own, whose characters are common, and with an address."""
    draw = np.random.default_rng(0)
    for number in range(40):
        own = "".join(draw.choice(list("公园城市天气道路学校医院数据"), 12))
        text = f"{own}，曝光真相，https://t.cn/a" if number % 2 else f"{own}，记者报告，https://t.cn/b"
        write_article(
            tmp_path / "chinese", f"{('real', 'fake')[number % 2]}/{number:02d}", title=f"{number}园", text=text
        )
    return tmp_path / "chinese"


def test_a_stored_run_cuts_other_articles_and_single_ones_as_its_own(chinese, tmp_path):
    for name, words, keep_urls, expected in (
        ("then", "spaces", True, ["7园", ",", "曝光真相", ",", "https", "://", "t", ".", "cn", "/", "a"]),
        ("now", "auto", False, ["7", "园", ",", *"曝光真相", ",", "url"]),
    ):
        module = datamodule(chinese, f"data.words={words}", f"data.keep_urls={keep_urls}", "data.min_frequency=1")
        module.save_artifacts(tmp_path / name)
        stored = Artifacts.load(tmp_path / name)
        recorded = {key: stored.manifest["settings"].get(key) for key in ("words", "keep_urls")}
        assert recorded == (
            {"words": None, "keep_urls": None} if name == "then" else {"words": "auto", "keep_urls": False}
        )
        asked = Article("x", 1, "7园", "，曝光真相，https://t.cn/a", "看 https://t.cn/a")
        (alone,) = ArticleEncoder(stored, ["text", "visual"]).encode([asked])
        assert alone.text_words == expected
        assert "https" in alone.visual_words  # of a caption addresses stay
        # Whatever the command says of words: the run has its own.
        write_article(tmp_path / f"other_{name}", "fake/x", asked.caption, title=asked.title, text=asked.text)
        data = folder_config(tmp_path / f"other_{name}", "data.words=jieba", "data.batch_size=1")
        (batch,) = encode_folder(data, [stored], ["text", "visual"]).loaders[0]
        assert batch.text_tokens[0].tolist() == alone.text_tokens.tolist()
        assert batch.visual_tokens[0].tolist() == alone.visual_tokens.tolist()
        assert alone.text_tokens[1:].min() > 1


def test_a_run_that_was_begun_before_there_was_a_choice_goes_on_with_its_words(chinese, tmp_path):
    before = datamodule(chinese, "data.words=spaces")
    before.save_artifacts(tmp_path / "artifacts")
    manifest = json.loads((tmp_path / "artifacts" / "data_manifest.json").read_text())
    del manifest["vocabulary"]["unknown"], manifest["digest"]  # which it did not have either
    (tmp_path / "artifacts" / "data_manifest.json").write_text(json.dumps(manifest))
    after = datamodule(chinese, artifacts=tmp_path / "artifacts")
    assert after.data.words == "auto"
    assert after.fingerprint == before.fingerprint
    assert after.prepared.folder == before.prepared.folder
    assert (after.unknown_words, dict(after.summary()).get("unknown words")) == (None, None)
    with pytest.raises(UserError, match="the data settings are not those"):
        datamodule(chinese, "data.keep_urls=false", artifacts=tmp_path / "artifacts")


def test_the_share_of_unknown_words_is_that_of_a_count_by_hand_and_warns(chinese):
    for overrides, ways in (
        (["data.words=spaces", "data.max_text_tokens=4"], ["data.words=auto", "data.min_frequency=1", "more articles"]),
        (["data.min_frequency=51"], ["data.min_frequency=1", "more articles"]),
        (["data.min_frequency=1"], None),
    ):
        module = datamodule(chinese, *overrides)
        shares = module.manifest()["vocabulary"]["unknown"]
        for side, rows in (("val", module.split.val), ("test", module.split.test)):
            tokens = [number for row in rows for number in module.encoded[row].text_tokens[0].tolist()]
            assert shares[side] == pytest.approx(tokens.count(1) / len(tokens))
        told = dict(module.summary())["unknown words"]
        assert told.startswith(f"{shares['val']:.1%} of val and {shares['test']:.1%} of test")
        if max(shares.values()) <= 0.3:
            assert module.unknown_words is None
        else:
            assert told in module.unknown_words
            assert all(way in module.unknown_words for way in ways)
        assert (ways is None) == (module.unknown_words is None)


def test_a_vocabulary_without_words_is_refused(chinese):
    with pytest.raises(
        UserError, match=r"min_frequency=99: no word stands so often in the 25 training articles; .*51 times"
    ):
        datamodule(chinese, "data.min_frequency=99")


def test_incomplete_or_damaged_artifacts_are_refused(root, tmp_path):
    datamodule(root).save_artifacts(tmp_path / "artifacts")
    data = folder_config(root)
    (tmp_path / "artifacts" / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"artifacts: the stored data cannot be read.*Was the copy complete"):
        encode_folder(data, [Artifacts.load(tmp_path / "artifacts")], ["text", "visual"])
    (tmp_path / "artifacts" / "vectors.safetensors").unlink()
    with pytest.raises(UserError, match=r"vectors\.safetensors is missing.*copy it again"):
        encode_folder(data, [Artifacts.load(tmp_path / "artifacts")], ["text", "visual"])


class Recorder(pl.LightningModule):
    """Module that trains nothing and records the articles that it is given in each epoch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {}

    def training_step(self, batch, batch_idx):
        self.seen.setdefault(self.current_epoch, []).append(batch.index.tolist())
        return self.weight * batch.label.sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(root, folder, epochs, resume=None, seed=0, **arguments):
    checkpoint = ModelCheckpoint(folder, save_last=True, save_on_train_epoch_end=arguments.pop("at_epoch_end", True))
    module = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, callbacks=[checkpoint], num_sanity_val_steps=0, **arguments,
    )  # fmt: skip
    trainer.fit(module, datamodule=datamodule(root, seed=seed), ckpt_path=resume)
    return module.seen


@pytest.mark.parametrize("at_epoch_end", [True, False], ids=["saved after the epoch", "saved after validation"])
def test_a_resumed_training_sees_the_articles_in_the_order_of_an_unbroken_one(root, tmp_path, at_epoch_end):
    whole = fit(root, tmp_path / "whole", 6)
    assert list(whole) == list(range(6))
    assert len({str(order) for order in whole.values()}) == 6  # each epoch has an order of its own
    fit(root, tmp_path / "part", 3, at_epoch_end=at_epoch_end)
    resumed = fit(root, tmp_path / "rest", 6, resume=tmp_path / "part" / "last.ckpt")
    assert resumed == {epoch: whole[epoch] for epoch in (3, 4, 5)}
    rows = datamodule(root).split.train
    for epoch, order in whole.items():
        expected = np.random.default_rng([0, epoch]).permutation(rows)
        assert [row for batch in order for row in batch] == expected.tolist()


def test_overfitting_a_few_batches_gives_the_same_ones_in_each_epoch(root, tmp_path):
    seen = fit(root, tmp_path, 3, overfit_batches=1)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real articles lie beside the checkout and are not here")
def test_the_real_articles_go_through_with_real_vectors():
    vectors = replace(VECTORS, path=str(REAL_DATA / "vectors" / "glove.twitter.27B.25d.subset.txt"))
    module = datamodule(REAL_DATA / "politifact78", "data.folds=5", "data.fold=4", vectors=vectors)
    assert module.manifest()["counts"]["all"] == {"articles": 78, "fake": 26, "real": 52}
    assert module.text_vectors.shape[1] == 25
    assert module.manifest()["vocabulary"]["with_vector"] > 0.7 * module.manifest()["vocabulary"]["words"]
    with pytest.raises(
        UserError, match=r"none of the 412 articles has text and visual \(412 × no caption file.*model=text_only"
    ):
        datamodule(REAL_DATA / "fakenewsnet_v1")
