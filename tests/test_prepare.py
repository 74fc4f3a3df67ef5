"""python -m safe_exp.prepare, and train and evaluate on prepared articles, as a user runs them."""

import re
import shutil
from pathlib import Path

import pytest

from tests.commands import SMALL, only_run, read_json, read_rows, run
from tests.data.folders import REAL_DATA, write_article, write_folder

READ = ("data=fakenewsnet", "data.root=articles")


@pytest.fixture
def place(tmp_path):
    write_folder(tmp_path / "articles")
    (write_article(tmp_path / "articles", "fake/broken") / "news_article.json").write_text("{")
    return tmp_path


def test_prepare_says_what_is_there_and_train_takes_it(place):
    done = run("prepare", *READ, cwd=place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"fake +│ +20 │ +20 │ +20 │ +20", done.stdout)
    assert "Left out: 1 × article file is not valid JSON" in done.stdout
    manifest = read_json(only_run(place) / "manifest.json")
    assert manifest["left_out"]["articles"][0]["path"] == "fake/broken"
    assert Path(manifest["folder"]).is_dir()
    before = {path: path.stat().st_mtime_ns for path in Path(manifest["folder"]).iterdir()}
    done = run("train", *SMALL[1:], *READ, cwd=place)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in Path(manifest["folder"]).iterdir()} == before
    (finished,) = place.glob("outputs/*/*/metrics.json")
    assert (
        read_json(finished.parent / "artifacts" / "data_manifest.json")["prepared"]["fingerprint"]
        == (manifest["fingerprint"])
    )


def test_four_shards_give_the_fingerprint_of_one_process(place):
    one = run("prepare", *READ, "data.prepared=one", "hydra.run.dir=run-one", cwd=place)
    assert one.returncode == 0, one.stderr
    shards = run("prepare", "-m", *READ, "data.prepared=four", "data.shards=4", "data.shard=0,1,2,3", cwd=place)
    assert shards.returncode == 0, shards.stderr
    assert "Shard 3 of 4 is complete" in shards.stderr
    joined = run("prepare", *READ, "data.prepared=four", "data.shards=4", "hydra.run.dir=run-four", cwd=place)
    assert joined.returncode == 0, joined.stderr
    prints = [read_json(place / folder / "manifest.json")["fingerprint"] for folder in ("run-one", "run-four")]
    assert prints[0] == prints[1]


@pytest.mark.slow
def test_four_shards_run_with_the_local_launcher_of_clusters(place):
    shards = run(
        "prepare", "-m", *READ, "data.shards=4", "data.shard=0,1,2,3", "hydra/launcher=submitit_local", cwd=place
    )
    assert shards.returncode == 0, shards.stderr
    joined = run("prepare", *READ, "data.shards=4", cwd=place)
    assert joined.returncode == 0, joined.stderr
    assert "40 articles" in joined.stderr


def test_a_lost_shard_is_named(place):
    run("prepare", *READ, "data.shards=2", "data.shard=1", cwd=place)
    done = run("prepare", *READ, "data.shards=2", cwd=place)
    assert done.returncode == 1
    assert (
        "1 of 2 shards are not complete: 0. Run it with the same command and data.shards=2 data.shard=0" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data.shard=1"], r"data\.shard=1 has no meaning without data\.shards"),
        (["data.shards=2", "data.shard=2"], r"data\.shard=2: expected 0 to 1"),
        (["data.require=[sound]"], r"data\.require=\['sound'\]: expected \[text\], \[visual\] or \[text,visual\]"),
        (["data.labels.fake=[real]"], r"the word 'real' is given twice"),
        (["data.download.concurrency=0"], r"data\.download\.concurrency=0: expected a number from 1"),
        (["data=table", "data.image_pattern=all.jpg"], r"all rows would have the same image\. Name a column in braces"),
        (["data=table", "data.image_separator=''"], r"data\.image_separator='': expected the character between"),
        (["data.strict=true"], r"fake/broken: article file is not valid JSON .*data\.strict=false"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_advice(arguments, message, place):
    done = run("prepare", *READ, *arguments, cwd=place)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_articles_without_images_train_the_model_that_reads_none(place):
    for caption in place.glob("articles/*/*/caption.txt"):
        caption.unlink()
    refused = run("train", *SMALL[1:], *READ, cwd=place)
    assert refused.returncode == 1
    assert re.search(
        r"none of the 40 articles has text and visual \(40 × no caption file.*model=text_only", refused.stderr
    )
    done = run("train", *SMALL[1:], *READ, "model=text_only", "hydra.run.dir=run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "of 40: 40 with text, 0 with an image or caption, 0 with both" in done.stderr


@pytest.mark.slow
def test_a_run_on_visual_words_is_carried_away_and_scores_new_pictures(tmp_path):
    """Train from pictures to metrics, delete the data, score others with the run alone, in any order and number."""
    made = run("train", *SMALL, "captioner=visual_words", "captioner.words=16", "hydra.run.dir=run", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    new = tmp_path / "new"
    run("prepare", "data.articles=30", "data.seed=5", cwd=tmp_path)  # makes other articles
    shutil.move(next((tmp_path / "data" / "synthetic").glob("articles30_*")), new)
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    scores, stored = [], ("run=elsewhere", "data=fakenewsnet")
    for number, arguments in enumerate((["data.batch_size=16"], ["data.batch_size=1"])):
        folder = f"evaluated-{number}"
        done = run("evaluate", *stored, "data.root=new", f"hydra.run.dir={folder}", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        rows = read_rows(tmp_path / folder / "predictions.csv")
        scores.append({row["id"]: float(row["probability"]) for row in rows})
    assert len(scores[0]) == 30
    assert scores[0] == pytest.approx(scores[1], abs=2e-6)
    alone = tmp_path / "alone" / "fake"
    alone.mkdir(parents=True)
    chosen = sorted((new / "fake").iterdir())[3]
    shutil.copytree(chosen, alone / chosen.name)
    done = run("evaluate", *stored, "data.root=alone", "hydra.run.dir=one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "one" / "predictions.csv")
    assert float(row["probability"]) == pytest.approx(scores[0][row["id"]], abs=2e-6)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="needs the real articles, which are not part of the project")
def test_real_articles_with_photographs_go_from_images_to_metrics(tmp_path):
    arguments = ["data=fakenewsnet", f"data.root={REAL_DATA / 'recovery'}", "captioner=visual_words"]
    done = run("train", *arguments, "data.split=source", "trainer.max_epochs=2", "hydra.run.dir=source", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        sum(read_json(tmp_path / "source" / "metrics.json")["data"][side] for side in ("train", "val", "test")) == 874
    )
    assert "data.split=source keeps" not in done.stderr
    done = run("train", *arguments, "trainer.max_epochs=1", "hydra.run.dir=random", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "data.split=source keeps whole publishers on one side" in done.stderr
