"""The choice of example articles, and the safe reading of their files."""

import base64
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from safe_exp.data.reading.articles import StoredPicture
from safe_exp.reporting.case_study import choose_cases, read_content, shorten, thumbnail
from safe_exp.reporting.conditions import group
from safe_exp.sweep.folder import read_sweep
from tests.data.folders import write_article
from tests.reporting.made_sweep import ARTICLES, write_job


def write_and_read_job(sweep, root, *overrides):
    write_job(sweep, 0, *overrides, root=root)
    return read_sweep(sweep).jobs[0]


def picture(path, size=(800, 400), **options):
    Image.new("RGB", size, "#aa5500").save(path, **options)
    return path


def decoded(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_the_most_and_the_least_similar_of_each_class_are_shown(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    cases = choose_cases(group(read_sweep(tmp_path)).winner, 1)
    assert {heading: [case.id for case in found] for heading, found in cases.items()} == {
        "Fake, text and image least alike": ["fake/a1"],
        "Fake, text and image most alike": ["fake/a3"],
        "Real, text and image least alike": ["real/b3"],
        "Real, text and image most alike": ["real/b1"],
    }
    wrong = cases["Fake, text and image most alike"][0]
    assert (wrong.similarity, wrong.probability, wrong.right) == (0.7, 0.4, False)
    path = tmp_path / "0" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["test"]["thresholds"] = {"prediction": 0.35}  # as a run with threshold=best has found
    path.write_text(json.dumps(metrics))
    (again,) = choose_cases(group(read_sweep(tmp_path)).winner, 1)["Fake, text and image most alike"]
    assert (again.id, again.right) == (wrong.id, True)


def test_no_article_is_shown_twice(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    shown = [case.id for found in choose_cases(group(read_sweep(tmp_path)).winner, 2).values() for case in found]
    assert sorted(shown) == sorted(article[0] for article in ARTICLES)


def test_figures_are_means_over_the_jobs(tmp_path):
    write_job(tmp_path, 0, "seed=0")
    write_job(tmp_path, 1, "seed=1", articles=[("fake/a1", 1, 0.5, 0.6)])
    case = choose_cases(group(read_sweep(tmp_path)).winner, 3)["Fake, text and image least alike"][0]
    assert (case.id, case.similarity, case.probability) == ("fake/a1", pytest.approx(0.4), pytest.approx(0.7))


def test_an_article_is_read_from_the_root_that_the_config_records(tmp_path):
    folder = write_article(tmp_path / "data", "fake/a1", title="A title", text="A text", caption="a boat\n")
    picture(folder / "image.jpg")
    content = read_content(write_and_read_job(tmp_path / "sweep", tmp_path / "data"), "fake/a1")
    assert (content.title, content.text, content.caption) == ("A title", "A text", "a boat")
    assert content.image == (tmp_path / "data/fake/a1/image.jpg").resolve()


def test_a_relative_root_starts_where_the_job_was_started(tmp_path, monkeypatch):
    write_article(tmp_path / "sweep" / "data", "fake/a1")
    job = write_and_read_job(tmp_path / "sweep", "data")
    monkeypatch.chdir(tmp_path)
    assert read_content(job, "fake/a1").title == "title fake/a1"


def test_the_built_in_articles_are_found_in_the_folder_of_their_settings(tmp_path):
    overrides = ("data.name=synthetic", "data.articles=20", "data.cue_strength=0.5", "data.mismatch_strength=0.9",
                 "data.seed=0")  # fmt: skip
    job = write_and_read_job(tmp_path / "sweep", tmp_path, *overrides)
    assert read_content(job, "fake/a1") is None
    from safe_exp.data.synthetic.folder import GENERATOR_VERSION

    write_article(tmp_path / f"articles20_cue0.5_mismatch0.9_seed0_v{GENERATOR_VERSION}", "fake/a1")
    assert read_content(job, "fake/a1").title == "title fake/a1"


def test_an_article_of_a_table_is_found_by_its_id_and_shortened(tmp_path):
    columns = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}
    table = tmp_path / "t.csv"
    table.write_text(
        f"id,title,text,label,image,caption\na,One,{'word ' * 500},true,i.png,a boat\na,Two,again,true,i.png,\n",
        encoding="utf-8",
    )
    picture(tmp_path / "i.png")
    labels = {"fake": ["true"], "real": ["false"]}
    job = write_and_read_job(tmp_path / "sweep", table, "data.name=table", f"data.columns={json.dumps(columns)}",
                 "data.images=null", f"data.labels={json.dumps(labels)}")  # fmt: skip
    content = read_content(job, "a")
    assert (content.title, content.caption, content.image) == ("One", "a boat", (tmp_path / "i.png").resolve())
    assert content.text == shorten("word " * 500)
    assert read_content(job, "b") is None


def test_a_picture_that_lies_in_the_table_is_shown_and_all_others_are_not_kept(tmp_path):
    contents = [picture(tmp_path / f"{n}.png", (80, 8 * n)).read_bytes() for n in (1, 2)]
    rows = [{"id": f"a{n}", "text": "x", "label": "true", "image": {"bytes": content, "path": f"{n}.png"}}
            for n, content in enumerate(contents)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    columns = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}
    labels = {"fake": ["true"], "real": ["false"]}
    job = write_and_read_job(tmp_path / "sweep", tmp_path / "t.parquet", "data.name=table", "data.images=null",
                 f"data.columns={json.dumps(columns)}", f"data.labels={json.dumps(labels)}")  # fmt: skip
    assert read_content(job, "a1").image == StoredPicture("1.png", contents[1])
    assert decoded(thumbnail(read_content(job, "a1").image)).size == (80, 16)


def test_a_test_article_is_found_in_the_root_of_its_side(tmp_path):
    write_article(tmp_path / "train", "fake/a1", title="trained on")
    write_article(tmp_path / "test", "fake/a1", title="tested on")
    job = write_and_read_job(tmp_path / "sweep", tmp_path / "train", f"data.test_root={tmp_path}/test")
    assert read_content(job, "test/fake/a1").title == "tested on"
    assert read_content(job, "train/fake/a1").title == "trained on"  # by its own words an article for the test
    assert read_content(job, "test/../../test/fake/a1") is None
    for side in ("train", "test"):
        (tmp_path / f"{side}.csv").write_text(f"id,title,label\n7,of {side},fake\n,row of {side},real\n")
    columns = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date")}
    table = ("data.name=table", f"data.columns={json.dumps(columns)}", "data.images=null")
    job = write_and_read_job(
        tmp_path / "tables", tmp_path / "train.csv", *table, f"data.test_root={tmp_path}/test.csv"
    )  # fmt: skip
    assert read_content(job, "7").title == "of test"
    assert read_content(job, "test/7").title == "of test"
    assert read_content(job, "test/row 2").title == "row of test"


def test_paths_beside_the_root_start_where_the_job_was_started_too(tmp_path, monkeypatch):
    home = tmp_path / "sweep"
    (home / "pictures").mkdir(parents=True)
    picture(home / "pictures" / "i.png")
    (home / "train.csv").write_text("id,title,label,image\n1,trained on,fake,i.png\n", encoding="utf-8")
    (home / "test.csv").write_text("id,title,label,image,split\n2,tested on,fake,i.png,extra\n", encoding="utf-8")
    columns = {name: name for name in ("id", "title", "text", "label", "image", "caption", "source", "date", "split")}
    job = write_and_read_job(home, "train.csv", "data.name=table", "data.split=given", "data.test_root=test.csv",
                 "data.images=pictures", f"data.columns={json.dumps(columns)}")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert read_content(job, "2").title == "tested on"  # whatever side its own column names
    assert read_content(job, "2").image == (home / "pictures" / "i.png").resolve()


def test_articles_of_an_unknown_kind_have_no_content(tmp_path):
    write_article(tmp_path / "data", "fake/a1")
    assert (
        read_content(write_and_read_job(tmp_path / "sweep", tmp_path / "data", "data.name=theirs"), "fake/a1") is None
    )


def test_missing_or_damaged_articles_have_no_content(tmp_path):
    job = write_and_read_job(tmp_path / "sweep", tmp_path / "data")
    assert read_content(job, "fake/a1") is None
    folder = write_article(tmp_path / "data", "fake/a1", caption=None, title=None)
    assert read_content(job, "fake/other") is None
    content = read_content(job, "fake/a1")
    assert (content.title, content.caption, content.image) == ("", None, None)
    (folder / "news_article.json").write_text("[1, 2")
    assert read_content(job, "fake/a1") is None


@pytest.mark.parametrize("article_id", ["../secret", "fake/../../secret", "/{}/secret", "fake/link"])
def test_an_id_cannot_name_a_place_outside_the_root(tmp_path, article_id):
    write_article(tmp_path, "secret", title="a secret")
    (tmp_path / "data" / "fake").mkdir(parents=True)
    (tmp_path / "data" / "fake" / "link").symlink_to(tmp_path / "secret")
    job = write_and_read_job(tmp_path / "sweep", tmp_path / "data")
    assert read_content(job, article_id.format(tmp_path)) is None


def test_a_link_to_an_image_outside_the_root_is_not_followed(tmp_path):
    folder = write_article(tmp_path / "data", "fake/a1")
    (folder / "image.png").symlink_to(picture(tmp_path / "private.png"))
    assert read_content(write_and_read_job(tmp_path / "sweep", tmp_path / "data"), "fake/a1").image is None


def test_a_thumbnail_is_small_and_holds_pixels_only(tmp_path):
    metadata = Image.Exif()
    metadata[0x010E] = "a private description"
    path = picture(tmp_path / "image.jpg", exif=metadata, comment=b"a private comment")
    small = decoded(thumbnail(path))
    assert small.size == (320, 160)
    assert not small.getexif()
    assert "private" not in str(small.info)


def test_a_picture_with_transparency_gets_a_thumbnail(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 128)).save(tmp_path / "image.png")
    assert decoded(thumbnail(tmp_path / "image.png")).mode == "RGB"


def test_a_file_that_is_no_picture_or_too_large_has_no_thumbnail(tmp_path, monkeypatch):
    (tmp_path / "image.png").write_text("<svg onload='alert(1)'/>")
    assert thumbnail(tmp_path / "image.png") is None
    assert thumbnail(tmp_path / "missing.png") is None
    whole = picture(tmp_path / "image.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert thumbnail(tmp_path / "cut.jpg") is None
    monkeypatch.setattr("safe_exp.data.reading.images.MAX_PIXELS", 100)
    assert thumbnail(tmp_path / "image.jpg") is None


def test_a_long_text_is_cut_between_words():
    assert shorten("a  b\nc") == "a b c"
    cut = shorten("word " * 500)
    assert cut.endswith("word …")
    assert len(cut) <= 702
    assert shorten("标题 " + "京" * 900) == "标题 " + "京" * 697 + " …"  # no blank at the end of a Chinese word
