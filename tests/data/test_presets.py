"""data=fakeddit and its like read whole data sets: all rows, all pictures, the right labels, the published sides."""

import csv
import json
from pathlib import Path

import pytest

from safe_exp.config import CONF, VectorsConfig
from safe_exp.data.datamodule import FakeNewsNetDataModule
from tests.commands import run
from tests.data.folders import PREPARED, REAL_DATA
from tests.data.published import WRITERS, Published, draw, sentence, write_json
from tests.made import compose_config

PATCHES = 4  # of a picture, with the grid below
PICTURES = ["captioner=visual_words", "captioner.grids=[2]", "captioner.words=8", "captioner.n_init=1",
            "captioner.sample_patches=64", "captioner.patch_pixels=16"]  # fmt: skip
TEXTS = ["model=text_only"]
FORMATS = REAL_DATA / "formats"
PRESETS = sorted({path.stem for path in (CONF / "data").glob("*.yaml")} - {"fakenewsnet", "synthetic", "table"})


def set_up(overrides: list[str]) -> FakeNewsNetDataModule:
    config = compose_config(*overrides, f"data.prepared={PREPARED}")
    reads = ("text",) if "model=text_only" in overrides else ("visual",)  # some posts have no text
    module = FakeNewsNetDataModule(config.data, config.captioner, VectorsConfig(None, 8, 0), 0, reads=reads)
    module.prepare_data()
    module.setup("fit")
    return module


@pytest.fixture(scope="module", params=PRESETS)
def read(request, tmp_path_factory):
    """Read each copy once; the picture-less one by its texts."""
    made = WRITERS[request.param](tmp_path_factory.mktemp(request.param))
    return made, set_up([*made.overrides, *(PICTURES if any(made.pictures.values()) else TEXTS)])


def check_rows(made: Published, module: FakeNewsNetDataModule) -> None:
    """Compare what was read with what was written: each row once, as an article or with its reason."""
    counted = module.prepared.manifest["left_out"]["by_reason"]
    assert len(module.prepared) + sum(counted.values()) == made.rows
    assert counted == made.unusable
    assert dict(zip(module.prepared.ids, module.prepared.labels.tolist(), strict=True)) == made.labels


def check_pictures(made: Published, module: FakeNewsNetDataModule) -> None:
    """Count the patches of each article in the batches of all sides."""
    reach = {}
    for batches in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for batch in batches:
            patches = (batch.visual_tokens != 0).sum(dim=1).tolist()
            reach |= {module.ids[row]: count for row, count in zip(batch.index.tolist(), patches, strict=True)}
    shown = {article_id: PATCHES * count for article_id, count in made.pictures.items() if count}
    assert reach == shown
    lacking = len(made.pictures) - len(shown)
    assert len(module.left_out) == lacking + sum(made.unusable.values())


def test_each_preset_has_a_copy_and_each_copy_a_preset():
    assert sorted(WRITERS) == PRESETS


def test_every_row_is_an_article_or_counted_and_has_its_label(read):
    check_rows(*read)


def test_every_picture_reaches_the_network(read):
    made, module = read
    if any(made.pictures.values()):
        check_pictures(made, module)
    else:
        assert set(module.prepared.no_visual) != {None}


def test_the_sides_are_the_published_ones(read):
    made, module = read
    sides = {module.ids[row]: side for side, rows in module.split.sides().items() for row in rows}
    assert set(sides.values()) == {"train", "val", "test"}
    published = {article_id: side for article_id, side in made.sides.items() if article_id in sides}
    if "val" not in published.values():  # cut from training
        assert 1 <= list(sides.values()).count("val") <= len(sides) / 4
        sides = {article_id: "train" if side == "val" else side for article_id, side in sides.items()}
    assert published in ({}, sides)


@pytest.mark.parametrize("name", PRESETS)
def test_the_header_of_a_preset_has_its_command_and_its_terms(name):
    header = (CONF / "data" / f"{name}.yaml").read_text(encoding="utf-8").partition("defaults:")[0]
    (command,) = [line for line in header.splitlines() if line.startswith("#   python -m")]
    assert f"data={name} " in command
    assert "https://" in header
    assert any(word in header for word in ("icence", "CC BY", "Apache"))
    overrides = command.split()[4:]
    compose_config(*overrides)


