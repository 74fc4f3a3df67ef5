import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from safe_exp.config import VectorsConfig
from safe_exp.data import vector_files
from safe_exp.data.vectors import load_vectors, read_vector_tables, write_vector_tables
from safe_exp.system.errors import UserError

WORDS = ["[PAD]", "[UNK]", "red", "boat", "zebra"]
GLOVE = "the 0.5 -1 2\nred 1 2 3\n. . . 7 8 9\nboat 4 5 6\nred 0 0 0\n"


def load(tmp_path, content=None, words=WORDS, **changes):
    path = None
    if content is not None:
        path = tmp_path / "vectors.txt"
        path.write_text(content, encoding="utf-8")
    settings = {"path": path and str(path), "dim": 16, "seed": 0} | changes
    return load_vectors(VectorsConfig(**settings), words)


@pytest.mark.parametrize("header", ["", "5 3\n"], ids=["glove", "word2vec"])
def test_vectors_come_from_the_file_with_and_without_header(tmp_path, header):
    table, coverage = load(tmp_path, header + GLOVE)
    assert table.dtype == torch.float32
    assert table[0].tolist() == [0, 0, 0]
    assert table[2:4].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (coverage.words, coverage.found, coverage.source) == (3, 2, "vectors.txt")


def test_a_word_with_spaces_in_it_is_read_from_the_right(tmp_path):
    table, _ = load(tmp_path, GLOVE, words=["[PAD]", "[UNK]", ". . ."])
    assert table[2].tolist() == [7, 8, 9]
    table, _ = load(tmp_path, ". . . 7 8 9\nred 1 2 3\n", words=["[PAD]", "[UNK]", ". . .", "red"])
    assert table[2:].tolist() == [[7, 8, 9], [1, 2, 3]]


def test_a_random_vector_depends_on_seed_and_word_alone(tmp_path):
    table, coverage = load(tmp_path)
    other, _ = load(tmp_path, words=["[PAD]", "[UNK]", "sea", "zebra"])
    assert coverage.found == 0
    assert torch.equal(table[4], other[3])
    assert torch.equal(table[1], other[1])
    assert not torch.equal(table[4], load(tmp_path, seed=1)[0][4])
    assert not table[0].any()


def test_random_vectors_have_length_one_without_a_file_and_the_files_spread_with_one(tmp_path):
    words = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(2000))]
    for dim in (8, 50):
        table, _ = load(tmp_path, words=words, dim=dim)
        assert table[1:].square().sum(1).mean() == pytest.approx(1.0, rel=0.05)
    table, _ = load(tmp_path, GLOVE, words=[*words, "red", "boat"])
    assert table[1:-2].std() == pytest.approx(np.std([1, 2, 3, 4, 5, 6]), rel=0.05)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("red 1 2 3\nboat 4 5\n" + "x 1 2 3\n" * 9, r"line 2: expected a word and 3 numbers.*found 2"),
        (
            "the 1 2 3\n" * 12 + "boat 4 5\n",
            r"line 13: expected a word and 3 numbers.*found 2 numbers.*download it again",
        ),
        ("5 3\nred 1 2 3\nboat 4 x 6\n", r"line 3: expected a word and 3 numbers.*could not convert"),
        ("red 1 nan 3\n", r"line 1: .*not finite"),
        ("x 1 2\ny 3 4\n", r"none of the 3 words.*check vectors\.path"),
        ("", r"line 1: expected a word and its numbers.*text format"),
        ("red\nboat\n", r"line 1: expected a word and its numbers"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"vectors\.path=\S+nowhere\.txt: there is no such file.*vectors\.path=null"):
        load_vectors(VectorsConfig(str(tmp_path / "nowhere.txt"), 16, 0), WORDS)


def test_a_large_file_is_announced(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(vector_files, "ANNOUNCED_BYTES", 10)
    with caplog.at_level("INFO"):
        table, _ = load(tmp_path, GLOVE)
    assert table[2].tolist() == [1, 2, 3]
    assert "Reading word vectors from" in caplog.text


def test_one_table_for_both_encoders_is_stored_once_and_comes_back_as_one(tmp_path):
    table, other = torch.randn(4, 3), torch.randn(5, 2)
    write_vector_tables(tmp_path / "one.safetensors", table, table)
    text, visual = read_vector_tables(tmp_path / "one.safetensors")
    assert text is visual
    assert torch.equal(text, table)
    assert list(load_file(tmp_path / "one.safetensors")) == ["text_vectors"]
    write_vector_tables(tmp_path / "two.safetensors", table, other)
    text, visual = read_vector_tables(tmp_path / "two.safetensors")
    assert torch.equal(text, table)
    assert torch.equal(visual, other)
