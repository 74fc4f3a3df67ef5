"""The cache: nothing is described twice, by one process or by several; damage costs work, never a wrong result."""

import logging
import multiprocessing
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from safe_exp.data.prepared.description_cache import DescriptionCache, describe_all
from safe_exp.system.errors import UserError


class Counting:
    """Captioner that describes a picture by its upper left pixel, and records the pictures that it was given."""

    def __init__(self, kind="sentence", batch_size=4, fail_at=None, pause=0.0, **settings):
        self.kind, self.batch_size, self.fail_at, self.pause = kind, batch_size, fail_at, pause
        self.settings = {"name": "counting", "kind": kind, **settings}
        self.given = []

    def describe(self, images):
        time.sleep(self.pause)
        values = [image.getpixel((0, 0))[0] for image in images]
        if self.fail_at in values:
            raise KeyboardInterrupt
        self.given += values
        if self.kind == "sentence":
            # What JSON lines must survive: a line separator that str.splitlines knows, quotes, a line break.
            return [f'“{value}” \u2028 "é"\n\t\\' for value in values]
        return [np.full((2, 3), value, dtype=np.float32) for value in values]


def pictures(*values):
    return ((f"hash-{value}", Image.new("RGB", (4, 4), (value, 0, 0))) for value in values)


def run(folder, captioner, *values):
    return list(describe_all(captioner, DescriptionCache(folder, captioner), pictures(*values)))


def assert_right(results, captioner, *values):
    expected = type(captioner)(captioner.kind).describe([image for _, image in pictures(*values)])
    assert [key for key, _ in results] == [f"hash-{value}" for value in values]
    for (_, got), wanted in zip(results, expected, strict=True):
        assert type(got) is type(wanted)
        assert np.array_equal(got, wanted)
        assert getattr(got, "dtype", None) == getattr(wanted, "dtype", None)


KINDS = pytest.mark.parametrize("kind", ["sentence", "array"])


@KINDS
def test_results_come_in_order_and_a_second_run_describes_nothing(tmp_path, kind):
    first, second = Counting(kind), Counting(kind)
    values = [5, 3, 9, 1, 7, 2, 8, 4, 6, 0]
    assert_right(run(tmp_path, first, *values), first, *values)
    assert first.given == values
    assert_right(run(tmp_path, second, *reversed(values), 11), second, *reversed(values), 11)
    assert second.given == [11]


@KINDS
def test_a_picture_that_comes_twice_is_described_once(tmp_path, kind):
    captioner = Counting(kind)
    assert_right(run(tmp_path, captioner, 1, 1, 2, 1, 2, 3, 1), captioner, 1, 1, 2, 1, 2, 3, 1)
    assert captioner.given == [1, 2, 3]


@KINDS
def test_an_interrupted_run_loses_the_batch_at_hand_and_no_more(tmp_path, kind):
    stopped, resumed = Counting(kind, fail_at=6), Counting(kind)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped, *range(10))
    assert stopped.given == [0, 1, 2, 3]
    assert_right(run(tmp_path, resumed, *range(10)), resumed, *range(10))
    assert resumed.given == [4, 5, 6, 7, 8, 9]
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # no draft is left


def test_results_are_stored_before_the_first_of_their_batch_is_handed_on(tmp_path):
    captioner = Counting()
    next(describe_all(captioner, DescriptionCache(tmp_path, captioner), pictures(*range(8))))
    assert len(DescriptionCache(tmp_path, captioner)) == 4


def test_no_more_than_a_batch_of_pictures_is_taken_at_a_time(tmp_path):
    taken = []

    def stream():
        for value, pair in enumerate(pictures(*range(12))):
            taken.append(value)
            yield pair

    captioner = Counting()
    results = describe_all(captioner, DescriptionCache(tmp_path, captioner), stream())
    next(results)
    assert len(taken) == 4


def test_other_settings_and_other_captioners_share_nothing(tmp_path):
    run(tmp_path, Counting(), 1, 2)
    for other in (Counting("array"), Counting(beams=5)):
        run(tmp_path, other, 1, 2)
        assert other.given == [1, 2]
    again = Counting(beams=5)
    run(tmp_path, again, 2, 1)
    assert again.given == []


