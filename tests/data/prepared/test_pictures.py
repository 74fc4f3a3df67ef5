"""No image outside the reader's folder is read, whatever a reader names; several pictures of an article are joined."""

import pickle
import shutil
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from safe_exp.data.encoded import encode_prepared
from safe_exp.data.prepared import PreparedArticles, pictures, prepare
from safe_exp.data.prepared.counts import describe_images
from safe_exp.data.prepared.description_cache import DescriptionCache, describe_all
from safe_exp.data.prepared.parts import article_digest
from safe_exp.data.prepared.pictures import describe_pictures
from safe_exp.data.reading.articles import StoredPicture
from safe_exp.data.reading.readers import build_reader
from safe_exp.system.files import checksums, write_json
from tests.data.damage import encoded, picture
from tests.data.picture_tables import GALLERIES, PATCHES, picture_bytes, single_pictures, table_config, write_table
from tests.made import compose_config


@pytest.fixture
def described(tmp_path):
    """The facts of one image file, by its place relative to the folder `articles`."""
    (tmp_path / "articles").mkdir()
    config = compose_config("captioner=visual_words").captioner

    def describe(file, downloaded=()):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(encoded(picture(), "PNG"))
        path = tmp_path / file
        facts = describe_pictures([path], tmp_path / "articles", downloaded, config, tmp_path / "cache", lambda _: None)
        return facts[path]

    return describe


def test_an_image_in_the_folder_is_read(described):
    assert "image_hash" in described("articles/a.png")


def test_an_image_elsewhere_is_left_out(described):
    assert described("elsewhere/a.png")["unusable"].reason == "image file lies outside data.root"


def test_a_downloaded_image_lies_elsewhere_and_is_read(described, tmp_path):
    assert "image_hash" in described("elsewhere/a.png", {tmp_path / "elsewhere" / "a.png"})


# Several pictures an article, from a table to the batch.


@pytest.fixture
def singles():
    return single_pictures()


def test_every_picture_in_a_parquet_table_reaches_the_batch(singles):
    assert singles.prepared.manifest["images"] == {
        "named": 40, "used": 40, "beyond_max_visual_tokens": 0, "unusable": {}
    }  # fmt: skip
    batches = [
        batch
        for loader in (singles.train_dataloader(), singles.val_dataloader(), singles.test_dataloader())
        for batch in loader
    ]
    patches = torch.cat([(batch.visual_tokens > 0).sum(1) for batch in batches])
    assert patches.tolist() == [PATCHES] * 40
    assert len({tuple(row) for batch in batches for row in batch.visual_tokens.tolist()}) > 30  # of noise, all differ


def test_a_picture_in_a_table_gives_the_words_that_its_file_gives(singles, tmp_path):
    rows = ["id,label,text,image"]
    for number in range(40):
        (tmp_path / f"p{number}.png").write_bytes(picture_bytes(number))
        rows.append(
            f"a{number},{'fake' if number % 2 else 'real'},{f'body number {number} ' * (1 + number % 5)},p{number}"
        )
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    data, captioner = table_config(tmp_path / "t.csv")
    prepared = prepare(data, captioner)
    np.testing.assert_array_equal(prepared.descriptors, singles.prepared.descriptors)
    assert prepared.fingerprint == singles.prepared.fingerprint  # the same articles with the same pictures


def several(tmp_path, galleries, *overrides):
    data, captioner = table_config(write_table(tmp_path / "t.parquet", galleries), *overrides)
    return prepare(data, captioner)


def test_the_words_of_several_pictures_are_those_of_each_one_after_the_other(singles, tmp_path):
    prepared = several(tmp_path, GALLERIES, "data.max_visual_tokens=100")
    stored = singles._stored
    alone = singles.encoded  # article n of this data set has picture n alone
    found = encode_prepared(prepared, stored.tokenizer, stored.codebook)
    for row, numbers in enumerate(GALLERIES):
        expected = [alone[number].visual_tokens[0] for number in numbers if number is not None]
        if row == 6:
            expected = expected[:1]  # each picture of an article is used once
        words = torch.cat([torch.zeros(0, dtype=torch.int64), *expected])
        assert found[row].visual_tokens[0].tolist() == words.tolist()
        assert found[row].visual_lengths.tolist() == [PATCHES * len(expected)]
    assert found.visual.widths.tolist() == [15, 5, 0, 5, 15, 0, 5]
    assert prepared.manifest["images"] == {
        "named": 12, "used": 9, "beyond_max_visual_tokens": 0, "unusable": {"not an image": 3}
    }  # fmt: skip
    assert prepared.no_visual[1] is None
    assert (prepared.no_visual[2], prepared.no_visual[5]) == ("no image", "not an image")


