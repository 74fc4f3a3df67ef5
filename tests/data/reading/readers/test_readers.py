"""The registered kinds of data set, and their readers."""

import pytest

from safe_exp.config import CONF
from safe_exp.data.reading.articles import Article
from safe_exp.data.reading.readers import TakesDownloads, build_reader, readers
from safe_exp.data.synthetic import synthetic_folder
from safe_exp.system.errors import UserError
from tests.made import compose_config

OPTIONS = sorted(path.stem for path in (CONF / "data").glob("*.yaml"))


def built(*overrides, labelled=True):
    config = compose_config(*overrides)
    return config.data, build_reader(config.data, config.captioner, labelled)


def test_each_kind_of_data_set_is_an_option_of_the_command_line():
    assert set(readers.names()) <= set(OPTIONS)  # the others are presets of one


@pytest.mark.parametrize("name", OPTIONS)
def test_the_config_of_an_option_is_its_kind_s(name):
    given = ["data.visual_news=y"] if name == "newsclippings" else []
    data = compose_config(f"data={name}", "data.root=x", *given).data
    assert type(data) is readers[data.name].config


def test_a_kind_that_nobody_knows_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"data=unheard_of: expected one of .*\bfakenewsnet,.* synthetic,.* table\b"):
        built("data=fakenewsnet", "data.root=x", "data.name=unheard_of")


def test_the_built_in_articles_are_written_before_they_are_read(tmp_path):
    data, reader = built("data=synthetic", f"data.root={tmp_path}", "data.articles=20")
    assert reader.root == str(synthetic_folder(data))
    articles = [reader.read(item) for item in reader.items()]
    assert [article.id for article in articles] == list(reader.items())
    assert sum(article.label for article in articles) == 10


def test_nothing_is_written_where_articles_of_one_s_own_are_to_be_read(tmp_path):
    for name in ("fakenewsnet", "table"):
        _, reader = built(f"data={name}", f"data.root={tmp_path / 'gone'}")
        assert reader.root == str(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("captioner", "caption"), [("file", "a boat"), ("visual_words", "")])
def test_a_table_gives_the_sentence_or_the_image_as_the_captioner_wants(captioner, caption, tmp_path):
    (tmp_path / "t.csv").write_text("id,text,label,caption,image\n7,words,fake,a boat,i.png\n", encoding="utf-8")
    (tmp_path / "i.png").write_bytes(b"")
    _, reader = built("data=table", f"data.root={tmp_path / 't.csv'}", f"captioner={captioner}")
    (article,) = map(reader.read, reader.items())
    assert (article.caption, article.image is None) == (caption, captioner == "file")


def test_without_labels_articles_are_read_that_nobody_has_judged(tmp_path):
    (tmp_path / "t.csv").write_text("id,text\n7,words\n", encoding="utf-8")
    _, reader = built("data=table", f"data.root={tmp_path / 't.csv'}", labelled=False)
    (article,) = map(reader.read, reader.items())
    assert isinstance(article, Article)
    assert article.label is None


@pytest.mark.parametrize("name", ["fakenewsnet", "synthetic", "table"])
def test_addresses_of_images_are_read_from_folders_and_tables(name, tmp_path):
    _, reader = built(f"data={name}", f"data.root={tmp_path}")
    assert isinstance(reader, TakesDownloads)