def test_a_preset_can_be_looked_at_without_its_files(tmp_path):
    done = run("prepare", "data=weibo", "data.root=absent", "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rumor" in done.stdout


def published_formats(name: str, folder: Path) -> Published:
    """Count an internal copy of the published form by the standard library alone."""
    sides = {"data.split=random", "data.val_root=null", "data.test_root=null"}
    made = Published([f"data={name}", *sorted(sides)])
    if name == "fakeddit":
        made.overrides += [f"data.root={FORMATS / 'fakeddit_train.tsv'}", f"data.images={FORMATS / 'fakeddit_images'}"]
        with (FORMATS / "fakeddit_train.tsv").open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle, delimiter="\t"):
                pictured = (FORMATS / "fakeddit_images" / f"{row['id']}.jpg").exists()
                made.add(row["id"], int(row["2_way_label"] == "0"), int(pictured))
    elif name == "mediaeval":
        images = FORMATS / "mediaeval_images"
        made.overrides += [f"data.root={FORMATS / 'mediaeval_tweets.txt'}", f"data.images={images}"]
        for line in (FORMATS / "mediaeval_tweets.txt").read_text(encoding="utf-8").splitlines()[1:]:
            cells = line.split("\t")
            pictures = sum((images / f"{image}.jpg").exists() for image in cells[3].split(","))
            made.add(cells[0], int(cells[6] != "real"), pictures)
    elif name == "weibo":
        made.overrides = ["data=weibo", f"data.root={FORMATS / 'weibo'}"]
        for path in sorted((FORMATS / "weibo" / "tweets").glob("*.txt")):
            lines = path.read_text(encoding="utf-8").splitlines()
            side, _, kind = path.stem.partition("_")
            for head, addresses in zip(lines[::3], lines[1::3], strict=True):
                names = [address.rpartition("/")[2] for address in addresses.split("|")[:-1]]
                pictures = sum((FORMATS / "weibo" / f"{kind}_images" / image).exists() for image in names)
                made.add(head.split("|")[0], int(kind == "rumor"), pictures, side)
    elif name == "dgm4":
        made.overrides += [f"data.root={FORMATS / 'dgm4_train.json'}", f"data.images={FORMATS / 'dgm4_images'}"]
        for number, pair in enumerate(json.loads((FORMATS / "dgm4_train.json").read_text(encoding="utf-8")), 1):
            made.add(f"row {number}", int(pair["fake_cls"] != "orig"), 1)
    elif name == "mmfakebench":
        images = FORMATS / "mmfakebench_images"
        made.overrides += [f"data.root={FORMATS / 'mmfakebench_val.json'}", f"data.images={images}"]
        for number, pair in enumerate(json.loads((FORMATS / "mmfakebench_val.json").read_text(encoding="utf-8")), 1):
            made.add(f"row {number}", int(pair["gt_answers"] == ["Fake"]), 1)
    elif name == "newsclippings":  # VisualNews is not there, and is drawn
        made.overrides += [f"data.root={FORMATS / 'newsclippings_val.json'}", f"data.visual_news={folder}"]
        pairs = json.loads((FORMATS / "newsclippings_val.json").read_text(encoding="utf-8"))["annotations"]
        ids = {pair[key] for pair in pairs for key in ("id", "image_id")}
        for article_id in ids:
            draw(folder / f"{article_id}.png", article_id)
        write_json(
            folder / "data.json",
            [{"id": key, "caption": sentence(key), "image_path": f"./{key}.png", "source": "bbc"} for key in ids],
        )
        for pair in pairs:
            made.add(f"{pair['id']}-{pair['image_id']}", int(pair["falsified"]), 1)
    elif name == "recovery":
        images = FORMATS / "recovery_images"
        made.overrides += [f"data.root={FORMATS / 'recovery_news_data.csv'}", f"data.images={images}"]
        with (FORMATS / "recovery_news_data.csv").open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                pictured = (images / f"{row['news_id']}.jpg").exists()
                made.add(row["news_id"], int(row["reliability"] == "0"), int(pictured))
    return made


@pytest.mark.skipif(not FORMATS.is_dir(), reason="the copies of the published forms lie beside the checkout")
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "gossipcop"])
def test_internal_copies_of_the_published_forms_are_read_whole(name, tmp_path):
    made = published_formats(name, tmp_path / "drawn")
    assert made.rows >= 60
    module = set_up([*made.overrides, *PICTURES])
    check_rows(made, module)
    check_pictures(made, module)


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real articles lie beside the checkout and are not here")
@pytest.mark.slow
def test_gossipcop_itself_is_read_whole():
    module = set_up(["data=gossipcop", f"data.root={REAL_DATA / 'gossipcop' / 'gossipcop.parquet'}", *TEXTS])
    counts = module.prepared.manifest["counts"]
    assert (counts["all"]["articles"], counts["fake"]["articles"], counts["real"]["articles"]) == (11843, 3287, 8556)
    assert module.left_out == []
