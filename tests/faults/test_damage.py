"""A flipped byte, a part from elsewhere or of an older version: a message that says where, or no harm at all."""

import random
import re
import shutil
from pathlib import Path

import pytest
import torch

from safe_exp.checkpoint import read_checkpoint
from safe_exp.errors import UserError
from tests.faults import forked
from tests.faults.test_kills import RUN, differences
from tests.faults.whole import same_weights, weights_of

POSITIONS = 40  # in each file


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with the built-in articles, prepared, and a finished run on them."""
    folder = tmp_path_factory.mktemp("finished")
    done = forked.run("train", *RUN, cwd=folder, watch=False)
    assert done.code == 0, done.printed
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """A copy of it, as if the run had been killed after its last epoch."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    (folder / "run" / "metrics.json").unlink()
    return folder


def flipped(path: Path, position: int) -> bytes:
    """The content of a file with one byte changed; its highest bit, so that text stays no text."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    return bytes(content)


def positions(path: Path) -> list[int]:
    """Places all over a file, and its ends."""
    size = path.stat().st_size
    return sorted({0, size - 1, *random.Random(1).sample(range(size), min(size, POSITIONS))})


def test_a_checkpoint_with_a_flipped_byte_is_refused_or_gives_the_same_weights(finished, tmp_path):
    original = finished / "run" / "checkpoints" / "last.ckpt"
    weights, refused = weights_of(original), []
    path = tmp_path / "last.ckpt"
    for position in positions(original):
        path.write_bytes(flipped(original, position))
        try:
            read = read_checkpoint(path)["state_dict"]
        except UserError as error:
            refused.append(str(error))
        else:
            assert same_weights(read, weights), position  # a byte between the parts, which nobody reads
    assert len(refused) > 5
    for message in refused:
        assert re.search(r"last\.ckpt: the checkpoint cannot be used \(.+\)\. .*copy best\.ckpt over it", message), (
            message
        )


def test_a_flipped_weight_which_pytorch_reads_without_a_word_is_refused(finished, tmp_path):
    original = finished / "run" / "checkpoints" / "best.ckpt"
    weight = weights_of(original)["network.predictor.weight"]
    place = original.read_bytes().find(weight.numpy().tobytes())
    assert place > 0
    path = tmp_path / "best.ckpt"
    path.write_bytes(flipped(original, place + 3))
    changed = torch.load(path, weights_only=True)["state_dict"]["network.predictor.weight"]
    assert (changed != weight).sum() == 1  # were it refused here, read_checkpoint need not look
    with pytest.raises(UserError, match=r"best\.ckpt: the checkpoint cannot be used \(its part .* is not as it was"):
        read_checkpoint(path)


@pytest.mark.slow
def test_a_run_whose_last_checkpoint_is_damaged_goes_on_from_its_best_one_as_the_message_says(finished, copy):
    last, best = (copy / "run" / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    last.write_bytes(last.read_bytes()[:-1000])
    status = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert status.code == 1
    assert "run/checkpoints/last.ckpt: the checkpoint cannot be used" in status.printed
    assert "Traceback" not in status.printed
    shutil.copy(best, last)
    assert forked.run("train", "resume=run", cwd=copy, watch=False).code == 0
    assert differences(copy, finished) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("model.num_filters=5", r"filters\.0\.bias is \(5,\), expected \(4,\)"),
        ("model.filter_sizes=[3,5]", r"filters\.1\.weight is \(4, 5, \d+\), expected"),
        ("model=text_only", r"predictor\.weight is \(2, 4\), expected \(2, 8\)"),
        ("model.alpha=0.7", r"it was trained with model\.alpha=0\.7, and this run has model\.alpha="),
        ("optimizer=adam", r"it was trained with optimizer\._target_=torch\.optim\.Adam"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_what_differs(other, message, copy):
    done = forked.run("train", *RUN, other, "hydra.run.dir=other", cwd=copy, watch=False)
    assert done.code == 0, done.printed
    shutil.copy(copy / "other" / "checkpoints" / "last.ckpt", copy / "run" / "checkpoints" / "last.ckpt")
    before = (copy / "run" / "checkpoints" / "last.ckpt").read_bytes()
    done = forked.run("train", "resume=run", cwd=copy, watch=False)
    assert done.code == 1
    assert "checkpoints/last.ckpt is not of this run's model" in done.printed
    assert re.search(message, done.printed), done.printed
    assert "Traceback" not in done.printed
    assert (copy / "run" / "checkpoints" / "last.ckpt").read_bytes() == before