@pytest.mark.parametrize(("bound", "used", "beyond"), [(1, [1, 1, 0, 1, 1, 0, 1], 4), (14, [2, 1, 0, 1, 2, 0, 1], 2)])
def test_pictures_beyond_the_bound_are_counted_and_not_described(bound, used, beyond, tmp_path):
    prepared = several(tmp_path, GALLERIES, f"data.max_visual_tokens={bound}")
    assert prepared.descriptor_count.tolist() == used
    assert len(prepared.descriptors) == sum(used)
    images = prepared.manifest["images"]
    assert (images["used"], images["beyond_max_visual_tokens"]) == (sum(used), beyond)
    assert images["named"] == sum(used) + beyond + sum(images["unusable"].values())
    told = describe_images(images, bound)
    assert told == f"12 named, {sum(used)} used, {beyond} beyond data.max_visual_tokens={bound}; 3 × not an image"


def test_a_picture_that_the_network_does_not_read_is_none_that_repeats(tmp_path):
    galleries = [[number, 9] for number in range(4)]
    beyond = several(tmp_path, galleries, "data.max_visual_tokens=1", "data.drop_repeated=true")
    assert beyond.manifest["repeated"]["pictures"] == []
    assert beyond.has_visual().all()
    read = several(tmp_path, galleries, "data.max_visual_tokens=100")
    assert [item["articles"] for item in read.manifest["repeated"]["pictures"]] == [4]


def test_the_codebook_is_fitted_to_all_pictures_of_the_training_articles(tmp_path):
    prepared = several(tmp_path, GALLERIES, "data.max_visual_tokens=100")
    assert prepared.image_rows(np.array([4, 0, 2, 3])).tolist() == [5, 6, 7, 0, 1, 2, 4]
    assert prepared.image_rows(np.array([2, 5])).tolist() == []


def test_articles_that_share_any_picture_are_near_duplicates(tmp_path):
    prepared = several(tmp_path, [[1, 2], [3, 4], [4, 5], [6]], "data.max_visual_tokens=1")
    assert prepared.groups.tolist() == [0, 1, 1, 2]


def test_the_digest_covers_every_picture_and_of_one_is_what_it_was():
    row = {"id": "a", "label": 1, "text": "t", "caption": "", "image_hash": "x"}
    alone = article_digest(row)
    assert alone == article_digest(row | {"image_hashes": None})
    assert alone == "959bdbf32e210479d6b6756f9fc4c35acad7841c8aaab78036e7f9c29a8aac94"
    assert (
        len(
            {
                alone,
                article_digest(row | {"image_hashes": ["x", "y"]}),
                article_digest(row | {"image_hashes": ["x", "z"]}),
            }
        )
        == 3
    )


def test_prepared_data_of_one_picture_an_article_made_before_there_were_several_are_opened(singles):
    folder = singles.prepared.folder
    table = pq.read_table(folder / "articles.parquet")
    manifest = singles.prepared.manifest
    before = folder.with_name("before")
    shutil.copytree(folder, before)
    pq.write_table(table.drop_columns("descriptor_count"), before / "articles.parquet")
    files = manifest["files"] | checksums(before, ["articles.parquet"])
    write_json(before / "manifest.json", {**manifest, "files": files})
    opened = PreparedArticles.open(before)
    assert opened.descriptor_count.tolist() == [1] * 40
    assert opened.image_rows(np.arange(40)).tolist() == list(range(40))


def test_sentences_of_several_pictures_are_joined_in_their_order(tmp_path, monkeypatch):
    class Captioner:
        settings, batch_size = {"name": "colours"}, 2

        def describe(self, images):
            return ["" if image.size[0] == 9 else f"{image.size[0]} wide" for image in images]

    monkeypatch.setattr(pictures, "_open_captioner", lambda *_: partial(describe_all, captioner, cache))
    captioner = Captioner()
    cache = DescriptionCache(tmp_path, captioner)
    for width in (9, 10, 11, 12):
        (tmp_path / f"{width}.png").write_bytes(encoded(picture((width, 20)), "PNG"))
    rows = ["10|9|11|12", "12|10", "9", "9|11"]
    table = "".join(f"{n},{'fake' if n % 2 else 'real'},text {n},{cell}\n" for n, cell in enumerate(rows))
    (tmp_path / "t.csv").write_text(f"id,label,text,image\n{table}", encoding="utf-8")
    data, config = table_config(tmp_path / "t.csv", "data.image_separator='|'", "data.max_visual_tokens=4")
    prepared = prepare(data, config)
    sentences = [row["caption"] for row in prepared.contents(np.arange(4))]
    assert sentences == ["10 wide 11 wide", "12 wide 10 wide", "", "11 wide"]
    assert prepared.no_visual == [None, None, "caption has no words", None]
    assert prepared.caption_cut.tolist() == [True, False, False, False]
    assert prepared.manifest["images"] == {
        "named": 9, "used": 5, "beyond_max_visual_tokens": 1, "unusable": {"caption has no words": 3}
    }  # fmt: skip


def test_pictures_in_a_table_are_sent_to_other_processes(tmp_path):
    reader = build_reader(*table_config(write_table(tmp_path / "t.parquet", [[1], [2, 3]])))
    items = pickle.loads(pickle.dumps(list(reader.items())))
    assert [article.images for article in map(reader.read, items)] == [
        (StoredPicture("1.png", picture_bytes(1)),),
        (StoredPicture("2.png", picture_bytes(2)), StoredPicture("3.png", picture_bytes(3))),
    ]
