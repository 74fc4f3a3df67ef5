import logging
import multiprocessing
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from safe_exp.data.vector_store import Sequenced, VectorStore, fill_store
from safe_exp.system.errors import UserError

SETTINGS = {"name": "made", "layer": 2}


def sequence(seed, length, dim=3):
    return np.random.default_rng(seed).normal(size=(length, dim)).astype(np.float32)


def made(tmp_path, lengths=(2, 0, 5)):
    """Store sequences of these lengths under the keys 0, 1, … in two groups."""
    store = VectorStore(tmp_path, SETTINGS)
    found = {str(i): Sequenced(sequence(i, n), title=min(n, 1), cut=n > 3) for i, n in enumerate(lengths)}
    store.add({"0": found.pop("0")})
    store.add(found)
    return VectorStore(tmp_path, SETTINGS)


def test_stored_sequences_come_back_by_key_with_exact_padding(tmp_path):
    store = made(tmp_path)
    assert store.missing(["2", "0", "7", "7"]) == ["7"]
    stored = store.open(["2", None, "0", "2"])
    assert stored.titles.tolist() == [1, 0, 1, 1]
    assert stored.cut.tolist() == [True, False, False, True]
    rows = np.array([2, 1, 0])
    vectors, lengths = stored.sentences.rows(rows, torch.from_numpy(rows), 6)
    assert vectors.dtype == torch.float32
    assert lengths.tolist() == [2, 0, 5]
    expected = np.zeros((3, 6, 3), np.float32)
    expected[0, :2], expected[2, :5] = sequence(0, 2), sequence(2, 5)
    np.testing.assert_array_equal(vectors.numpy(), expected.astype(np.float16).astype(np.float32))


def test_other_settings_have_another_folder(tmp_path):
    made(tmp_path)
    assert VectorStore(tmp_path, {**SETTINGS, "layer": 1}).missing(["0"]) == ["0"]


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_damaged_group_is_named_removed_and_computed_again(tmp_path, caplog, suffix):
    store = made(tmp_path)
    file = next(path for path in store.folder.glob(f"*{suffix}") if "settings" not in path.name)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        missing = store.missing(["0", "1", "2"])
    assert missing in (["0"], ["1", "2"])
    assert "is damaged" in caplog.text
    assert "computed again" in caplog.text
    fill_store(store, ["0", "1", "2"], lambda: ((k, int(k)) for k in "012"), compute_numbers, "Computing")
    assert VectorStore(tmp_path, SETTINGS).missing(["0", "1", "2"]) == []


def compute_numbers(items):
    return [Sequenced(sequence(item, item + 1)) for item in items]


def test_a_killed_computation_goes_on_where_it_stood(tmp_path, caplog):
    store, seen = VectorStore(tmp_path, SETTINGS), []

    def compute(items):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.extend(items)
        return compute_numbers(items)

    keys = [str(i) for i in range(7)]
    with pytest.raises(KeyboardInterrupt):
        fill_store(store, keys, lambda: ((key, int(key)) for key in keys), compute, "Computing", group=2)
    again = VectorStore(tmp_path, SETTINGS)
    with caplog.at_level(logging.INFO):
        fill_store(again, keys, lambda: ((key, int(key)) for key in keys), compute_numbers, "Computing", group=2)
    assert seen == [0, 1, 2, 3]
    assert "Computing: 4 are there already." in caplog.text
    assert again.open(keys).sentences.widths.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_two_that_fill_one_store_compute_each_sequence_once(tmp_path):
    computed = []

    def compute(items):
        computed.extend(items)
        time.sleep(0.05)
        return compute_numbers(items)

    def fill():
        keys = [str(i) for i in range(6)]
        fill_store(VectorStore(tmp_path, SETTINGS), keys, lambda: ((k, int(k)) for k in keys), compute, "C", group=2)

    threads = [threading.Thread(target=fill) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(computed) == list(range(6))


def test_a_group_that_another_process_removes_is_named(tmp_path):
    store = made(tmp_path)
    assert not store.missing(["0", "1", "2"])
    for path in store.folder.glob("*.npy"):
        path.unlink()
    with pytest.raises(UserError, match=r"\.npy: the vectors were removed while they were read"):
        store.open(["0"])


def test_numbers_beyond_float16_are_refused(tmp_path):
    for number in (1e6, np.nan):
        with pytest.raises(UserError, match=r"not finite in float16.* Take another layer or model"):
            VectorStore(tmp_path, SETTINGS).add({"a": Sequenced(np.full((1, 2), number, np.float32))})


def test_vectors_of_another_length_than_those_before_are_refused(tmp_path):
    store = made(tmp_path)
    assert store.missing(["2", "new"]) == ["new"]
    with pytest.raises(UserError, match="vectors of 4 numbers were computed, and those before have 3"):
        store.add({"new": Sequenced(sequence(0, 2, dim=4))})


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = VectorStore(tmp_path / "file", SETTINGS)
    with pytest.raises(UserError, match=r"vectors cannot be stored here .*data\.prepared"):
        fill_store(store, ["0"], lambda: [("0", 0)], compute_numbers, "Computing")


@pytest.mark.slow
def test_reading_batches_of_a_large_store_takes_the_memory_of_a_batch(tmp_path):
    store = VectorStore(tmp_path, SETTINGS)
    for group in range(20):
        store.add({f"{group}-{i}": Sequenced(np.full((256, 64), i, np.float32)) for i in range(100)})
    process = multiprocessing.get_context("spawn").Process
    reader = process(target=_read_all, args=(tmp_path, tmp_path / "grown"))
    reader.start()
    reader.join()
    assert int((tmp_path / "grown").read_text()) < 30e6  # of 65 MB in float16, 131 MB in float32


def _read_all(folder, answer):
    store = VectorStore(folder, SETTINGS)
    keys = [f"{group}-{i}" for group in range(20) for i in range(100)]
    assert not store.missing(keys)
    sentences = store.open(keys).sentences
    before = _anonymous_bytes()
    most = 0
    for start in range(0, 2000, 20):
        rows = np.arange(start, start + 20)
        sentences.rows(rows, torch.from_numpy(rows), 256)
        most = max(most, _anonymous_bytes() - before)
    answer.write_text(str(most))


def _anonymous_bytes():
    """Read the memory of this process that is no mapped file, which the system may drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
