"""Preparation of a data set: whole, the same in every way of making it, and made no more than once."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.data.prepared.prepare import Preparation
from safe_exp.data.reading import readers
from safe_exp.system.errors import UserError
from tests.commands import environment
from tests.data import folders
from tests.data.folders import REAL_DATA, folder_config, write_article, write_folder

CAPTIONER = FileCaptionerConfig("file", "caption.txt")


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "articles")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 7 articles, so that a few articles make several parts."""
    monkeypatch.setattr(readers, "PART_ARTICLES", 7)
    monkeypatch.setattr(sys.modules["safe_exp.data.prepared.prepare"], "PART_ARTICLES", 7)


def config(root, *overrides, home=None):
    data = folder_config(root, "data.workers=1", *overrides)
    return replace(data, prepared=str(home or Path(root).parent / "prepared"))


def content(prepared: PreparedArticles) -> dict:
    """Read everything in a prepared data set but the paths of this machine."""
    rows = [
        {**row, "image": None, "words": [prepared.words[n - 1] for n in tokens[tokens > 0]], "group": group}
        for row, tokens, group in zip(
            prepared.contents(np.arange(len(prepared))), prepared.text_tokens, prepared.groups.tolist(), strict=True
        )
    ]
    return {"manifest": prepared.manifest, "rows": rows, "ids": list(prepared.ids)}


def test_every_article_is_there_with_its_words_and_its_place(root):
    write_article(root, "gossipcop/fake/a", title="Two Words", text="and &amp; <b>more</b>", caption="a RED boat",
                  source="paper", publish_date=1590105600.0)  # fmt: skip
    prepared = prepare(config(root), CAPTIONER)
    assert len(prepared) == 41
    row = prepared.ids.index("gossipcop/fake/a")
    assert (prepared.labels[row], prepared.sources[row], prepared.dates[row]) == (1, "paper", "2020-05-22")
    (found,) = prepared.contents(np.array([row]))
    assert found == {"title": "Two Words", "text": "and &  more", "caption": "a RED boat", "image": None}
    text = [prepared.words[number - 1] for number in prepared.text_tokens[row] if number]
    assert text == ["two", "words", "and", "&", "more"]
    assert [prepared.words[n - 1] for n in prepared.caption_tokens[row] if n] == ["a", "red", "boat"]
    assert prepared.manifest["counts"]["by_site"]["gossipcop"]["fake"]["articles"] == 1
    assert prepared.has_text().all()
    assert prepared.has_visual().all()


@pytest.mark.parametrize(
    ("title", "text", "words", "of_title"),
    [
        ("Two Words", "and four more words", ["two", "words", "and", "four", "more", "words"], 2),
        ("It's over!", "", ["it", "'", "s", "over", "!"], 5),
        ("", "no title", ["no", "title"], 0),
        ("a b c d e f g h", "never read", ["a", "b", "c", "d", "e", "f"], 6),  # data.max_text_tokens=6
    ],
)
def test_it_is_known_how_many_of_a_text_s_words_are_its_title_s(title, text, words, of_title, root):
    write_article(root, "gossipcop/fake/a", title=title, text=text, caption="a boat")
    prepared = prepare(config(root, "data.max_text_tokens=6"), CAPTIONER)
    row = prepared.ids.index("gossipcop/fake/a")
    assert [prepared.words[n - 1] for n in prepared.text_tokens[row] if n] == words
    assert prepared.title_words[row] == of_title


def test_a_missing_modality_is_counted_and_never_invented(root):
    write_article(root, "fake/no-text", title="", text="")
    write_article(root, "real/no-caption", caption=None)
    write_article(root, "real/nothing", title="", text="", caption=None)
    prepared = prepare(config(root), CAPTIONER)
    assert prepared.manifest["counts"]["all"] == {
        "articles": 42, "with_text": 41, "with_visual": 41, "with_both": 40
    }  # fmt: skip
    assert prepared.manifest["left_out"]["by_reason"] == {"no title, no text and no image": 1}
    assert prepared.manifest["without_image_or_caption"] == {"no caption file": 1}
    rows = {name: prepared.ids.index(name) for name in ("fake/no-text", "real/no-caption")}
    assert not prepared.text_tokens[rows["fake/no-text"]].any()
    assert not prepared.caption_tokens[rows["real/no-caption"]].any()
    assert not prepared.has_text()[rows["fake/no-text"]]
    assert not prepared.has_visual()[rows["real/no-caption"]]


