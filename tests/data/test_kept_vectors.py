import os
import threading

import numpy as np
import pytest

from safe_exp.data import kept_vectors
from safe_exp.data.kept_vectors import MOST, take_or_reuse_vectors
from safe_exp.system.errors import UserError

WANTED = {"red", "boat", "nowhere"}


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of vectors that is large enough to be kept."""
    monkeypatch.setattr(kept_vectors, "KEPT_BYTES", 1)
    path = tmp_path / "v.txt"
    path.write_text("red 1 2\nsea 3 4\nboat 5 6\n")
    return path


@pytest.fixture
def reads(monkeypatch):
    """The calls by which the file itself was read."""
    calls, take = [], kept_vectors.take_vectors
    monkeypatch.setattr(kept_vectors, "take_vectors", lambda *given: calls.append(given) or take(*given))
    return calls


def plain(found):
    vectors, dim = found
    return {word: vector.tolist() for word, vector in vectors.items()}, dim


def test_a_second_job_reads_nothing_of_the_file(file, tmp_path, reads):
    first = take_or_reuse_vectors(file, WANTED, tmp_path / "kept")
    again = take_or_reuse_vectors(file, frozenset(WANTED), tmp_path / "kept")
    assert plain(first) == plain(again) == ({"red": [1, 2], "boat": [5, 6]}, 2)
    assert all(vector.dtype == np.float32 for vector in again[0].values())
    assert len(reads) == 1


def test_other_words_and_a_changed_file_are_read(file, tmp_path, reads):
    home = tmp_path / "kept"
    take_or_reuse_vectors(file, WANTED, home)
    assert plain(take_or_reuse_vectors(file, {"sea"}, home)) == ({"sea": [3, 4]}, 2)
    stat = file.stat()
    file.write_text("red 9 2\nsea 3 4\nboat 5 6\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # of the same size and time, and another file all the same
    assert plain(take_or_reuse_vectors(file, WANTED, home))[0]["red"] == [9, 2]
    assert len(reads) == 3
    assert len(list(home.glob("*.safetensors"))) == 1  # what was taken from the file as it was has gone


def test_every_flipped_bit_of_what_is_kept_is_noticed(file, tmp_path, caplog):
    home = tmp_path / "kept"
    expected = plain(take_or_reuse_vectors(file, WANTED, home))
    (kept,) = home.glob("*.safetensors")
    whole = kept.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        kept.write_bytes(damaged)
        caplog.clear()
        assert plain(take_or_reuse_vectors(file, WANTED, home)) == expected
        assert kept.read_bytes() == whole or not caplog.text


def test_the_vocabularies_that_have_not_been_used_for_longest_make_room(file, tmp_path):
    home = tmp_path / "kept"
    for number in range(MOST + 3):
        take_or_reuse_vectors(file, {"red", f"word {number}"}, home)
        for kept in home.glob("*.safetensors"):
            os.utime(kept, (kept.stat().st_mtime - 10,) * 2)
        take_or_reuse_vectors(file, {"red", "word 0"}, home)
    assert len(list(home.glob("*.safetensors"))) == MOST
    reads = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_vectors, "take_vectors", lambda *given: reads.append(given))
        take_or_reuse_vectors(file, {"red", "word 0"}, home)
    assert not reads


def test_jobs_at_one_time_read_the_file_once(file, tmp_path, reads):
    jobs = [threading.Thread(target=take_or_reuse_vectors, args=(file, WANTED, tmp_path / "kept")) for _ in range(6)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert len(reads) == 1


def test_where_nothing_can_be_kept_the_vectors_are_read(file, tmp_path, reads):
    (tmp_path / "kept").write_text("a file in the folder's place")
    for _ in range(2):
        assert plain(take_or_reuse_vectors(file, WANTED, tmp_path / "kept"))[1] == 2
    assert len(reads) == 2


@pytest.mark.parametrize("content", [None, "red 1 2\nsea 3\n", "sea 1 2\n"])
def test_what_cannot_be_read_is_refused_as_before_and_not_kept(file, tmp_path, content):
    file.unlink() if content is None else file.write_text(content)
    for _ in range(2):
        with pytest.raises(UserError, match=r"v\.txt"):
            take_or_reuse_vectors(file, WANTED, tmp_path / "kept")
    assert not list(tmp_path.glob("kept/*.safetensors"))