@KINDS
@pytest.mark.parametrize("damage", ["cut", "emptied", "rubbish"])
def test_a_damaged_file_is_named_ignored_and_made_again(tmp_path, kind, damage, caplog):
    run(tmp_path, Counting(kind), *range(8))
    path = sorted(tmp_path.glob("*/*.jsonl" if kind == "sentence" else "*/*.safetensors"))[0]
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-9], "emptied": b"", "rubbish": b"\xff\x00rubbish" * 9}[damage])
    captioner = Counting(kind)
    with caplog.at_level(logging.WARNING):
        assert_right(run(tmp_path, captioner, *range(8)), captioner, *range(8))
    assert sorted(captioner.given) in ([0, 1, 2, 3], [4, 5, 6, 7])
    if damage != "emptied" or kind == "array":  # an empty file of lines holds nothing, and nothing wrong
        assert f"{path.name} is damaged and ignored" in caplog.text
    assert path.read_bytes() == whole
    last = Counting(kind)
    run(tmp_path, last, *range(8))
    assert last.given == []


@KINDS
def test_a_file_that_is_damaged_or_gone_after_the_start_is_made_again_too(tmp_path, kind, caplog):
    run(tmp_path, Counting(kind), *range(8))
    captioner = Counting(kind)
    cache = DescriptionCache(tmp_path, captioner)
    first, second = sorted(path for path in cache.folder.iterdir() if path.name != "settings.json")
    first.unlink()
    second.write_bytes(b"rubbish")
    results = list(describe_all(captioner, cache, pictures(*range(8))))
    assert_right(results, captioner, *range(8))
    assert sorted(captioner.given) == list(range(8))
    assert caplog.text.count("is damaged and ignored") == 2


def test_a_file_with_fewer_results_than_pictures_is_ignored(tmp_path, caplog):
    captioner = Counting("array")
    cache = DescriptionCache(tmp_path, captioner)
    cache.folder.mkdir()
    save_file({"results": np.zeros((1, 2, 3))}, cache.folder / "x.safetensors", metadata={"hashes": '["a", "b"]'})
    assert DescriptionCache(tmp_path, captioner).get(["a", "b"]) == {}
    assert "1 results for 2 pictures" in caplog.text


def test_what_another_process_has_described_meanwhile_is_found(tmp_path):
    captioner = Counting()
    mine, others = DescriptionCache(tmp_path, captioner), DescriptionCache(tmp_path, captioner)
    others.add({"hash-1": "one"})
    assert "hash-1" not in mine
    assert mine.get(["hash-1", "hash-2"]) == {"hash-1": "one"}
    assert "hash-1" in mine


def _work(folder, start, given):
    captioner = Counting(pause=0.02)
    values = [(start + i) % 60 for i in range(60)]
    assert_right(run(folder, captioner, *values), captioner, *values)
    given.put(len(captioner.given))


def test_several_processes_share_a_folder_without_a_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    given = context.Queue()
    workers = [context.Process(target=_work, args=(tmp_path, start, given)) for start in (0, 20, 40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sum(given.get() for _ in workers) < 120  # alone, each would have described 60
    captioner = Counting()
    assert_right(run(tmp_path, captioner, *range(60)), captioner, *range(60))
    assert captioner.given == []


def test_only_the_rows_that_are_asked_for_are_read(tmp_path):
    captioner = Counting("array", batch_size=50)
    run(tmp_path, captioner, *range(50))
    result = DescriptionCache(tmp_path, captioner).get(["hash-7"])["hash-7"]
    base = result if result.base is None else result.base
    assert base.nbytes <= 2 * result.nbytes  # no view that would keep the whole file's results in memory


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    captioner = Counting()
    with pytest.raises(UserError, match=r"cannot be stored here.*make the folder writable"):
        DescriptionCache(tmp_path / "file", captioner).add({"a": "b"})


def test_an_empty_batch_leaves_nothing(tmp_path):
    captioner = Counting()
    DescriptionCache(tmp_path, captioner).add({})
    assert run(tmp_path, captioner) == []
    assert list(tmp_path.iterdir()) == []


def test_a_captioner_that_gives_too_few_descriptions_is_named(tmp_path):
    captioner = Counting()
    captioner.describe = lambda images: ["one"]
    with pytest.raises(ValueError, match=r"captioner=counting gave 1 results for 2 pictures"):
        list(describe_all(captioner, DescriptionCache(tmp_path, captioner), pictures(1, 2)))