def test_parts_shards_and_processes_give_the_same_data_set(root, small_parts, tmp_path):
    write_article(root, "fake/copy", title="title fake/000", text="word fake number 0")
    whole = content(prepare(config(root, home=tmp_path / "one"), CAPTIONER))
    assert whole["manifest"]["near_duplicates"]["exact_copies"] == 2
    sharded = config(root, "data.shards=4", home=tmp_path / "four")
    for shard in (2, 0, 3, 1):
        preparation = Preparation(replace(sharded, shard=shard), CAPTIONER)
        preparation.make(preparation.missing(shard))
    preparation = Preparation(sharded, CAPTIONER)
    preparation.join()
    assert content(PreparedArticles.open(preparation.folder)) == whole
    assert not preparation.draft.exists()


def test_parts_of_an_earlier_version_which_knew_no_sides_are_joined(root, tmp_path):
    whole = prepare(config(root, home=tmp_path / "new"), CAPTIONER)
    preparation = Preparation(config(root, home=tmp_path / "old"), CAPTIONER)
    preparation.make(preparation.missing())
    path = preparation.maker.path(0)
    pq.write_table(pq.read_table(path).drop_columns(["side"]), path)
    preparation.join()
    assert content(prepare(config(root, home=tmp_path / "old"), CAPTIONER))["rows"] == content(whole)["rows"]
    assert set(whole.sides) == {None}


def test_a_lost_shard_is_named_with_the_command_that_makes_it(root, small_parts):
    for shard in (0, 3):
        preparation = Preparation(config(root, "data.shards=4", f"data.shard={shard}"), CAPTIONER)
        preparation.make(preparation.missing(shard))
    preparation = Preparation(config(root, "data.shards=4"), CAPTIONER)
    message = r"2 of 4 shards are not complete: 1,2\. Run them .* -m data\.shards=4 data\.shard=1,2; then join"
    with pytest.raises(UserError, match=message):
        preparation.join()


