import io
from dataclasses import replace

import pytest
from rich.console import Console

from safe_exp.data.captioners.file import FileCaptionerConfig
from safe_exp.data.prepared import prepare
from safe_exp.data.prepared.examples import advise_on_images, pick_examples, tabulate_examples
from safe_exp.data.selection import find_usable_rows
from safe_exp.system.errors import UserError
from tests.data.captioners.pictures import noise, visual_words_config
from tests.data.folders import folder_config, write_article

CAPTIONER = FileCaptionerConfig("file", "caption.txt")


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write_article(tmp_path / "articles", f"real/{number}", title=f"Good Day {number}", text="A body. " * number)
    write_article(tmp_path / "articles", "fake/plain", caption=None, source="[bold]Paper", publish_date="2020-03-04")
    write_article(tmp_path / "articles", "fake/x", caption="a red boat at sea", title="", text="Look [b]here[/b]!")
    return tmp_path / "articles"


def printed(prepared, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(tabulate_examples(prepared), width=min(width, 100))
    return console.export_text()


def test_each_class_is_shown_and_complete_articles_go_first(root):
    prepared = prepare(folder_config(root), CAPTIONER)
    shown = [prepared.ids[row] for row in pick_examples(prepared)]
    assert shown == ["fake/x", "real/0", "real/1"]  # fake/plain has no caption


def test_all_articles_are_shown_where_there_are_few(tmp_path):
    write_article(tmp_path / "articles", "fake/1")
    assert pick_examples(prepare(folder_config(tmp_path / "articles"), CAPTIONER)) == [0]


def test_words_are_shown_as_the_network_reads_them(root):
    lines = printed(prepare(folder_config(root, "data.max_text_tokens=4"), CAPTIONER)).splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "│ article │ fake/x │\n│ label │ fake │\n│ source │ no source, no date │\n│ title │ – │" in text
    assert "│ text │ look [ b ] … (4 words, then cut) │\n│ image │ a red boat at sea │" in text
    assert "│ title │ good day 1 │\n│ text │ a … (1 word, then cut) │" in text
    assert max(map(len, lines)) <= 100


def test_markup_in_an_article_is_text(root):
    prepared = prepare(folder_config(root, "data.labels.real=[none]"), CAPTIONER)
    assert "[bold]Paper, 2020-03-04" in printed(prepared)
    assert "none: no caption file (expected caption.txt)" in printed(prepared)


def test_a_narrow_terminal_breaks_no_table(root):
    assert max(map(len, printed(prepare(folder_config(root), CAPTIONER), width=50).splitlines())) <= 50


def test_patches_of_a_picture_are_counted(root):
    for number in range(3):
        noise(number).save(root / "real" / str(number) / "image.png")
    prepared = prepare(folder_config(root), visual_words_config(grids=[2, 1]))
    assert "5 patches, 1 picture " in printed(prepared)
    assert "captioner=file reads a sentence" in advise_on_images(prepared)


def test_without_any_caption_the_captioner_that_reads_images_is_named_first(tmp_path):
    for label in ("fake", "real"):
        write_article(tmp_path / "articles", f"{label}/1", caption=None)
    data = folder_config(tmp_path / "articles")
    prepared = prepare(data, CAPTIONER)
    with pytest.raises(UserError, match=r"caption\.txt\)\. Captioner=visual_words reads the images themselves"):
        find_usable_rows(prepared, ["text", "visual"], replace(data, strict=False))
