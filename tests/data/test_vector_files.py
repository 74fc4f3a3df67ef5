import gzip
import io
import lzma
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from safe_exp.data import vector_files
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
        assert tracemalloc.get_traced_memory()[1] < 6 * MAX_LINE_BYTES
    finally:
        tracemalloc.stop()


def test_an_xz_file_that_asks_for_much_memory_is_refused(tmp_path):
    content = lzma.compress(GLOVE, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}])
    with pytest.raises(UserError, match=r"cannot be read \(Memory usage limit"):
        take(tmp_path, content)


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_progress_counts_the_bytes_of_the_file_as_it_is_packed(tmp_path, pack, monkeypatch):
    told = []
    monkeypatch.setattr(vector_files, "LINES_A_STEP", 1)
    path = tmp_path / "vectors"
    path.write_bytes(pack(b"red 1 2 3\n" * 200_000))
    with vector_files._opened(path) as text:
        assert sum(1 for _ in vector_files._read_lines(text, path, told.append)) == 200_000
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