def test_an_interrupted_preparation_goes_on_and_does_nothing_twice(root, small_parts, monkeypatch, caplog):
    maker, made = sys.modules["safe_exp.data.prepared.parts"].PartMaker, []
    make = maker.make

    def until_the_third(self, part, advance=lambda _: None):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(part.number)
        return make(self, part, advance)

    monkeypatch.setattr(maker, "make", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare(config(root), CAPTIONER)
    monkeypatch.setattr(maker, "make", lambda self, part, a=None: (made.append(part.number), make(self, part))[1])
    with caplog.at_level("INFO"):
        prepared = prepare(config(root), CAPTIONER)
    assert made == [0, 1, 2, 3, 4, 5]
    assert "Going on with a preparation that was interrupted: 3 of 6 parts" in caplog.text
    assert len(prepared) == 40


def test_a_second_start_prepares_nothing_and_a_changed_article_is_noticed(root, monkeypatch):
    first = prepare(config(root), CAPTIONER)
    with monkeypatch.context() as patch:
        patch.setattr(Preparation, "make", lambda *_: pytest.fail("prepared again"))
        again = prepare(config(root), CAPTIONER)
    assert again.folder == first.folder
    (root / "fake" / "000" / "caption.txt").write_text("another")
    changed = prepare(config(root), CAPTIONER)
    assert changed.folder != first.folder
    assert changed.fingerprint != first.fingerprint
    assert len(PreparedArticles.open(first.folder)) == 40  # whoever reads it is not disturbed


def test_other_settings_are_another_data_set(root):
    folders = {
        prepare(config(root, override), CAPTIONER).folder
        for override in ("data.max_text_tokens=5", "data.max_text_tokens=6", "data.labels.fake=[fake,false]")
    }
    assert len(folders) == 3
    same = {prepare(config(root, override), CAPTIONER).folder for override in ("data.seed=1", "data.batch_size=2")}
    assert len(same) == 1


def test_auto_gives_english_articles_the_data_set_that_is_cut_at_spaces_whichever_was_first(root, tmp_path):
    for first, second in (("auto", "spaces"), ("spaces", "auto")):
        home = tmp_path / first
        made = prepare(config(root, f"data.words={first}", home=home), CAPTIONER)
        assert "words" not in made.manifest["settings"]
        assert prepare(config(root, f"data.words={second}", home=home), CAPTIONER).folder == made.folder
        assert [path.name for path in home.iterdir() if path.is_dir() and path.name[0] != "."] == [made.folder.name]
    other = prepare(config(root, "data.keep_urls=false", home=home), CAPTIONER)
    assert other.manifest["settings"]["keep_urls"] is False
    assert other.folder != made.folder


def test_one_chinese_word_makes_auto_a_data_set_of_its_own(root, tmp_path):
    write_article(root, "fake/a", title="ok 北京", text="see https://t.co/x", caption="看 https://t.co/x")
    found = {}
    for words in ("spaces", "auto", "spaces", "auto"):  # neither takes the other's for its own
        prepared = prepare(config(root, f"data.words={words}"), CAPTIONER)
        row = prepared.ids.index("fake/a")
        found[words] = [prepared.words[n - 1] for n in prepared.text_tokens[row] if n][:4], prepared.title_words[row]
        assert prepared.manifest["settings"].get("words", "spaces") == words
    assert found == {"spaces": (["ok", "北京", "see", "https"], 2), "auto": (["ok", "北", "京", "see"], 3)}
    prepared = prepare(config(root, "data.keep_urls=false"), CAPTIONER)
    row = prepared.ids.index("fake/a")
    assert [prepared.words[n - 1] for n in prepared.text_tokens[row] if n] == ["ok", "北", "京", "see", "url"]
    assert "https" in [prepared.words[n - 1] for n in prepared.caption_tokens[row] if n]  # not in a caption


def test_damaged_words_are_no_reason_to_prepare_anew(root):
    folder = prepare(config(root, "data.words=spaces"), CAPTIONER).folder
    data = bytearray((folder / "words.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "words.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"words\.parquet is not as it was written.*Remove this folder"):
        prepare(config(root, "data.words=auto"), CAPTIONER)


def test_a_reader_that_reads_otherwise_than_before_has_its_data_made_anew(root, monkeypatch):
    before = prepare(config(root), CAPTIONER)
    with monkeypatch.context() as patched:
        patched.setattr(readers.fakenewsnet.FolderReader, "revision", 2)
        after = prepare(config(root), CAPTIONER)
    assert after.folder != before.folder
    assert after.fingerprint == before.fingerprint
    assert prepare(config(root), CAPTIONER).folder == before.folder


def test_an_item_that_is_neither_article_nor_left_out_is_noticed(root, monkeypatch):
    monkeypatch.setattr(Preparation, "items", property(lambda self: 41, lambda self, value: None), raising=False)
    with pytest.raises(UserError, match=r"41 records were listed, but 40 articles and 0 left out make 40"):
        prepare(config(root), CAPTIONER)


def test_strict_names_the_first_article_that_cannot_be_used(root, small_parts):
    for name in ("b", "a", "c"):
        (write_article(root, f"real/{name}") / "news_article.json").write_text("{")
    message = r"real/a: article file is not valid JSON .*data\.strict=false"
    with pytest.raises(UserError, match=message):
        prepare(config(root, "data.strict=true"), CAPTIONER)
    assert len(prepare(config(root), CAPTIONER)) == 40
    with pytest.raises(UserError, match=message):  # prepared by now, and refused all the same
        prepare(config(root, "data.strict=true"), CAPTIONER)


def test_ids_that_occur_twice_keep_the_first_article(tmp_path):
    table = tmp_path / "articles.csv"
    table.write_text("id,text,label\na,first,fake\nb,second,real\na,third,real\n")
    data = replace(table_config(table), prepared=str(tmp_path / "prepared"))
    prepared = prepare(data, CAPTIONER)
    assert list(prepared.ids) == ["a", "b"]
    assert [row["text"] for row in prepared.contents(np.arange(2))] == ["first", "second"]
    assert prepared.manifest["left_out"]["by_reason"] == {"id occurs before": 1}


def table_config(path):
    from tests.made import compose_config

    return compose_config("data=table", f"data.root={path}").data


def test_a_table_and_a_folder_of_the_same_articles_train_alike(tmp_path, root):
    rows = [("id", "title", "text", "label", "caption")]
    for folder in sorted(root.glob("*/*")):
        article = json.loads((folder / "news_article.json").read_text())
        rows.append(
            (folder.relative_to(root).as_posix(), article["title"], article["text"], folder.parent.name, "a red boat")
        )
    table = tmp_path / "articles.tsv"
    table.write_text("\n".join("\t".join(row) for row in rows))
    from_table = prepare(replace(table_config(table), prepared=str(tmp_path / "prepared")), CAPTIONER)
    from_folder = prepare(config(root), CAPTIONER)
    assert content(from_table)["rows"] == content(from_folder)["rows"]
    assert from_table.labels.tolist() == from_folder.labels.tolist()


def test_no_usable_article_is_refused_with_the_reasons(tmp_path):
    (write_article(tmp_path / "articles", "fake/a") / "news_article.json").write_text("{")
    with pytest.raises(
        UserError, match=r"no usable article\. Left out: 1 × article file is not valid JSON \(for example"
    ):
        prepare(config(tmp_path / "articles"), CAPTIONER)


def test_input_that_changes_meanwhile_is_refused(root, monkeypatch):
    join = Preparation.join

    def change_and_join(self):
        (root / "fake" / "000" / "caption.txt").write_text("changed")
        join(self)

    monkeypatch.setattr(Preparation, "join", change_and_join)
    with pytest.raises(UserError, match="changed while it was being prepared"):
        prepare(config(root), CAPTIONER)


def test_a_place_that_cannot_be_written_is_refused_with_advice(root, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"data\.prepared=\S+: the prepared data cannot be written there"):
        prepare(config(root, home=tmp_path / "file" / "below"), CAPTIONER)


@pytest.mark.parametrize("name", ["articles.parquet", "text_tokens.npy", "words.parquet"])
def test_damaged_prepared_data_are_refused_by_name(root, name):
    prepared = prepare(config(root), CAPTIONER)
    (prepared.folder / name).write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"the prepared data cannot be read .*Remove this folder"):
        prepare(config(root), CAPTIONER)


PREPARING = """
import sys
from tests.data.prepared import test_prepare as t
from safe_exp.data.reading import readers
readers.PART_ARTICLES = sys.modules["safe_exp.data.prepared.prepare"].PART_ARTICLES = 2
print(t.prepare(t.config(sys.argv[1]), t.CAPTIONER).fingerprint)
"""


def start(root):
    return subprocess.Popen(
        [sys.executable, "-c", PREPARING, str(root)], cwd=Path(__file__).resolve().parents[3], env=environment(),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_that_prepare_at_once_do_not_harm_each_other(root):
    both = [start(root), start(root)]
    prints = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert prints[0] == prints[1] == prepare(config(root), CAPTIONER).fingerprint
    names = sorted(path.name for path in (root.parent / "prepared").iterdir())
    assert names[0] == ".locks"
    assert len(names) == 2, names  # no drafts are left


@pytest.mark.slow
def test_a_preparation_that_is_killed_at_any_moment_is_never_taken_for_a_whole_one(root):
    expected = prepare(config(root, home=root.parent / "undisturbed"), CAPTIONER).fingerprint
    for tenths in range(1, 40, 3):
        process = start(root)
        time.sleep(tenths / 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for folder in (root.parent / "prepared").glob("articles-*"):
            assert PreparedArticles.open(folder).fingerprint == expected
    assert prepare(config(root), CAPTIONER).fingerprint == expected


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the real articles lie beside the checkout and are not here")
def test_the_real_articles_are_counted_as_their_readme_counts_them(tmp_path):
    counts = prepare(config(REAL_DATA / "politifact78", home=tmp_path), CAPTIONER).manifest["counts"]
    assert {name: counts[name]["with_both"] for name in ("all", "fake", "real")} == {"all": 78, "fake": 26, "real": 52}
    prepared = prepare(config(REAL_DATA / "fakenewsnet_v1", home=tmp_path), CAPTIONER)
    assert prepared.manifest["counts"]["all"] == {
        "articles": 412, "with_text": 412, "with_visual": 0, "with_both": 0
    }  # fmt: skip
    assert prepared.manifest["left_out"]["by_reason"] == {"no title, no text and no image": 10}
    texts = Counter(
        " ".join(re.findall("[a-z0-9]+", f"{row['title']} {row['text']}".lower()))
        for row in prepared.contents(np.arange(412))
    )
    assert prepared.manifest["near_duplicates"]["exact_copies"] == sum(n for n in texts.values() if n > 1)


def test_articles_left_out_on_purpose_are_no_fault_under_strict(tmp_path):
    (tmp_path / "t.csv").write_text("id,text,label,caption\n1,a,fake,x\n2,b,humor,x\n3,c,real,x\n", encoding="utf-8")
    for ignored in ("[humor]", "[]"):
        data = folders.table_config(tmp_path / "t.csv", "data.strict=true", f"data.labels.ignore={ignored}")
        data = replace(data, prepared=str(tmp_path / "prepared"))
        if ignored == "[]":
            with pytest.raises(UserError, match=r"row 2: label is not one of data\.labels"):
                prepare(data, CAPTIONER)
        else:
            assert [prepare(data, CAPTIONER).ids for _ in range(2)] == [["1", "3"]] * 2
