import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from safe_exp.data.reading.readers.fakenewsnet import FolderReader
from safe_exp.data.synthetic import folder as folder_module
from safe_exp.data.synthetic import synthetic_folder, write_synthetic
from safe_exp.data.synthetic.plan import PUBLISHERS, plan_article
from safe_exp.data.synthetic.stories import write_caption, write_story
from safe_exp.system.errors import UserError
from tests.made import compose_config


def make_config(root, *overrides):
    return compose_config("data=synthetic", f"data.root={root}", "data.articles=40", *overrides).data


def content_hash(folder):
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def test_the_same_settings_give_the_same_bytes(tmp_path):
    one = write_synthetic(make_config(tmp_path / "one"))
    two = write_synthetic(make_config(tmp_path / "two"))
    assert one.name == two.name
    assert content_hash(one) == content_hash(two)
    other = write_synthetic(make_config(tmp_path / "one", "data.seed=1"))
    assert other != one
    assert content_hash(other) != content_hash(one)


def test_words_are_the_same_on_every_machine():
    # If this fails, the articles have changed: raise GENERATOR_VERSION in synthetic/folder.py, and then this number.
    config = make_config("unused")
    plans = [plan_article(number, config) for number in range(20)]
    words = "\n".join("\n".join((*write_story(plan, config), write_caption(plan, config))) for plan in plans)
    assert (folder_module.GENERATOR_VERSION, hashlib.sha256(words.encode()).hexdigest()[:16]) == (1, "52073ce52ad1acb2")


def test_the_folder_is_read_like_any_other(tmp_path):
    config = make_config(tmp_path)
    root = write_synthetic(config)
    reader = FolderReader(str(root), config.labels, "caption.txt")
    articles = [reader.read(item) for item in reader.items()]
    assert (len(articles), sum(a.label for a in articles), reader.stray()) == (40, 20, [])
    for article in articles:
        assert 40 <= len(article.title_and_text.split()) <= 120
        assert article.source in PUBLISHERS
        assert article.date[:2] == "20"
        assert "{" not in article.title_and_text + article.caption
        with Image.open(root / article.id / "image.png") as image:
            assert image.size == (160, 120)
            assert len(image.getcolors(160 * 120)) > 50


def test_captions_say_what_is_in_the_picture_and_real_stories_mostly_tell_it(tmp_path):
    config = make_config(tmp_path)
    for number in range(40):
        plan = plan_article(number, config)
        caption, (title, text) = write_caption(plan, config), write_story(plan, config)
        assert f"{plan.picture.colour} {plan.picture.subject}" in caption
        assert plan.picture.place in caption
        told = plan.picture.subject in re.findall(r"\w+", f"{title} {text}".lower())
        assert told == (not plan.from_archive)


def test_an_existing_folder_is_used_again(tmp_path):
    folder = write_synthetic(make_config(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_synthetic(make_config(tmp_path)) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_writer_that_is_stopped_leaves_nothing_that_could_be_taken_for_whole(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "draw_picture", stop)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(make_config(tmp_path))
    assert not synthetic_folder(make_config(tmp_path)).exists()
    assert list(tmp_path.iterdir()) == []
    assert write_synthetic(make_config(tmp_path)).is_dir()


def test_two_writers_at_once_leave_one_whole_folder(tmp_path):
    config = make_config(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(write_synthetic, [config] * 4))
    assert list(tmp_path.iterdir()) == list(folders)
    assert len(list(folders.pop().glob("*/*/image.png"))) == 40


def test_a_root_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"data\.root=\S+file: .*cannot be written.*Name a folder"):
        write_synthetic(make_config(tmp_path / "file"))


def test_articles_of_somebody_s_own_are_not_mixed_with_made_ones(tmp_path):
    config = compose_config(f"data.root={tmp_path / 'mine'}").data
    (tmp_path / "mine" / "fake").mkdir(parents=True)
    with pytest.raises(UserError, match=r"holds fake\. For articles of your own .* data=fakenewsnet data\.root="):
        write_synthetic(config)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["fake"]


def test_words_alone_fall_clearly_short_of_the_ideal():
    config = compose_config("data=synthetic").data
    plans = [plan_article(number, config) for number in range(800)]
    texts = [" ".join(write_story(plan, config)) for plan in plans]
    model = make_pipeline(CountVectorizer(binary=True), LogisticRegression(C=0.3))
    auroc = cross_val_score(model, texts, [plan.label for plan in plans], cv=5, scoring="roc_auc").mean()
    assert 0.80 < auroc < 0.89


def test_no_default_text_is_cut():
    config = compose_config("data=synthetic").data
    plans = [plan_article(number, config) for number in range(3000)]
    assert max(len(" ".join(write_story(plan, config)).split()) for plan in plans) <= 120


def test_the_folder_can_be_read_by_colleagues(tmp_path):
    folder = write_synthetic(make_config(tmp_path))
    assert os.stat(folder).st_mode & 0o055 == 0o055
