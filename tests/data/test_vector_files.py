import gzip
import io
import lzma
import re
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safe_exp.data import vector_files
from safe_exp.data.packed_text import opened_text
from safe_exp.data.vector_files import MAX_LINE_BYTES, take_vectors
from safe_exp.system.errors import UserError

GLOVE = b"the 0.5 -1 2\nred 1 2 3\n. . . 7 8 9\nat name@domain.com 7 7 7\nboat 4 5 6\nred 0 0 0\n"
FASTTEXT = b"6 3\n" + GLOVE.replace(b"\n", b" \n")  # its lines end with a blank


def zipped(content: bytes, *others: str, name="glove.txt", method=zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for each in (name, *others):
            archive.writestr(each, content)
    return packed.getvalue()


def damaged_in_the_middle(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 8]) + packed[middle + 8 :]


def take(tmp_path, content, words=("red", "boat", "zebra", ". . ."), name="vectors"):
    path = tmp_path / name
    path.write_bytes(content)
    return take_vectors(path, set(words))


PACKED = {"plain": lambda text: text, "gz": gzip.compress, "zip": zipped, "xz": lzma.compress}


@pytest.mark.parametrize("text", [GLOVE, FASTTEXT], ids=["glove", "fasttext"])
@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_a_packed_file_gives_the_vectors_of_its_text(tmp_path, pack, text):
    known, dim = take(tmp_path, pack(text))
    assert dim == 3
    assert {word: vector.tolist() for word, vector in known.items()} == {
        "red": [1, 2, 3],
        ". . .": [7, 8, 9],
        "boat": [4, 5, 6],
    }
    assert known["red"].dtype == np.float32


def test_files_written_in_pieces_are_read_to_their_end(tmp_path):
    head, tail = GLOVE[:30], GLOVE[30:]
    assert "boat" in take(tmp_path, gzip.compress(head) + gzip.compress(tail))[0]
    assert "boat" in take(tmp_path, lzma.compress(head) + bytes(8) + lzma.compress(tail) + bytes(4))[0]


def test_the_content_and_not_the_name_tells_how_a_file_is_packed(tmp_path):
    assert "boat" in take(tmp_path, gzip.compress(GLOVE), name="vectors.txt")[0]
    assert "boat" in take(tmp_path, GLOVE, name="vectors.gz")[0]
    assert "boat" in take(tmp_path, b"PK 1 2 3\n" + GLOVE, name="vectors.zip")[0]


def test_what_a_mac_adds_to_a_zip_file_is_passed_over(tmp_path):
    assert "boat" in take(tmp_path, zipped(GLOVE, "__MACOSX/._glove.txt", "folder/"))[0]


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_a_malformed_line_is_named_in_a_packed_file_too(tmp_path, pack):
    with pytest.raises(UserError, match=r"vectors, line 13: expected a word and 3 numbers.*found 2 numbers"):
        take(tmp_path, pack(b"the 1 2 3\n" * 12 + b"boat 4 5\n"))


@pytest.mark.parametrize("pack", [gzip.compress, zipped, lzma.compress], ids=["gz", "zip", "xz"])
@pytest.mark.parametrize("damage", [damaged_in_the_middle, lambda packed: packed[:-12]], ids=["changed", "cut"])
def test_a_damaged_archive_gives_one_message(tmp_path, pack, damage):
    random = np.random.default_rng(0)
    text = b"".join(b"w%d %.6f %.6f\n" % (number, *random.normal(size=2)) for number in range(20_000))
    with pytest.raises(UserError, match=r"vectors(: the file cannot be read \(.+\)|, line \d+: ).*download it again"):
        take(tmp_path, damage(pack(text)), ["w1", "w19999"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(GLOVE, "b.txt", "c.txt"), r"holds 3 files \(glove\.txt, b\.txt, c\.txt\), expected one\. Unpack"),
        (zipped(b"", name="folder/"), r"holds 0 files, expected one"),
        (zipped(GLOVE, method=zipfile.ZIP_BZIP2), r"another method than deflate\. Unpack"),
        (zipped(GLOVE).replace(b"PK\1\2\x14\x03\x14\0\0", b"PK\1\2\x14\x03\x14\0\1"), r"protected by a password"),
        (gzip.compress(b""), r"line 1: expected a word and its numbers"),
        (gzip.compress(np.random.default_rng(0).bytes(3000)), r"expected a word and"),
    ],
    ids=["several", "none", "bzip2", "password", "empty", "binary"],
)
def test_a_packed_file_that_holds_no_text_of_vectors_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as refusal:
        take(tmp_path, content)
    assert str(tmp_path / "vectors") in str(refusal.value)


@pytest.mark.parametrize("pack", [gzip.compress, zipped, lzma.compress], ids=["gz", "zip", "xz"])
@pytest.mark.parametrize("end", [b" 1 2 3\n", b""], ids=["lines", "one line"])
def test_a_decompression_bomb_takes_no_memory(tmp_path, pack, end):
    line = b"a" + b" " * (1 << 20) + end
    (tmp_path / "vectors").write_bytes(pack(b"red 1 2 3\n" + line * 60))
    tracemalloc.start()
    try:
        if end:
            assert set(take_vectors(tmp_path / "vectors", {"red"})[0]) == {"red"}
        else:
            with pytest.raises(UserError, match=r"line 2: it has 4 MB or more"):
                take_vectors(tmp_path / "vectors", {"red"})
        assert tracemalloc.get_traced_memory()[1] < 7 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


def test_an_xz_file_that_asks_for_much_memory_is_refused(tmp_path):
    content = lzma.compress(GLOVE, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}])
    with pytest.raises(UserError, match=r"cannot be read \(Memory usage limit"):
        take(tmp_path, content)


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_progress_counts_the_bytes_of_the_file_as_it_is_packed(tmp_path, pack, monkeypatch):
    told = []
    monkeypatch.setattr(vector_files, "BLOCK_BYTES", 1000)
    path = tmp_path / "vectors"
    path.write_bytes(pack(b"red 1 2 3\n" * 200_000))
    with opened_text(path) as text:
        assert b"".join(vector_files._read_blocks(text, path, told.append)) == b"red 1 2 3\n" * 200_000
    assert min(told) >= 0
    assert sum(told) * 1e6 == pytest.approx(path.stat().st_size, rel=0.05)


def test_a_file_that_may_not_be_read_gives_one_message(tmp_path, monkeypatch):
    path = tmp_path / "vectors"
    path.write_bytes(GLOVE)

    def refuse(self, *_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(UserError, match=re.escape(f"{path}: the file cannot be read ([Errno 13] Permission denied)")):
        take_vectors(path, {"red"})


WORDS_IN_LINES = st.sampled_from([b"red", b"boat", b"sea", b". . .", "é".encode()])
GAPS = st.sampled_from([b" ", b" ", b" ", b"\t", b"  "])
LINES = st.builds(
    lambda word, gaps, count, end: word + b"".join(gap + b"%d" % n for n, gap in enumerate(gaps[:count])) + end,
    WORDS_IN_LINES,
    st.lists(GAPS, min_size=4, max_size=4),
    st.sampled_from([3, 3, 3, 3, 2, 4]),
    st.sampled_from([b"\n", b"\n", b" \n", b"\r\n", b"", b"\n\n"]),
)


def read_line_by_line(content, wanted):
    """Read vectors of three numbers as plainly as can be: the vectors, or the number of the first bad line."""
    known = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        fields = line.rstrip().rsplit(None, 3)
        if not fields:
            continue
        if len(fields) != 4:
            return number
        word = fields[0].decode()
        if word in wanted and word not in known:
            known[word] = [float(field) for field in fields[1:]]
    return known


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=12), st.integers(1, 40))
def test_blocks_of_any_length_are_read_as_line_by_line(lines, block):
    content, wanted = b"the 1 2 3\n" * 10 + b"".join(lines), {"the", "red", ". . .", "é"}
    expected = read_line_by_line(content, wanted)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_files, "BLOCK_BYTES", block)
        patch.setattr(vector_files, "LINES_A_STEP", 3)
        path = Path(folder) / "v.txt"
        path.write_bytes(content)
        if isinstance(expected, int):
            with pytest.raises(UserError, match=f"line {expected}: "):
                take_vectors(path, wanted)
        else:
            found, dim = take_vectors(path, wanted)
            assert ({word: vector.tolist() for word, vector in found.items()}, dim) == (expected, 3)


@pytest.mark.parametrize("gap", [" ", "\t", "  ", " \t"])
@pytest.mark.parametrize("start", ["", "2 2\n"])
def test_any_white_space_parts_word_and_numbers_and_a_byte_order_mark_belongs_to_no_word(tmp_path, gap, start):
    text = start + "".join(f"{word}{gap}1{gap}2\n" for word in ("the", "red"))
    found, dim = take(tmp_path, b"\xef\xbb\xbf" + text.encode(), words=("the", "red"))
    assert (sorted(found), dim) == (["red", "the"], 2)


def test_a_header_of_another_dimension_than_the_lines_is_named(tmp_path):
    with pytest.raises(UserError, match=r"line 1: its header promises vectors of 4 numbers, .* have 2\."):
        take(tmp_path, b"2 4\nthe 1 2\nred 1 2\n")
